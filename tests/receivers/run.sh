#!/usr/bin/env bash
# Independent receivers against a running Fanfare: handlers as their systems publish them, and published
# libraries. Each takes the genuine delivery and refuses a tampered one.
#
#   tests/receivers/run.sh            FANFARE_BIN names the binary, target/debug/fanfare by default
#
# Installs what is missing: Debian packages, npm and PyPI packages at locked versions under target.
set -euo pipefail
cd "$(dirname "$0")"

NODE_MAJOR_MIN=18
target=$(cd ../.. && pwd)/target
place=$target/receivers
export FANFARE_BIN=${FANFARE_BIN:-$target/debug/fanfare}

say() { printf 'receivers: %s\n' "$*"; }
fail() { printf 'receivers: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing_packages() {
    command -v node >/dev/null || echo nodejs
    command -v npm >/dev/null || echo npm
    command -v php >/dev/null || echo php-cli
    /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || echo libfaketime
}

install_packages() {
    local packages apt
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" != 0 ] || return 0
    command -v apt-get >/dev/null || fail "please install: ${packages[*]}"
    say "installing ${packages[*]}"
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
    as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
        as_root "${apt[@]}" update
        as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}"
    }
}

# Runs a command to fill a folder, once for each version of its lock file.
once_for() {
    local lock=$1 folder=$2
    shift 2
    if cmp -s "$lock" "$folder/installed"; then return; fi
    say "installing $lock"
    rm -rf "$folder"
    mkdir -p "$folder"
    "$@"
    cp "$lock" "$folder/installed"
}

install_node() {
    cp node/package.json node/package-lock.json "$place/node"
    # Some of the libraries name a newer Node than they need.
    npm ci --prefix "$place/node" --silent --no-audit --no-fund --ignore-scripts
}

install_python() {
    /usr/bin/python3 -m venv "$place/python"
    "$place/python/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt
}

install_packages
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge "$NODE_MAJOR_MIN" ] || fail "Node is version $major: please install $NODE_MAJOR_MIN or newer"
once_for node/package-lock.json "$place/node" install_node
once_for python/requirements.txt "$place/python" install_python
# Modules are found beside the files that import them.
cp node/*.mjs "$place/node"
rm -rf "$place/published" && cp -r published "$place/published"
[ -x "$FANFARE_BIN" ] || fail "$FANFARE_BIN is missing: run cargo build -p fanfare"
RECEIVERS_INSTALLED=$place exec /usr/bin/python3 -B driver
