#!/usr/bin/env bash
# Runs the verifiers of docs/receivers.md, as they stand there, in each of their languages. Rust's are
# tests of the crate `receiver`.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v php >/dev/null || missing+=(php-cli)
command -v ruby >/dev/null || missing+=(ruby)
command -v go >/dev/null || missing+=(golang-go)
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || missing+=(python3-cryptography)
if [ "${#missing[@]}" -gt 0 ]; then
    sudo=''
    [ "$(id -u)" = 0 ] || sudo=sudo
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    $sudo "${apt[@]}" update
    $sudo "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
fi
exec /usr/bin/python3 verifiers.py ../../docs/receivers.md
