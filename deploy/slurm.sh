#!/usr/bin/env bash
#SBATCH --job-name=adloc
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
# A study on the nodes of a Slurm job: sbatch deploy/slurm.sh studies/my_study.yaml [more of adloc study run]
# Ray starts on every node, the study runs on the first, and all ends with it (https://docs.ray.io, "Deploying on Slurm").
# Nodes without a common disk: ADLOC_WORKSPACE=s3://bucket/prefix sbatch ..., and ADLOC_CACHE on a disk of each node.
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):${RAY_PORT:-6379}
export RAY_ADDRESS=$address RAY_USAGE_STATS_ENABLED=0
# A cluster of its own, and a token that no other user of the nodes knows.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
# What is kept in the store is kept for the next job: SIGTERM ends a study in good order, and a later job goes on.
# --wait: a node whose Ray does not notice that the study has ended is ended a minute after it.
exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --wait=60 \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "${SLURM_CPUS_ON_NODE:-1}" -- \
  adloc study run "$@" --executor ray
