#!/bin/bash
# SPDX-License-Identifier: MIT
# The shared object exports what the public headers declare, and nothing else;
# the static library defines the same names and no other global ones.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
work=$(mktemp -d "$build/exports.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

# Each declaration on a line of its own, then the name before its first parenthesis.
echo '#include "spillway/spillway.h"' | ${CC:-cc} -E -P -Ilib/include -x c - >"$work/headers" || exit 1
tr '\n' ' ' <"$work/headers" | tr ';{}' '\n\n\n' |
    sed -n 's/.*visibility("default")))[^(]*\b\(spw_[a-z0-9_]*\) *(.*/\1/p' | sort -u >"$work/declared"
nm -D --defined-only "$build/libspillway.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
    sort -u >"$work/shared"
nm -g --defined-only "$build/libspillway.a" | awk 'NF == 3 { print $3 }' | sort -u >"$work/static"

marked=$(grep -ho '^SPILLWAY_API' lib/include/spillway/*.h | wc -l)
declared=$(wc -l <"$work/declared")
failed=0
if [ "$marked" -ne "$declared" ] || [ "$declared" -eq 0 ]; then
    echo "$marked declarations are marked SPILLWAY_API, $declared names were understood"
    failed=1
fi
tell() { # file, what
    if [ -s "$1" ]; then
        echo "$2:"
        sed 's/^/    /' "$1"
        failed=1
    fi
}
for kind in shared static; do
    comm -23 "$work/declared" "$work/$kind" >"$work/lacking"
    comm -13 "$work/declared" "$work/$kind" >"$work/extra"
    tell "$work/lacking" "declared, but not in the $kind library"
    tell "$work/extra" "in the $kind library, but not declared"
done
readelf -d "$build/libspillway.so" >"$work/dynamic" || exit 1
if ! grep -q 'SONAME.*\[libspillway\.so\.[0-9]*\]' "$work/dynamic"; then
    echo "the shared object has no soname of the form libspillway.so.N"
    failed=1
fi
echo "$declared functions"
exit $failed
