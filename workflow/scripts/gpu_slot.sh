#!/usr/bin/env bash
# Runs a command on a GPU that no other job of this user on this machine uses, and waits until one is free. Snakemake's
# `gpu` resource only counts GPUs and does not assign devices. With one GPU or none, as in a SLURM job, the command just
# runs. CUDA_VISIBLE_DEVICES, if it is set, says which GPUs there are; set but empty, it hides them all.
set -euo pipefail
visible=${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd, || :)}
visible=${visible//[[:space:]]/}
IFS=, read -ra ids <<<"${visible%%,-1*}"  # as CUDA reads it
((${#ids[@]} > 1)) || exec "$@"

unlocked() {
    echo "note: $1, so this job does not know which GPUs others use, and takes the first of $visible" >&2
    export CUDA_VISIBLE_DEVICES=${ids[0]}
    exec "${command[@]}"
}

command=("$@")
tmp=${TMPDIR:-/tmp}
[[ -d $tmp ]] || tmp=/tmp
locks=$tmp/t2s-$UID
mkdir -m 700 "$locks" 2>/dev/null || :
[[ -d $locks && -O $locks && ! -L $locks ]] || unlocked "$locks is not a folder of this user"
while :; do
    for id in "${ids[@]}"; do
        # The command inherits the lock. The lock is released when the command ends, even if it is killed.
        exec 9>"$locks/gpu-${id//\//_}.lock" || unlocked "$locks cannot be written"
        status=0
        flock -n 9 || status=$?
        ((status == 0)) && CUDA_VISIBLE_DEVICES=$id exec "$@"
        ((status == 1)) || unlocked "flock cannot lock files in $locks"  # 1: another job has it
    done
    sleep 1
done
