#!/bin/bash
# SPDX-License-Identifier: MIT
# README.md tells what is: its table of settings is the one that the library has, and its program
# builds and carries bytes. So is the table of checks in Kbuild-notes.md.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
if [ ! -f README.md ]; then
    echo "there is no README.md"
    exit 77
fi
failed=0
if ! "$build/mkman" readme <README.md | diff -u README.md - ||
    ! "$build/mkman" notes <Kbuild-notes.md | diff -u Kbuild-notes.md -; then
    echo "run: make readme"
    failed=1
fi
# Each fallback that the library counts is one that a check of poolstat doctor looks for.
checked=$(sed -n '/^<!-- checks: /,/^<!-- end of checks/p' Kbuild-notes.md | awk -F '|' '{ print $7 }')
for name in $(sed -nE 's/.*fallback\([^"]*"([a-z_-]+)".*/\1/p' pool/*.c | sort -u); do
    case $checked in
    *"\`$name\`"*) ;;
    *)
        echo "no check of poolstat doctor has the fallback $name"
        failed=1
        ;;
    esac
done

work=$(mktemp -d "$build/readme.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
sed -n '/^```c$/,/^```$/{/^```/d;p}' README.md >"$work/late.c"
if ! "${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror -Ilib/include -o "$work/late" "$work/late.c" \
    -L"$build" -lspillway; then
    echo "the program in README.md does not compile"
    exit 1
fi
# More than its budget.
head -c 20000000 /dev/urandom >"$work/in"
LD_LIBRARY_PATH=$build TMPDIR="$work" SPILLWAY_MEMORY=2MiB "$work/late" <"$work/in" >"$work/out" ||
    { echo "the program in README.md ends with $?"; failed=1; }
cmp "$work/in" "$work/out" || failed=1
exit $failed
