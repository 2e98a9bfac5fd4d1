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
# What is killed here is processes, not the machine, and for them the kernel remembers; hundreds of
# databases otherwise keep the disk busy for minutes.
FANFARE_SERVICES_FSYNC=off $services up "$dir"
. "$dir/env"

# The end-to-end tests run the binary, which `cargo test` alone would not build. Everything is built
# as one workspace: with `-p`, cargo would choose other features and build the dependencies again.
$cargo build --workspace
status=0
if [ "${FANFARE_CHAOS:-}" = full ]; then
    bad_days=(kills:: outages:: shutdown::)
    $cargo test --workspace --test end_to_end -- --test-threads 1 "${bad_days[@]}" || status=$?
    $cargo test --workspace --test delays -- --nocapture || status=$?
else
    $cargo test --workspace --exclude e2e --no-fail-fast || status=$?
    # Most of these wait for something, so more of them run at once than there are cores.
    $cargo test --workspace --test end_to_end -- --test-threads 4 || status=$?
    tests/receivers/run.sh || status=$?
    tests/page/run.sh || status=$?
    tests/observability/run.sh || status=$?
    tests/helm/run.sh || status=$?
    tests/deploy/run.sh || status=$?
fi
exit "$status"
