#!/usr/bin/env bash
# A node of the cluster in the foreground; on each machine: DEPLOY_HOST=<head> deploy/ray-worker.sh
# It needs the token of the head (RAY_AUTH_TOKEN_PATH), the same environment as the driver, and no disk but its own cache.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
export ADLOC_CACHE=${ADLOC_CACHE:-$DEPLOY_PATH/cache-$(hostname)}
exec ray start --address "$DEPLOY_HOST:$RAY_PORT" ${DEPLOY_CPUS:+--num-cpus "$DEPLOY_CPUS"} --disable-usage-stats --block
