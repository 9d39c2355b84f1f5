#!/bin/bash
# Pre-train on two nodes of four GPUs, one process a GPU, and go on after every time limit.
#
#   sbatch examples/slurm_train.sh /shared/volumes /shared/runs/maester
#
# Both paths lie on a disk that all nodes see. Every process learns from crops of its own, so a step
# sees train.batch_size times 8 of them: 16 each make the published 128.
#SBATCH --job-name=unmask-pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Three minutes before the limit every process finishes its step, saves, and ends with 143.
#SBATCH --signal=USR1@180
set -u

IMAGES=$1
RUN=$2
RESUME=()
if [ -d "$RUN/snapshots" ]; then RESUME=(--resume); fi

srun unmask pretrain --preset maester --images "$IMAGES" --out "$RUN" \
  --set train.batch_size=16 --set train.workers=6 "${RESUME[@]}"
CODE=$?
if [ "$CODE" -eq 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$CODE"
