# What the services of this folder share; read by each of them, and by `eval "$(deploy/services.sh env)"` for adloc itself.
# Every line can be set from outside: `DEPLOY_HOST=10.0.0.5 deploy/services.sh up`.

export DEPLOY_HOST=${DEPLOY_HOST:-127.0.0.1}           # where the services listen; no other machine reaches loopback
export DEPLOY_PATH=${DEPLOY_PATH:-$PWD/.deploy}        # their data, logs and secrets
export POSTGRES_PORT=${POSTGRES_PORT:-5433}
export OBJECTS_PORT=${OBJECTS_PORT:-9000}
export MLFLOW_PORT=${MLFLOW_PORT:-5000}
export RAY_PORT=${RAY_PORT:-6379}
export DEPLOY_BUCKET=${DEPLOY_BUCKET:-adloc}
export DEPLOY_WORKERS=${DEPLOY_WORKERS:-2}             # Ray nodes beside the head that `services.sh up` starts here
export DEPLOY_CPUS=${DEPLOY_CPUS:-1}                   # CPUs that each of them offers

# The object store: ours for trials, unless AWS_ENDPOINT_URL names another (MinIO, Ceph; unset it for Amazon's own).
export AWS_ENDPOINT_URL=${AWS_ENDPOINT_URL-http://$DEPLOY_HOST:$OBJECTS_PORT}
export AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID:-adloc}
export AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY:-trial-only}
export AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-us-east-1}

# Ray 2.59 and later guard a cluster by a token: the same file on every machine.
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
export RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-$DEPLOY_PATH/ray_token}
export RAY_USAGE_STATS_ENABLED=0

# PostgreSQL's programs read the password from here; it stands in no command line and no address.
export PGPASSFILE=${PGPASSFILE:-$DEPLOY_PATH/pgpass}

# The environment of this project, unless another `adloc` is on the PATH.
deploy_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -d "$deploy_here/../.venv/bin" ]; then
  PATH=$(cd "$deploy_here/../.venv/bin" && pwd):$PATH
  export PATH
fi
export PYTHONSAFEPATH=1
mkdir -p "$DEPLOY_PATH"
