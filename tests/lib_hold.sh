# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced, after lib_sys.sh, by tests of poolstat beside a process that holds pools open.
# Sets $hold, a program with a name of its own ($name): others may run the same test.

cd "$work" || exit 1
poolstat=$BUILD/poolstat
[ -x "$poolstat" ] || {
    echo "no $poolstat: run make first"
    exit 1
}
hold=$(prog hold_pools) || skip "tests/prog/hold_pools was not built"
name=hold-$$
cp "$hold" "$work/$name" && hold=$work/$name
export SPILLWAY_DIRS=$work/scratch SPILLWAY_MEMORY=4MiB SPILLWAY_DISK_LIMIT=512MiB

# Starts it with COUNT pools as a coprocess: $pid.
held_in= held_out= pid=
hold_open() { # count, runner...
    local count=$1
    shift
    coproc HOLD { exec "$@" "$hold" "$count" 2>>hold.err; }
    held_out=${HOLD[0]} held_in=${HOLD[1]} pid=$HOLD_PID
    cleanups+=("kill -KILL $pid 2>/dev/null")
    local answer
    read -r -t 60 answer <&"$held_out"
    [ "$answer" = ready ] || {
        fail "hold_pools $count does not begin: $(cat hold.err)"
        finish
    }
}
tell() { # word; prints the answer
    local answer
    echo "$1" >&"$held_in"
    read -r -t 120 answer <&"$held_out"
    echo "$answer"
}
hold_close() {
    eval "exec $held_in>&-"
    wait "$pid" 2>/dev/null
}
