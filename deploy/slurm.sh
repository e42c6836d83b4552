#!/bin/bash
# Training on several nodes of a Slurm cluster:
#
#   sbatch deploy/slurm.sh resnet20-cifar10 --out /shared/runs/resnet20-cifar10
#
# What stands behind the script are the arguments of `keras-arch train`; the run directory is on
# storage that all nodes share. Change the lines below for your cluster, or give sbatch the options.
#SBATCH --job-name=keras-arch
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
# Two minutes before the time is over: the run is saved, and goes on when it is submitted again.
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.log

set -u
restarts=${RESTARTS:-3}
# Nodes start at different times.
export KERAS_ARCH_HOST_TIMEOUT=${KERAS_ARCH_HOST_TIMEOUT:-300}

for ((left = restarts; ; left--)); do
    # --resume is right at the first start, too. Processes end by themselves when one is lost.
    srun --distribution=block --kill-on-bad-exit=0 \
        python -m keras_arch.distribute.join slurm keras-arch train "$@" --resume
    code=$?
    # 75: another process was lost; 137: this one was killed. Any other error would come again.
    if ((code != 75 && code != 137 || left == 0)); then
        exit "$code"
    fi
    echo "exit code $code; starting again, restarts left: $((left - 1))" >&2
done
