#!/usr/bin/env bash
# Runs a command on a GPU that no other job of this machine runs on, waiting for one if need be:
# Snakemake's `gpu` resource is a count and hands out no device. With one GPU, as SLURM gives a job, nothing is done.
set -euo pipefail
visible=${CUDA_VISIBLE_DEVICES:-$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd,)}
IFS=, read -ra ids <<<"$visible"
((${#ids[@]} > 1)) || exec "$@"
while :; do
    for id in "${ids[@]}"; do
        exec 9>"${TMPDIR:-/tmp}/t2s-gpu-$id.lock"
        # The command inherits the lock and gives it back when it ends, however it ends.
        if flock --nonblock 9; then CUDA_VISIBLE_DEVICES=$id exec "$@"; fi
    done
    sleep 1
done
