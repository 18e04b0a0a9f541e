#!/bin/bash
# SPDX-License-Identifier: MIT
# The static probes: where they are built in, each one that lib/probes.h tells of is in the library,
# and the example uses no other; where they are not, there is nothing of them.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
failed=0
told=$(sed -nE 's/^ \*   ([a-z]+)  +.*/\1/p' lib/probes.h | sort)
used=$(grep -ohE 'PROBE[1-5]\([a-z]+' lib/*.c pool/*.c policies/*.c | sed 's/.*(//' | sort -u)
[ "$told" = "$used" ] || {
    echo "lib/probes.h tells of:" $told
    echo "the sources have:" $used
    failed=1
}
shown=$(grep -oE 'spillway:[a-z]+' tools/kit/trace.bt | sed 's/.*://' | sort -u)
[ "$shown" = "$told" ] || {
    echo "tools/kit/trace.bt has:" $shown
    failed=1
}
notes=$(readelf -n "$build/libspillway.so" 2>/dev/null)
if grep -q -- '-DSPILLWAY_HAVE_SDT=1' "$build/flags"; then
    have=$(sed -nE 's/^ *Name: ([a-z]+)$/\1/p' <<<"$notes" | sort -u)
    [ "$have" = "$told" ] || {
        echo "the library has:" $have
        failed=1
    }
elif grep -q stapsdt <<<"$notes"; then
    echo "built without sys/sdt.h, and yet there are probes"
    failed=1
else
    echo "built without sys/sdt.h: only the names were compared"
fi
exit $failed
