#!/usr/bin/env bash
# All services on this machine, in the background: deploy/services.sh up | down | status | env
# up starts what does not run, waits until each answers, and makes the bucket; `eval "$(deploy/services.sh env)"` then
# points adloc at them. Data and logs are under DEPLOY_PATH; see settings.sh. For other machines start the single scripts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"

longest_start_s=${DEPLOY_LONGEST_START_S:-180}
nodes=()
for ((i = 1; i <= DEPLOY_WORKERS; i++)); do nodes+=("ray-worker-$i"); done
services=(postgres)
[ "$AWS_ENDPOINT_URL" != "http://$DEPLOY_HOST:$OBJECTS_PORT" ] || services+=(objects)
last_store=${services[-1]}
services+=(mlflow ray-head "${nodes[@]}")

pid_of() { cat "$DEPLOY_PATH/$1.pid" 2>/dev/null || true; }
runs() { local pid; pid=$(pid_of "$1"); [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; }
script_of() { case $1 in ray-worker-*) echo ray-worker ;; *) echo "$1" ;; esac; }

start() {
  local name=$1
  runs "$name" && return
  : > "$DEPLOY_PATH/$name.log"
  local own=()
  case $name in ray-worker-*) own=(ADLOC_CACHE="$DEPLOY_PATH/cache-$name") ;; esac # nodes of one machine share no cache
  setsid env "${own[@]}" "$here/$(script_of "$name").sh" >> "$DEPLOY_PATH/$name.log" 2>&1 < /dev/null &
  echo $! > "$DEPLOY_PATH/$name.pid"
}

answers() {
  case $1 in
    postgres) python - << PYTHON
import psycopg
psycopg.connect("host=$DEPLOY_HOST port=$POSTGRES_PORT user=adloc dbname=optuna connect_timeout=2").close()
PYTHON
    ;;
    objects) curl -sf -o /dev/null "http://$DEPLOY_HOST:$OBJECTS_PORT/moto-api/data.json" ;;
    mlflow) curl -sf -o /dev/null "http://$DEPLOY_HOST:$MLFLOW_PORT/health" ;;
    ray-* ) grep -q 'Ray runtime started' "$DEPLOY_PATH/$1.log" ;;
  esac 2>> "$DEPLOY_PATH/waiting.log"
}

await() {
  local until=$((SECONDS + longest_start_s)) tries=1
  until runs "$1" && answers "$1"; do # in that order: another program may answer at the port
    if ! runs "$1" && [[ $1 == ray-* ]] && ((tries++ < 3)); then
      start "$1" # Ray gives its own agents 15 s to start, and ends where a busy machine takes longer
    elif ! runs "$1" || ((SECONDS > until)); then
      echo "$1 does not answer; the end of $DEPLOY_PATH/$1.log:" >&2
      tail -5 "$DEPLOY_PATH/$1.log" >&2
      exit 1
    fi
    sleep 0.5
  done
  echo "$1 runs (process $(pid_of "$1"))"
}

make_bucket() {
  python - << PYTHON
import boto3
client = boto3.client("s3")
if "$DEPLOY_BUCKET" not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
    client.create_bucket(Bucket="$DEPLOY_BUCKET")
PYTHON
}

stop() {
  local pid
  pid=$(pid_of "$1")
  rm -f "$DEPLOY_PATH/$1.pid"
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 0
  kill -s "$([ "$1" = postgres ] && echo INT || echo TERM)" "$pid" # PostgreSQL: SIGINT ends sessions, SIGTERM waits for them
  for _ in $(seq 40); do kill -0 "$pid" 2>/dev/null || break; sleep 0.25; done
  kill -KILL -- "-$pid" 2>/dev/null || true # whatever of its session is left
}

case ${1:-} in
  up)
    for name in "${services[@]}"; do
      start "$name"
      [ "$name" = mlflow ] || await "$name" # MLflow imports for half a minute of a core, while Ray starts on another
      [ "$name" != "$last_store" ] || make_bucket
    done
    await mlflow
    ;;
  down) for ((i = ${#services[@]} - 1; i >= 0; i--)); do stop "${services[i]}"; done ;;
  status) for name in "${services[@]}"; do runs "$name" && answers "$name" && echo "$name runs" || echo "$name does not run"; done ;;
  env)
    cat << ENV
export ADLOC_WORKSPACE=s3://$DEPLOY_BUCKET/workspace
export AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION=$AWS_DEFAULT_REGION
export MLFLOW_TRACKING_URI=http://$DEPLOY_HOST:$MLFLOW_PORT
export OPTUNA_STORAGE=postgresql+psycopg://adloc@$DEPLOY_HOST:$POSTGRES_PORT/optuna PGPASSFILE=$PGPASSFILE
export RAY_ADDRESS=$DEPLOY_HOST:$RAY_PORT RAY_AUTH_MODE=$RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH=$RAY_AUTH_TOKEN_PATH
ENV
    ;;
  *) echo "use: deploy/services.sh up | down | status | env" >&2; exit 2 ;;
esac
