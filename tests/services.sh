#!/usr/bin/env bash
# Private RabbitMQ, PostgreSQL and Redis for tests and for a developer's machine.
#
#   tests/services.sh install                 install the Debian packages that are missing
#   tests/services.sh up DIR                  start all three with their data under DIR, write DIR/env
#   tests/services.sh down DIR                stop all three; the data stays
#   tests/services.sh remove DIR              kill all three and delete DIR
#   tests/services.sh start|stop|kill|wipe SERVICE DIR
#                                             one of postgres, rabbitmq, redis; kill is SIGKILL,
#                                             wipe kills and deletes its data; start keeps the port
#
# Everything listens on 127.0.0.1 only, on ports of its own; servers that run already are left
# alone. Several DIRs can be up at once. Runs as root or as an ordinary user.
set -euo pipefail

SERVICES=(postgres rabbitmq redis)
READY_SECONDS=60        # longest wait for a service to answer
STOP_SECONDS=15         # longest wait for an orderly stop, then SIGKILL
PORTS_FROM=20000        # below the kernel's ephemeral range, so that no client socket can sit on
PORTS_TO=31968          # the port of a service that is down for a moment
PORTS_EACH=32
RESERVED="${TMPDIR:-/tmp}/fanfare-ports-$(id -u)"
RABBITMQ_BIN=/usr/lib/rabbitmq/bin   # not /usr/sbin: those change user and start an epmd for all

say() { printf 'services: %s\n' "$*"; }
fail() { printf 'services: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }

# --- packages -------------------------------------------------------------------------------------

postgres_bin() {
    local bin
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    if [ -x "$bin/postgres" ]; then echo "$bin"; else dirname "$(command -v postgres)"; fi
}

missing_packages() {
    [ -x "$RABBITMQ_BIN/rabbitmq-server" ] || echo rabbitmq-server
    command -v redis-server >/dev/null || echo redis-server
    postgres_bin >/dev/null 2>&1 || echo postgresql
    command -v psql >/dev/null || echo postgresql-client
    # A test publishes from another language, another one a month later.
    /usr/bin/python3 -c 'import pika' 2>/dev/null || echo python3-pika
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || echo libfaketime
    # Another copies the embedded store.
    command -v sqlite3 >/dev/null || echo sqlite3
    command -v setsid >/dev/null || echo util-linux
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    if [ "${#packages[@]}" = 0 ]; then say "every package is installed"; return; fi
    command -v apt-get >/dev/null || fail "please install: ${packages[*]}"
    say "installing ${packages[*]}"
    # The packages would start their servers; this is Debian's way of asking them not to.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
    as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
        as_root "${apt[@]}" update
        as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}"
    }
    say "installed ${packages[*]}"
}

# --- ports ----------------------------------------------------------------------------------------

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Reserves a block of ports for DIR; the reservation is a folder, made atomically.
reserve_ports() {
    [ -s "$DIR/ports" ] && return
    mkdir -p "$RESERVED"
    local base owner port
    while true; do
        base=$((PORTS_FROM + (SRANDOM % ((PORTS_TO - PORTS_FROM) / PORTS_EACH)) * PORTS_EACH))
        owner=$(cat "$RESERVED/$base/owner" 2>/dev/null || true)
        if [ -n "$owner" ] && [ ! -d "$owner" ]; then rm -rf "${RESERVED:?}/$base"; fi
        mkdir "$RESERVED/$base" 2>/dev/null || continue
        echo "$DIR" >"$RESERVED/$base/owner"
        for port in $(seq "$base" $((base + 4))); do
            if answers "$port"; then continue 2; fi
        done
        echo "$base" >"$DIR/ports"
        return
    done
}

release_ports() {
    [ -s "$DIR/ports" ] || return 0
    rm -rf "${RESERVED:?}/$(cat "$DIR/ports")"
    rmdir "$RESERVED" 2>/dev/null || true
}

