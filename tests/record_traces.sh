#!/bin/bash
# SPDX-License-Identifier: MIT
# Records tests/traces/*.trace anew: what the kernel says of a group in which memory comes and
# goes under a limit, with a swap file. For root, on a machine with version 1 memory limits and a
# version 2 hierarchy beside them; not run by tests. `make traces` then writes the decisions anew.
set -eu
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
wanted=$* # only these; none: all
work=$(mktemp -d /var/tmp/spillway-traces.XXXXXX)
memory=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
memory+=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/spillway-traces-$$
unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/spillway-traces-$$
undo() {
    trap - EXIT INT TERM HUP
    swapoff "$work/swap" 2>/dev/null || true
    rm -rf "$work"
    for try in 1 2 3 4 5; do
        rmdir "$memory" "$unified" 2>/dev/null && break
        sleep 0.2
    done
}
trap undo EXIT
trap 'exit 1' INT TERM HUP

mkdir "$memory" "$unified"
echo 268435456 >"$memory/memory.limit_in_bytes"
fallocate -l 768M "$work/swap"
chmod 600 "$work/swap"
mkswap -q "$work/swap" >/dev/null
swapon -p 1 "$work/swap"
head -c 256M /dev/urandom >"$work/file"
sync "$work/file"

# name, seconds, what it is, command
record() {
    local name=$1 seconds=$2 what=$3 pid
    [ -z "$wanted" ] || [[ " $wanted " == *" $name "* ]] || return 0
    shift 3
    sleep 5 # what came before is no longer seen
    {
        echo "# $what"
        echo "# Linux $(uname -r), a limit of 256 MiB, swap on the same disk"
    } >"$work/trace"
    (
        exec 2>/dev/null
        echo "$BASHPID" >"$memory/cgroup.procs"
        echo "$BASHPID" >"$unified/cgroup.procs"
        exec "$@"
    ) &
    pid=$!
    "$build/tests/prog/record_pressure" "$unified" "$seconds" >>"$work/trace"
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    cp "$work/trace" "tests/traces/$name.trace"
    echo "$name: $(grep -c '^@' "$work/trace") readings, $(grep -c event "$work/trace") events"
}

record burst 50 'a burst: 320 MiB for 12 s, then none' "$build/tests/prog/hog" 320 12000 60000 1
record wave 100 'a wave: 320 MiB for 8 s, none for 17 s, four times' \
    "$build/tests/prog/hog" 320 8000 17000 4
record flutter 40 'a flutter: 300 MiB for 1 s, none for 1 s' "$build/tests/prog/hog" 300 1000 1000 40
record steady 40 'a steady state: 272 MiB, a little more than there is room for' \
    "$build/tests/prog/hog" 272 60000 0 1
record disk 40 'a disk that is read by force, and memory that is not short' \
    timeout 20 bash -c "while :; do dd if=$work/file of=/dev/null bs=1M iflag=direct; done"
