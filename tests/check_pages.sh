#!/bin/bash
# SPDX-License-Identifier: MIT
# Manual pages and shell completion, which are made from headers and tables: each exported function
# has a page that says what it returns, formatters have nothing to say, and what is completed is there.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
failed=0
fail() {
    echo "failed: $*"
    failed=1
}

[ -n "$(ls "$build"/man/*.3 2>/dev/null)" ] || {
    echo "no pages in $build/man: run make first"
    exit 1
}
for name in $(nm -D --defined-only "$build/libspillway.so" | sed -nE 's/.* T (spw_[a-z0-9_]+).*/\1/p' | sort -u); do
    grep -Eq "^(\.BR|\.SS|.*, )?.*\b$name\b" "$build"/man/*.3 || fail "no page of section 3 has $name"
done
for page in "$build"/man/*.3; do
    for section in NAME SYNOPSIS DESCRIPTION 'RETURN VALUE' LIFETIMES; do
        grep -q "^\.SH $section$" "$page" || fail "$page has no $section"
    done
    if grep -n '^ \* \|^/\*\*' "$page"; then fail "$page shows comment signs"; fi
done
if command -v groff >/dev/null; then
    for page in "$build"/man/*; do
        said=$(groff -man -ww -z "$page" 2>&1 | grep -v 'cannot adjust\|can.t break\|cannot break')
        [ -z "$said" ] || fail "$page: $said"
    done
fi

completed() { # program, word...; what is proposed for the last word
    bash -c '. "$0/completion/$1" && program=$1 && COMP_WORDS=("$@") && COMP_CWORD=$(($# - 1)) &&
        _"$program" 2>/dev/null; echo "${COMPREPLY[*]}"' "$build" "$@"
}
expect() { # what, program, word...
    local want=$1 have
    shift
    have=$(completed "$@")
    [ "$have" = "$want" ] || fail "'$*' is completed to '$have', not '$want'"
}
for file in "$build"/completion/*; do
    bash -n "$file" || fail "$file is no script"
done
expect doctor poolstat do
expect scratch poolstat doctor sc
expect "--pool --prometheus" poolstat --p
expect pid,resident poolstat -o pid,res
expect "--memory --memory-tier" spillpipe --mem
expect bars spillbench ba
expect --total spillbench stress --tot
exit $failed
