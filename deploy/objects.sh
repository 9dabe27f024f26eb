#!/usr/bin/env bash
# An object store for trials, in the foreground: moto's S3, which forgets everything when it ends (`pip install 'moto[server]'`).
# For work use the store that your team has, MinIO, Ceph or a cloud's: set AWS_ENDPOINT_URL, and do not start this.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
exec python -m moto.server --host "$DEPLOY_HOST" --port "$OBJECTS_PORT"
