#!/usr/bin/env bash
# Runs every test of the workspace on private services, which are stopped whatever happens.
# FANFARE_CHAOS=full runs only the tests that have a long version, in that version.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
services=tests/services.sh
$services install

dir=$(mktemp -d "${TMPDIR:-/tmp}/fanfare-services.XXXXXX")
trap '$services remove "$dir"' EXIT
trap 'exit 130' INT TERM
$services up "$dir"
. "$dir/env"

# The end-to-end tests run the binary, which `cargo test` alone would not build.
$cargo build --workspace
if [ "${FANFARE_CHAOS:-}" = full ]; then
    $cargo test -p e2e -- kills:: outages:: shutdown:: --test-threads 1
    $cargo test -p broker --test delays -- --nocapture
else
    $cargo test --workspace --exclude e2e --no-fail-fast
    # Most of these wait for something, so more of them run at once than there are cores.
    $cargo test -p e2e --no-fail-fast -- --test-threads 4
fi
