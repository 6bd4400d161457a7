#!/usr/bin/env bash
# Runs a command on a GPU that no other job on this machine uses, and waits until one is free. Snakemake's `gpu` resource
# only counts GPUs and does not assign devices. With a single GPU, as in a SLURM job, the command just runs.
set -euo pipefail
visible=${CUDA_VISIBLE_DEVICES:-$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd,)}
IFS=, read -ra ids <<<"$visible"
((${#ids[@]} > 1)) || exec "$@"
while :; do
    for id in "${ids[@]}"; do
        exec 9>"${TMPDIR:-/tmp}/t2s-gpu-$id.lock"
        # The command inherits the lock. The lock is released when the command ends, even if it is killed.
        if flock --nonblock 9; then CUDA_VISIBLE_DEVICES=$id exec "$@"; fi
    done
    sleep 1
done
