#!/usr/bin/env bash
# Checks what is under deploy/ with what will read it, and runs the image's contents without an engine. Needs
# target/debug/fanfare, or FANFARE_BIN, and the services of `tests/services.sh up`, whose env is loaded.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
command -v bwrap >/dev/null || missing+=(bubblewrap)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v ldd >/dev/null || missing+=(libc-bin)
/usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
    sudo=''
    [ "$(id -u)" = 0 ] || sudo=sudo
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    $sudo "${apt[@]}" update
    $sudo "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

venv=target/python/deploy
if ! cmp -s tests/deploy/requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r tests/deploy/requirements.txt
    cp tests/deploy/requirements.txt "$venv/"
fi
exec "$venv/bin/python" -m unittest discover -s tests/deploy -p 'test_*.py' "$@"
