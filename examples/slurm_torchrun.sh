#!/bin/bash
# Train on two nodes of four GPUs with torchrun, and resume after every time limit.
#
#   sbatch examples/slurm_torchrun.sh /shared/images /shared/labels /shared/runs/cells
#
# All paths lie on a disk that all nodes see. One torchrun per node starts one process per GPU; the
# processes find each other at the first node. A step sees train.batch_size times 8 crops.
#SBATCH --job-name=unmask-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Three minutes before the limit this script receives a signal, see below.
#SBATCH --signal=B:USR1@180
set -u

IMAGES=$1
LABELS=$2
RUN=$3
RESUME=()
if [ -d "$RUN/snapshots" ]; then RESUME=(--resume); fi
FIRST_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# torchrun passes SIGTERM on; every process finishes its update, and the run is saved.
ENDED=0
STEP=
trap 'ENDED=1; [ -n "$STEP" ] && kill -TERM "$STEP"' USR1

srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$SLURM_GPUS_ON_NODE" \
  --rdzv-backend c10d --rdzv-endpoint "$FIRST_NODE:29500" --rdzv-id "$SLURM_JOB_ID" \
  --no-python \
  unmask train "$IMAGES" --labels "$LABELS" --preset cells --out "$RUN" \
  --set train.workers=6 "${RESUME[@]}" &
STEP=$!

wait "$STEP"
CODE=$?
# A trapped signal ends the first wait; the second one waits for the processes.
if [ "$ENDED" -eq 1 ]; then
  wait "$STEP"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$CODE"
