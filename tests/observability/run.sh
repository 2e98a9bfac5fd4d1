#!/usr/bin/env bash
# Dashboards, rules and runbooks against what they talk about: a real Prometheus that scrapes a real
# Fanfare under load. Needs target/debug/fanfare; installs Prometheus if it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'observability: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_packages() {
    local packages=()
    command -v promtool >/dev/null || packages+=(prometheus)
    command -v openssl >/dev/null || packages+=(openssl)
    command -v curl >/dev/null || packages+=(curl)
    # Debian's Python: the one its packages belong to.
    /usr/bin/python3 -c 'import yaml' 2>/dev/null || packages+=(python3-yaml)
    if [ "${#packages[@]}" = 0 ]; then return; fi
    command -v apt-get >/dev/null || fail "please install: ${packages[*]}"
    # The package would start its server; this is Debian's way of asking it not to.
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
}

install_packages
tests/services.sh install
export FANFARE_BIN=${FANFARE_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/debug/fanfare}
[ -x "$FANFARE_BIN" ] || fail "there is no $FANFARE_BIN: cargo build -p fanfare"
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -m unittest discover -s tests/observability "$@"
