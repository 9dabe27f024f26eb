#!/usr/bin/env bash
# MLflow's server in the foreground: runs in PostgreSQL, artifacts in the bucket, which clients reach through the server.
# It asks nobody for a password: on anything but loopback put a proxy with one before it.
# It answers requests for its own address alone; under another name also set both: MLFLOW_SERVER_ALLOWED_HOSTS to
# mlflow.example.com, and MLFLOW_SERVER_CORS_ALLOWED_ORIGINS to https://mlflow.example.com, or its pages stay empty.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
export MLFLOW_S3_ENDPOINT_URL=$AWS_ENDPOINT_URL
exec mlflow server --host "$DEPLOY_HOST" --port "$MLFLOW_PORT" --workers "${MLFLOW_WORKERS:-1}" \
  --allowed-hosts "${MLFLOW_SERVER_ALLOWED_HOSTS:-$DEPLOY_HOST:$MLFLOW_PORT,localhost:$MLFLOW_PORT}" \
  --cors-allowed-origins "${MLFLOW_SERVER_CORS_ALLOWED_ORIGINS:-http://$DEPLOY_HOST:$MLFLOW_PORT}" \
  --backend-store-uri "postgresql+psycopg://adloc@$DEPLOY_HOST:$POSTGRES_PORT/mlflow" \
  --artifacts-destination "s3://$DEPLOY_BUCKET/mlflow"