load_ports() {
    [ -s "$DIR/ports" ] || fail "nothing is set up in $DIR: run '$0 up $DIR' first"
    local base
    base=$(cat "$DIR/ports")
    POSTGRES_PORT=$base AMQP_PORT=$((base + 1)) REDIS_PORT=$((base + 2))
    EPMD_PORT=$((base + 3)) DIST_PORT=$((base + 4))
    CTL_PORT_FIRST=$((base + 5)) CTL_PORT_LAST=$((base + PORTS_EACH - 1))
}

# --- processes: a pid counts only together with its start time, since pids are used again ----------

started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

remember() { echo "$2 $(started_at "$2")" >"$DIR/run/$1.pid"; }

# Prints the pid of a running service.
running() {
    local pid at
    read -r pid at 2>/dev/null <"$DIR/run/$1.pid" || return 1
    [ -n "$at" ] && [ "$(started_at "$pid")" = "$at" ] && ! zombie "$pid" && echo "$pid"
}

# Prints a process and all that descend from it.
tree() {
    grep -s '^PPid:' /proc/[0-9]*/status | tr -s '/:\t ' ' ' | awk -v root="$1" '
        { parent[$2] = $5 }
        END {
            for (pid in parent)
                for (up = pid; up > 1; up = parent[up])
                    if (up == root) { print pid; break }
        }'
}

