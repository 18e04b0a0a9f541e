#!/bin/bash
# SPDX-License-Identifier: MIT
# Writer and reader at full speed while everything spills, over each engine and tier, in a process
# of their own each. Called by `make check-soak`; the last line is "N passed, N failed, N skipped".
#
#     BUILD=build tests/soak.sh
#
#   SOAK_S   seconds for each (20)
set -u
cd "$(dirname "$0")/.." || exit 2
seconds=${SOAK_S:-20}
for name in $(compgen -e SPILLWAY_ | grep -v '^SPILLWAY_TEST_'); do
    unset "$name"
done
log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
passed=0 failed=0

soak() { # what, setting...
    local what=$1
    shift
    if timeout -k 10 $((seconds * 10 + 120)) "$BUILD/tests/prog/soak" "$seconds" "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $what, $seconds s: $(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        echo "FAIL $what, exit code $?"
        sed 's/^/    | /' "$log"
    fi
}

soak "disk, io_uring" tiers=disk engine=io_uring
soak "disk, threads" tiers=disk engine=threads
soak "memory tier" tiers=memory memory_tier=128M
soak "memory tier, then disk, with demotion" memory_tier=24M
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
