#!/bin/bash
# SPDX-License-Identifier: MIT
# How spillpipe ends when it is told to, and what it leaves behind: nothing.
. "$(dirname "$0")/lib_sys.sh"
no_fallback
mkfifo "$work/in" "$work/out"

# A spillpipe that has spilled and sits on its data: an input that stays open, a consumer that
# reads nothing. Sets pid; the ends are descriptors 8 and 9 of this shell.
start() { # command...
    "$@" --memory 8M --memory-tier 16M --dir "$work/scratch" <"$work/in" >"$work/out" 2>"$work/err" &
    pid=$!
    exec 8>"$work/in" 9<"$work/out"
    stream $((64 << 20)) >&8 &
    feeder=$!
    local try
    for try in $(seq 1200); do
        grep -q ' (deleted)' < <(ls -l "/proc/$pid/fd" 2>/dev/null) &&
            [ "$(awk '/^rchar/ { print $2 }' "/proc/$pid/io" 2>/dev/null || echo 0)" -gt $((32 << 20)) ] && return 0
        sleep 0.05
    done
    echo "it did not begin to spill"
    return 1
}
end() { # sets code
    wait $pid
    code=$?
    exec 8>&- 9<&-
    kill $feeder 2>/dev/null
    wait $feeder 2>/dev/null
}
leaves_nothing() {
    [ -z "$(ls -A "$work/scratch")" ] || {
        ls -lA "$work/scratch"
        return 1
    }
    [ ! -e "/proc/$pid" ] || return 1
    # A deleted scratch file that someone still holds would be named here.
    ! ls -l /proc/[0-9]*/fd 2>/dev/null | grep -F "$work/scratch"
}
signalled() { # what, signal, expected code, command...
    local what=$1 signal=$2 expected=$3
    shift 3
    if ! start "$@"; then
        fail "$what: $(head -1 "$work/err")"
        kill -9 $pid
        end
        return
    fi
    kill -"$signal" $pid
    end
    check "$what: ended by it" [ $code -eq "$expected" ]
    check "$what: leaves nothing" leaves_nothing
}
signalled "SIGKILL in the middle" KILL 137 "$spillpipe"
signalled "SIGTERM" TERM 143 "$spillpipe"
check "SIGTERM says nothing" [ ! -s "$work/err" ]
signalled "SIGTERM with -v" TERM 143 "$spillpipe" -v
check "SIGTERM with -v leaves the summary" grep -q '^spillpipe: in .* out ' "$work/err"
# Background jobs of a script ignore SIGINT; here it must not be ignored.
signalled "SIGINT" INT 130 env --default-signal=INT "$spillpipe"
signalled "SIGHUP" HUP 129 "$spillpipe"
signalled "SIGTERM, threads" TERM 143 "$spillpipe" --engine threads
# A stopped one can be continued.
if start "$spillpipe"; then
    kill -STOP $pid
    kill -CONT $pid
    kill -TERM $pid
fi
end
check "SIGSTOP, SIGCONT, SIGTERM" [ $code -eq 143 ]

# Ignored signals stay ignored, as nohup wants.
if start env --ignore-signal=HUP "$spillpipe"; then
    kill -HUP $pid
    sleep 0.2
    check "SIGHUP under nohup changes nothing" kill -0 $pid
    kill -TERM $pid
fi
end

# The consumer leaves.
head -c 4096 /dev/zero >"$work/zero4k"
yes | "$spillpipe" 2>"$work/err" | head -c 4096 >"$work/got"
codes=("${PIPESTATUS[@]}")
check "the consumer leaves: ended by SIGPIPE" [ "${codes[1]}" -eq 141 ]
check "the consumer leaves: quietly" [ ! -s "$work/err" ]
"$spillpipe" /dev/zero 2>"$work/err" | head -c 100M | b2sum >"$work/a"
codes=("${PIPESTATUS[@]}")
head -c 100M /dev/zero | b2sum >"$work/b"
check "/dev/zero into head: ended by SIGPIPE" [ "${codes[0]}" -eq 141 ]
check "/dev/zero into head: the right bytes" cmp "$work/a" "$work/b"
(
    trap '' PIPE
    yes | "$spillpipe" 2>"$work/err"
    echo $? >"$work/code"
) | head -c 1 >/dev/null
check "the consumer leaves, SIGPIPE ignored: exit code 1" [ "$(cat "$work/code")" = 1 ]
check "the consumer leaves, SIGPIPE ignored: says why" grep -q 'standard output: Broken pipe' "$work/err"
check "nothing is left" [ -z "$(ls -A "$work/scratch")" ]
finish
