#!/bin/bash
# SPDX-License-Identifier: MIT
# poolstat set beside processes that allow it, do not, are stopped, have children and end; as
# another user; and what is seen of it afterwards.
. "$(dirname "$0")/lib_sys.sh"
. "$sources/lib_hold.sh"
export SPILLWAY_POLICIES=threshold,prefetch,periodic

run() { # option...; sets code; output in out, messages in err
    local patience=() # a machine that is busy answers late
    [ "$1" = set ] && patience=(--wait 50)
    timeout 120 "$poolstat" "${patience[@]}" "$@" >out 2>err
    code=$?
}
said() { # what, code, stream, words...
    local what=$1 wanted=$2 stream=$3 word
    shift 3
    check "$what: exit code $wanted" [ "$code" -eq "$wanted" ]
    for word in "$@"; do
        check "    says '$word'" grep -qF -e "$word" "$stream"
    done
}

# --- refused command lines: nothing is asked of anybody
run set
said "set of nothing" 2 err "NAME=VALUE"
run set memory
said "set without a value" 2 err "'memory' is not allowed" "NAME=VALUE"
run set =2GiB
said "set without a name" 2 err "NAME=VALUE"
run set "memory=$(printf '%0200d' 1)"
said "set of a long value" 2 err "NAME=VALUE"
run set --wait soon memory=2GiB
said "set --wait soon" 2 err "--wait"
run set -p 999999999 memory=2GiB
said "set of no process" 1 err "no process 999999999"

# --- a pool that does not allow it
hold_open 1
run set -p "$pid" memory=8MiB
said "a pool that does not allow it" 1 err "SPILLWAY_CONTROL=on" "$name"
check "    no output" [ ! -s out ]
hold_close

# --- one that does
export SPILLWAY_CONTROL=on
hold_open 1
run set -p "$pid" memory=8MiB
said "set memory" 0 out "memory: 8MiB, before 4MiB" "the budget is 8388608 bytes, before 4194304"
check "    keeps standard error clean" [ ! -s err ]
run set -p "$name" threshold=1MiB SPILLWAY_PREFETCH=off period=2s
said "several at once, by name" 0 out "threshold: 1MiB, before auto" "prefetch: off, before auto" \
    "period: 2s, before 10s"
run config -p "$pid"
check "config shows value and origin" grep -Eq '^ +memory +8MiB +auto +control [0-9:]+ ago' out
check "    and what was not set" grep -Eq '^ +engine +[a-z_]+ +auto +default ' out
run config -p "$pid" --json
check "config --json says when" grep -Eq '"set_ns": ?[1-9]' out
run why -p "$pid"
check "why says who, what, before and after" \
    grep -Eq 'control: set: memory: 8MiB, before 4MiB.*budget 8.00 MiB, before 4.00 MiB' out
run set -p "$pid" treshold=1MiB
said "no such setting" 2 err "'treshold' is not a setting" "the nearest is threshold"
run set -p "$pid" threshold=lots
said "a refused value" 2 err "'lots' is not allowed" "give bytes"
run set -p "$pid" engine=threads
said "one that is fixed" 1 err "engine is fixed" "SPILLWAY_ENGINE" "restart"
run set -p "$pid" price=20ms
said "one that nobody takes" 1 err "policy adaptive is not in use"
run set -p "$pid" threshold=nonsense memory=6MiB
said "one of two" 2 out "memory: 6MiB, before 8MiB"
check "    and the other is refused" grep -qF "'nonsense'" err
run --json -p "$pid"
check "the page has it" grep -Eq '"budget_bytes": ?6291456' out
check "    the service goes on" [ -n "$(tell fill)" ]

# --- two that ask at once
for i in 1 2 3 4 5 6 7 8; do
    "$poolstat" set --wait 50 -p "$pid" "threshold=${i}MiB" "head_reserve=${i}00KiB" >"out.$i" 2>&1 &
    pids[i]=$!
done
wrong=
for i in 1 2 3 4 5 6 7 8; do
    wait "${pids[i]}" || wrong="$wrong $i"
    grep -qF "threshold: ${i}MiB, before" "out.$i" || wrong="$wrong $i"
    grep -qF "head_reserve: ${i}00KiB, before" "out.$i" || wrong="$wrong $i"
done
check "eight that ask at once are each answered$wrong" [ -z "$wrong" ]

# --- somebody who dies in the middle, and junk
control=$("$poolstat" config --json -p "$pid" | grep -c '"control"')
check "the setting is among them" [ "$control" -ge 1 ]
for fd in /proc/"$pid"/fd/*; do
    case $(readlink "$fd") in
    pipe:*) [ "$(stat -L -c %a "$fd")" = 600 ] && pipes="${pipes:-} $fd" ;;
    esac
done
for fd in ${pipes:-}; do
    case $fd in */0 | */1 | */2) continue ;; esac
    printf 'SPWCTRL1' | timeout 5 dd of="$fd" oflag=nonblock conv=notrunc status=none 2>/dev/null
    head -c 5000 /dev/urandom | timeout 5 dd of="$fd" bs=5000 oflag=nonblock conv=notrunc status=none 2>/dev/null
    junked=1
done
check "there is a pipe to write junk to" [ -n "${junked:-}" ]
run set -p "$pid" --wait 5 threshold=1MiB # what came in the middle of junk may be lost
[ $code -eq 0 ] || run set -p "$pid" threshold=1MiB
said "after junk" 0 out "threshold: 1MiB"

# --- a stopped process
kill -STOP "$pid"
run set -p "$pid" --wait 300ms memory=5MiB
said "a stopped process" 1 err "no answer in time" "stopped" "lapsed"
kill -CONT "$pid"
run set -p "$pid" threshold=2MiB
said "    goes on" 0 out "threshold: 2MiB"
run config -p "$pid"
check "    and what has lapsed did not happen" grep -Eq '^ +memory +6MiB ' out

# --- a child does not answer for its parent, nor after it
child=$(tell fork)
run set -p "$pid" threshold=3MiB
said "beside a child" 0 out "threshold: 3MiB, before 2MiB"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
run set -p "$child" threshold=1MiB
check "a child alone: not set" [ $code -eq 1 ]
check "    and no output" [ ! -s out ]
kill -KILL "$child" 2>/dev/null

# --- another pipe in the place of the one that the page names: nothing is written to it
hold_open 1
mkfifo "$work/other"
check "a FIFO is in its place" [ "$(tell "swap $work/other")" = swapped ]
run set -p "$pid" threshold=1MiB
said "a FIFO in its place" 1 err "is not the pipe that it had"
check "    nothing is in it" [ "$(tell waiting)" = 0 ]
check "a pipe is in its place" [ "$(tell swap)" = swapped ]
run set -p "$pid" threshold=1MiB
said "a pipe in its place" 1 err "is not the pipe that it had"
check "    nothing is in it" [ "$(tell waiting)" = 0 ]
hold_close

# --- several pools
hold_open 3
run set -p "$pid" threshold=1MiB
check "all pools of a process" [ "$(grep -c 'threshold: 1MiB, before auto' out)" -eq 3 ]
run set threshold=1MiB
if [ "$(grep -c . err)" -gt 0 ]; then
    said "no word of which pool" 2 err "--pool"
fi

# --- somebody else's
if is_root && command -v setpriv >/dev/null; then
    cp "$poolstat" "$work/poolstat" && chmod 755 "$work/poolstat"
    nobody "$work/poolstat" set -p "$pid" threshold=1MiB >out 2>err
    code=$?
    said "of another user" 1 err "belongs to user" "run as root, or as that user"
else
    pass_over "another user" "not root"
fi
hold_close
finish
