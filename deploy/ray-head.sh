#!/usr/bin/env bash
# The head of a Ray cluster in the foreground. It computes nothing itself: its machine has the driver and the servers.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
[ -e "$RAY_AUTH_TOKEN_PATH" ] || (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")
exec ray start --head --node-ip-address "$DEPLOY_HOST" --port "$RAY_PORT" --num-cpus 0 --include-dashboard false \
  --disable-usage-stats --block
