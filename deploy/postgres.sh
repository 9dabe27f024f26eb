#!/usr/bin/env bash
# PostgreSQL in the foreground, with the databases `mlflow` and `optuna`, made the first time.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

data=$DEPLOY_PATH/postgres
programs=$(dirname "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb 2>/dev/null | tail -1)")
[ -x "$programs/initdb" ] || { echo "no PostgreSQL here: apt-get install postgresql, or set POSTGRES_PORT and PGPASSFILE for another" >&2; exit 2; }

# PostgreSQL refuses to run as root.
as_owner() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

if [ ! -e "$PGPASSFILE" ]; then
  (umask 077 && printf '*:*:*:adloc:%s\n' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" > "$PGPASSFILE")
fi
if [ ! -e "$data/PG_VERSION" ]; then
  mkdir -p "$data"
  [ "$(id -u)" != 0 ] || chown postgres "$data"
  chmod 700 "$data"
  cut -d: -f5 "$PGPASSFILE" | as_owner bash -c '"$0" "$@" --pwfile=<(cat)' "$programs/initdb" --pgdata="$data" \
    --username=adloc --encoding=UTF8 --locale=C.UTF-8 --auth=scram-sha-256 > "$DEPLOY_PATH/initdb.log"
  for database in mlflow optuna; do
    echo "CREATE DATABASE $database" | as_owner "$programs/postgres" --single -D "$data" postgres > /dev/null
  done
fi
cd "$data"
if [ "$(id -u)" = 0 ]; then
  exec setpriv --reuid=postgres --regid=postgres --init-groups \
    "$programs/postgres" -D "$data" -p "$POSTGRES_PORT" -h "$DEPLOY_HOST" -k "$data"
fi
exec "$programs/postgres" -D "$data" -p "$POSTGRES_PORT" -h "$DEPLOY_HOST" -k "$data"
