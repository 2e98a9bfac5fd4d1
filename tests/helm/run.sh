#!/usr/bin/env bash
# The Helm chart, rendered by Helm itself (PyPI's helm-python-sdk carries it; where there is no wheel, Go builds it),
# checked against Kubernetes' schemas, and its environment given to target/debug/fanfare.
# `run.sh update` writes what is generated: the README's table and the chart's copies of dashboards and rules.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'helm: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$target/python/helm
python=$venv/bin/python

install_packages() {
    if /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    command -v apt-get >/dev/null || fail "please install: python3-venv"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
    as_root "${apt[@]}" install -y --no-install-recommends python3-venv >/dev/null 2>&1 || {
        as_root "${apt[@]}" update
        as_root "${apt[@]}" install -y --no-install-recommends python3-venv
    }
}

# Made anew whenever the requirements change.
make_venv() {
    if cmp -s tests/helm/requirements.txt "$venv/requirements.txt"; then return; fi
    install_packages
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    HELM_PYTHON_BUILD=1 "$python" -m pip install --quiet --disable-pip-version-check \
        -r tests/helm/requirements.txt
    cp tests/helm/requirements.txt "$venv/"
}

make_venv
export PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = update ]; then exec "$python" tests/helm/generated.py; fi
tests/services.sh install
export FANFARE_BIN=${FANFARE_BIN:-$target/debug/fanfare}
[ -x "$FANFARE_BIN" ] || fail "there is no $FANFARE_BIN: cargo build -p fanfare"
exec "$python" -m unittest discover -s tests/helm "$@"
