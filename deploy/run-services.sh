#!/usr/bin/env bash
# Runs Fanfare as three processes on services that `tests/services.sh up DIR` has started.
# Ctrl-C stops all three.
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }

dir=$(realpath "$1")
fanfare=${FANFARE_BIN:-$(dirname "$0")/../target/release/fanfare}
. "$dir/env"

# Kept beside the data that they belong to.
secret() {
    if [ ! -s "$dir/$1" ]; then
        (umask 077 && head -c 32 /dev/urandom | base64 -w 0 >"$dir/$1")
    fi
    cat "$dir/$1"
}
key=$(secret operator-key | tr '+/' '-_' | tr -d =)
FANFARE__SECURITY__MASTER_KEY=$(secret master-key)
export FANFARE__SECURITY__MASTER_KEY
export FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS=true
export FANFARE__BOOTSTRAP__API_KEY=$key
export FANFARE__STORE__URL=${FANFARE_TEST_POSTGRES_URL%/postgres}/fanfare
export FANFARE__BROKER__URL=$FANFARE_TEST_AMQP_URL
export FANFARE__REDIS__URL=$FANFARE_TEST_REDIS_URL

if [ "$(psql -XAtq "$FANFARE_TEST_POSTGRES_URL" -c "select 1 from pg_database where datname = 'fanfare'")" != 1 ]; then
    psql -Xq "$FANFARE_TEST_POSTGRES_URL" -c 'create database fanfare'
fi
"$fanfare" migrate
"$fanfare" topology apply

roles=()
stop() {
    trap - INT TERM EXIT
    kill -TERM "${roles[@]}" 2>/dev/null || true
    wait
}
trap stop EXIT
trap 'exit 0' INT TERM
FANFARE__HTTP__LISTEN=127.0.0.1:8080 "$fanfare" ingest & roles+=($!)
FANFARE__HTTP__LISTEN=127.0.0.1:8081 "$fanfare" dispatcher & roles+=($!)
FANFARE__HTTP__LISTEN=127.0.0.1:8082 "$fanfare" exporter & roles+=($!)

cat <<TEXT
ingest, API   http://127.0.0.1:8080
dispatcher    http://127.0.0.1:8081/metrics
exporter      http://127.0.0.1:8082/metrics
operator key  $key
try: curl -H "Authorization: Bearer $key" http://127.0.0.1:8080/v1/tenants
TEXT
# The first to end, by itself or by Ctrl-C, ends all.
wait -n
