#!/bin/bash
# SPDX-License-Identifier: MIT
# A release is the last commit, the same bytes each time; what is unpacked from it can be built, but
# not packed again, and says so.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
if [ ! -e .git ] || ! git rev-parse -q --verify HEAD >/dev/null; then
    echo "this is no git checkout"
    exit 77
fi
work=$(mktemp -d "$build/dist.XXXXXX") || exit 2
work=$(cd "$work" && pwd)
trap 'rm -rf "$work"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
failed=0
fail() {
    echo "failed: $*"
    failed=1
}

# What somebody commits meanwhile is no difference that counts.
for try in 1 2 3 4 5; do
    head=$(git rev-parse HEAD)
    make -s dist "BUILD=$work/a" >"$work/said" && make -s dist "BUILD=$work/b" >>"$work/said" ||
        { cat "$work/said"; exit 1; }
    [ "$(git rev-parse HEAD)" = "$head" ] && break
done
cmp "$work"/a/*.tar.gz "$work"/b/*.tar.gz || fail "two releases of one commit differ"
tar xzf "$work"/a/*.tar.gz -C "$work" || fail "unpacking"
tree=$(echo "$work"/spillway-*/)
[ -f "$tree/Makefile" ] && [ -f "$tree/README.md" ] || fail "the release has no Makefile, or no README.md"
if make -s -C "$tree" dist "BUILD=$work/c" >"$work/said" 2>&1; then
    fail "an unpacked release packs something"
fi
grep -q 'needs git, and a checkout' "$work/said" || fail "it says: $(cat "$work/said")"
exit $failed
