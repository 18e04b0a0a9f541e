#!/bin/bash
# SPDX-License-Identifier: MIT
# README.md tells what is: its table of settings is the one that the library has, and its pieces of
# C, put one behind the other, are a program that carries bytes. So is the table of checks in
# Kbuild-notes.md.
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
# The policies of somebody's own are those of a program that check_external builds and runs.
sed -n '/^<!-- own: /,/^<!-- end of own -->/{/^<!-- /d;/^```/d;p}' README.md >"$work/shown"
sed -n '/^\/\* \[own\] \*\/$/,/^\/\* \[end\] \*\/$/{/^\/\* \[/d;p}' tests/external/policy.c >"$work/own"
if [ ! -s "$work/own" ] || ! diff -u "$work/shown" "$work/own"; then
    echo "README.md shows other policies than tests/external/policy.c has"
    failed=1
fi
sed -n '/^```c$/,/^```$/{/^```/d;p}' README.md >"$work/pieces"
{
    grep '^#include' "$work/pieces"
    cat <<'C'
#include <unistd.h>
static void use(const void *data, size_t len)
{
    if (write(1, data, len) != (ssize_t)len)
        _exit(1);
}
int main(void)
{
    int fd = 0;
C
    grep -v '^#include' "$work/pieces"
    cat <<'C'
    spw_slab_close(slab);
    spw_writer_close(writer);
    spw_reader_close(reader);
    return spw_pool_close_idle(pool) == 0 ? 0 : 1;
}
C
} >"$work/readme.c"
if ! "${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror -Ilib/include -o "$work/readme" "$work/readme.c" \
    -L"$build" -lspillway; then
    echo "the pieces of C in README.md do not compile"
    exit 1
fi
# A single read, and a single drain: no more than both take at once.
head -c 10000 README.md >"$work/in"
LD_LIBRARY_PATH=$build TMPDIR="$work" "$work/readme" <"$work/in" >"$work/out" ||
    { echo "the program in README.md ends with $?"; failed=1; }
cmp "$work/in" "$work/out" || failed=1
exit $failed