gone() { local pid; for pid in "$@"; do [ ! -e "/proc/$pid" ] || zombie "$pid" || return 1; done; }
# Dead, and all its threads as well: until then its files and ports are open.
zombie() {
    local threads=("/proc/$1/task"/*)
    grep -qs '^State:.*Z' "/proc/$1/status" && [ "${#threads[@]}" -le 1 ]
}

wait_until() {
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then say "gave up waiting: $what" >&2; return 1; fi
        sleep 0.05
    done
}

kill_tree() {
    local pid pids
    pid=$(running "$1") || return 0
    mapfile -t pids < <(tree "$pid")
    kill -KILL "$pid" "${pids[@]}" 2>/dev/null || true
    wait_until "$1 to be gone" "$STOP_SECONDS" gone "$pid" "${pids[@]}"
    rm -f "$DIR/run/$1.pid"
}

stop_tree() {
    local pid pids
    pid=$(running "$1") || return 0
    mapfile -t pids < <(tree "$pid")
    # PostgreSQL's SIGINT is a fast shutdown: SIGTERM would wait for clients.
    case $1 in
        postgres) kill -INT "$pid" ;;
        *) kill -TERM "$pid" "${pids[@]}" 2>/dev/null || true ;;
    esac
    wait_until "$1 to stop" "$STOP_SECONDS" gone "$pid" "${pids[@]}" || kill_tree "$1"
    rm -f "$DIR/run/$1.pid"
}

# Runs a server in a session of its own, its output in the log, and remembers it.
launch() {
    local service=$1
    shift
    setsid "$@" >>"$DIR/log/$service.log" 2>&1 </dev/null &
    remember "$service" $!
}

# Waits for a port of a service, and gives up early when its process ends.
await() {
    local service=$1 check=("${@:2}")
    answers_or_ended() { "${check[@]}" >/dev/null 2>&1 || ! running "$service" >/dev/null; }
    wait_until "$service" "$READY_SECONDS" answers_or_ended || true
    if ! "${check[@]}" >/dev/null 2>&1; then
        tail -n 30 "$DIR/log/$service.log" >&2
        fail "$service did not start"
    fi
}

# --- PostgreSQL -----------------------------------------------------------------------------------

# PostgreSQL refuses to run as root: it gets the user `postgres` then.
unprivileged() {
    if [ "$(id -u)" != 0 ]; then "$@"; return; fi
    setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/tmp "$@"
}

# Under DIR, or in the folder for temporary files where the user `postgres` cannot reach DIR.
postgres_data() {
    if [ ! -s "$DIR/postgres.path" ]; then
        local home=$DIR/postgres
        mkdir -p "$home"
        if [ "$(id -u)" = 0 ]; then
            chmod a+x "$DIR"
            unprivileged test -x "$home" || home=$(mktemp -d "${TMPDIR:-/tmp}/fanfare-postgres.XXXXXX")
            chown postgres:postgres "$home"
        fi
        echo "$home" >"$DIR/postgres.path"
    fi
    cat "$DIR/postgres.path"
}

start_postgres() {
    local bin home
    bin=$(postgres_bin) home=$(postgres_data)
    if [ ! -s "$home/data/PG_VERSION" ]; then
        (cd / && unprivileged "$bin/initdb" -D "$home/data" -U postgres -A trust -E UTF8 \
            --locale=C.UTF-8 --no-sync) >>"$DIR/log/postgres.log" 2>&1 || {
            tail -n 30 "$DIR/log/postgres.log" >&2
            fail "initdb failed"
        }
        cat >>"$home/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
fsync = ${FANFARE_SERVICES_FSYNC:-on}
synchronous_commit = on
max_wal_size = 2GB
log_min_messages = warning
log_line_prefix = '%m [%p] %d '
CONF
    fi
    # Left by a kill, and believed as long as nobody has collected the dead process.
    rm -f "$home/data/postmaster.pid"
    cd / # postgres stays in the folder it is started from
    if [ "$(id -u)" = 0 ]; then
        launch postgres setpriv --reuid=postgres --regid=postgres --clear-groups \
            "$bin/postgres" -D "$home/data" -p "$POSTGRES_PORT"
    else
        launch postgres "$bin/postgres" -D "$home/data" -p "$POSTGRES_PORT"
    fi
    cd - >/dev/null
    await postgres "$bin/pg_isready" -q -h 127.0.0.1 -p "$POSTGRES_PORT"
}

wipe_postgres() { rm -rf "$(postgres_data)/data"; }

# --- RabbitMQ -------------------------------------------------------------------------------------

# Own cookie, own epmd, own distribution ports: a node that shares nothing with any other.
write_rabbitmq_env() {
    local home=$DIR/rabbitmq
    mkdir -p "$home/home" "$home/mnesia" "$home/log" "$home/gen" "$home/schema"
    if [ ! -s "$home/home/.erlang.cookie" ]; then
        head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$home/home/.erlang.cookie"
        chmod 400 "$home/home/.erlang.cookie"
    fi
    cat >"$home/env" <<ENV
export HOME='$home/home' LANG=C.UTF-8 RABBITMQ_NODENAME=fanfare@localhost
export ERL_EPMD_PORT=$EPMD_PORT ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_DIST_PORT=$DIST_PORT
export RABBITMQ_CTL_DIST_PORT_MIN=$CTL_PORT_FIRST RABBITMQ_CTL_DIST_PORT_MAX=$CTL_PORT_LAST
export RABBITMQ_MNESIA_BASE='$home/mnesia' RABBITMQ_LOG_BASE='$home/log'
export RABBITMQ_PID_FILE='$home/pid' RABBITMQ_CONFIG_FILE='$home/rabbitmq'
export RABBITMQ_ADVANCED_CONFIG_FILE='$home/advanced.config' RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_ENABLED_PLUGINS_FILE='$home/enabled_plugins'
export RABBITMQ_GENERATED_CONFIG_DIR='$home/gen' RABBITMQ_SCHEMA_DIR='$home/schema'
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
ENV
    cat >"$home/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$AMQP_PORT
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 1GB
CONF
    # The defaults, 32 and 180000, drain a delay queue at a third of the speed and stall for minutes.
    echo '[{rabbit,[{dead_letter_worker_consumer_prefetch,1000},' \
        '{dead_letter_worker_publisher_confirm_timeout,10000}]}].' >"$home/advanced.config"
    echo '[].' >"$home/enabled_plugins"
    cat >"$DIR/rabbitmqctl" <<CTL
#!/bin/sh
. '$home/env'
exec $RABBITMQ_BIN/rabbitmqctl -q "\$@"
CTL
    chmod 755 "$DIR/rabbitmqctl"
}

start_rabbitmq() {
    # A second server for a running node would fail, but only after it has spoiled the first one's
    # pid file.
    if answers "$AMQP_PORT"; then fail "something else answers on port $AMQP_PORT"; fi
    write_rabbitmq_env
    (
        . "$DIR/rabbitmq/env"
        cd "$DIR/rabbitmq"
        if ! running epmd >/dev/null; then
            launch epmd epmd -port "$EPMD_PORT" -address 127.0.0.1
            wait_until epmd "$READY_SECONDS" answers "$EPMD_PORT"
        fi
        launch rabbitmq "$RABBITMQ_BIN/rabbitmq-server"
    )
    await rabbitmq answers "$AMQP_PORT"
}

wipe_rabbitmq() { rm -rf "$DIR/rabbitmq/mnesia"; }

# --- Redis ----------------------------------------------------------------------------------------

start_redis() {
    mkdir -p "$DIR/redis"
    # In memory only: a Redis that comes back empty is what Fanfare has to live with. Many databases,
    # so that each test has one to itself.
    launch redis redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --dir "$DIR/redis" --save '' \
        --appendonly no --databases 4096
    await redis redis-cli -h 127.0.0.1 -p "$REDIS_PORT" ping
}

wipe_redis() { rm -rf "$DIR/redis"; }

# --- verbs ----------------------------------------------------------------------------------------

start() {
    if running "$1" >/dev/null; then say "$1 runs already"; return; fi
    local from=$SECONDS
    mkdir -p "$DIR/log" "$DIR/run"
    "start_$1"
    say "$1 is ready after $((SECONDS - from)) s"
}

write_env() {
    cat >"$DIR/env" <<ENV
export FANFARE_TEST_POSTGRES_URL='postgres://postgres@127.0.0.1:$POSTGRES_PORT/postgres'
export FANFARE_TEST_AMQP_URL='amqp://guest:guest@127.0.0.1:$AMQP_PORT'
export FANFARE_TEST_REDIS_URL='redis://127.0.0.1:$REDIS_PORT'
export FANFARE_TEST_RABBITMQCTL='$DIR/rabbitmqctl'
export FANFARE_TEST_SERVICES_DIR='$DIR'
ENV
}

up() {
    local missing jobs=() service job failed=0
    missing=$(missing_packages | grep -Ev 'pika|faketime|sqlite3' || true)
    [ -z "$missing" ] || fail "missing: $(echo $missing); run '$0 install'"
    reserve_ports
    load_ports
    for service in "${SERVICES[@]}"; do start "$service" & jobs+=($!); done
    for job in "${jobs[@]}"; do wait "$job" || failed=1; done
    if [ "$failed" = 1 ]; then down; fail "not every service started"; fi
    write_env
    say "up; for the environment: . $DIR/env"
}

down() {
    local service jobs=()
    for service in "${SERVICES[@]}"; do stop_tree "$service" & jobs+=($!); done
    wait "${jobs[@]}"
    kill_tree epmd
    rm -f "$DIR/env"
    say "down; the data stays in $DIR"
}

remove() {
    local service inner
    # Tests set up private ones within the shared one; a killed test run leaves them.
    for inner in "$DIR"/private-*/; do
        if [ -s "$inner/ports" ]; then "$0" remove "$inner"; fi
    done
    for service in "${SERVICES[@]}" epmd; do kill_tree "$service"; done
    if [ -s "$DIR/postgres.path" ]; then rm -rf "$(cat "$DIR/postgres.path")"; fi
    release_ports
    rm -rf "$DIR"
    say "removed $DIR"
}

is_service() { case $1 in postgres | rabbitmq | redis) ;; *) usage ;; esac; }

case "${1:-} $#" in
    'install 1') install_packages ;;
    'up 2') mkdir -p "$2"; DIR=$(realpath "$2"); up ;;
    'down 2' | 'remove 2')
        [ -d "$2" ] || { say "nothing to do: there is no $2"; exit 0; }
        DIR=$(realpath "$2"); "$1" ;;
    'start 3' | 'stop 3' | 'kill 3' | 'wipe 3')
        is_service "$2"
        DIR=$(realpath "$3"); load_ports
        case $1 in
            start) start "$2" ;;
            stop) stop_tree "$2"; say "$2 stopped" ;;
            kill) kill_tree "$2"; say "$2 killed" ;;
            wipe) kill_tree "$2"; "wipe_$2"; say "$2 wiped" ;;
        esac ;;
    *) usage ;;
esac
