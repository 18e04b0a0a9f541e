#!/bin/bash
# SPDX-License-Identifier: MIT
# spillbench compare: every contender runs and gives back what it was given, in small; what it sets
# up on the system is gone afterwards, also when it was killed.
. "$(dirname "$0")/lib_sys.sh"
. "$(dirname "$0")/lib_cgroup.sh"
spillbench=$BUILD/spillbench
[ -x "$spillbench" ] || skip "no $spillbench"
is_root || skip "memory cgroups and swap space need root"
cgroup_open || skip "$cgroup_why"
cleanups+=(cgroup_close)
groups=$(dirname "$cgroup_dir")
device= # of zram, with its number
device_inode=

small=("$spillbench" compare --dir "$work/scratch" --pairs 1 --chunk 64KiB --total 96MiB
    --limit 64MiB --threshold 16MiB --head-reserve 4MiB --warm 8MiB --quiet)

compare() { # option...
    "${small[@]}" "$@"
}

# What a run may have left: files, swap space, its zram device, groups, processes. Only of ours: others
# on this machine come and go as they like.
left_of() { # pid
    ls -A "$work/scratch"
    grep -F "$work/scratch" /proc/swaps
    [ -n "$device" ] && [ "$(stat -Lc %i "$device" 2>/dev/null)" = "$device_inode" ] && echo "$device"
    ls "$groups" | grep "^spillbench-$1-"
    pgrep -f -- "--dir $work/scratch"
    true
}

has_row() { # contender
    grep -q "\"$1\"" "$work/report.json" || {
        echo "no row of $1 in the report"
        return 1
    }
}

# ---- every contender ----
"${small[@]}" --json "$work/report.json" >"$work/report.txt" 2>"$work/err" &
pid=$!
if wait $pid; then
    ok "every contender that can run here"
else
    fail "every contender: exit code $?"
    cat "$work/report.txt" "$work/err"
fi
for contender in null spillway spillway-heap seed mapped; do
    check "$contender is in the report" has_row $contender
done
for contender in swap zram; do
    if grep -q "$contender: skipped" "$work/report.txt"; then
        pass_over "$contender" "$(grep -A2 "$contender: skipped" "$work/report.txt" | tr -s '\n ' ' ')"
    else
        check "$contender ran, or ended as it says" grep -q "$contender" "$work/report.txt"
    fi
done
check "nothing is left of them" nothing_left $pid

# ---- chunks larger than the seed's write buffer, and many small ones ----
check "chunks larger than a buffer" compare --contenders spillway,spillway-heap,seed,mapped \
    --chunk 5MiB --threshold 20MiB
check "small chunks" compare --contenders spillway,spillway-heap,seed,mapped --chunk 1KiB \
    --total 32MiB --threshold 4MiB --head-reserve 1MiB --limit 48MiB

# ---- the seed's strategy costs what the original costs: the same system calls ----
counted() { # words, number
    local have
    have=$(grep -Ec "$1" "$work/strace")
    [ "$have" -eq "$2" ] || {
        echo "$have instead of $2 of '$1'"
        return 1
    }
}
if strace -f -e trace=openat,write,read -o "$work/strace" "${small[@]}" --contenders seed --warm 1 \
    >"$work/out" 2>&1; then
    # 1536 chunks; above 20 MiB all but 4 MiB go, the last chunk apart: 256 at a time, five times.
    check "one temporary file a batch" counted 'O_TMPFILE' 5
    check "written through a buffer of 4 MiB" counted 'write.* = 4194304' 20
    check "read back whole, a read a chunk" counted 'read.* = 65536' 1280
else
    pass_over "the seed's system calls" "$(tail -1 "$work/out")"
fi

# ---- killed in the middle ----
# Whose turn it is at swap space: a lock on /proc/swaps. No other spillbench has any meanwhile.
has_turn() { # pid
    awk -v pid="$1" '$2 == "FLOCK" && $4 == "WRITE" && $5 == pid { found = 1 } END { exit !found }' \
        /proc/locks
}

# The swap space in use that is ours; a zram device may have its usual name, but comes before all that
# the machine itself uses.
swap_of() { # contender
    if [ "$1" = swap ]; then
        awk -v dir="$work/scratch/" 'index($1, dir) == 1 { print $1 }' /proc/swaps
    else
        awk '$1 ~ /zram/ && $NF == 32767 { print $1 }' /proc/swaps
    fi
}

# Runs a contender; succeeds when its swap space is in use. Sets pid and, for zram, device.
starts() { # contender
    local end=$((SECONDS + 60)) name
    device=
    "${small[@]}" --contenders "$1" --total 256MiB --warm 1MiB >"$work/report.txt" 2>&1 &
    pid=$!
    while [ $SECONDS -lt $end ] && kill -0 $pid 2>/dev/null; do
        name=$(swap_of "$1")
        if [ -n "$name" ] && has_turn $pid; then
            [ "$1" = swap ] && return
            device=/sys/dev/block/$(stat -Lc '%t %T' "$name" | (read -r a b && echo $((16#$a)):$((16#$b))))
            device_inode=$(stat -Lc %i "$device" 2>/dev/null) && return
        fi
        sleep 0.02
    done
    return 1
}

killed() { # signal, contender
    local found=
    starts "$2" && found=1
    kill -"$1" $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ -z "$found" ]; then
        pass_over "$2 killed by $1" "there was no swap space to see"
    else
        ok "$2 was swapping when SIG$1 came"
    fi
    check "nothing is left of $2 after SIG$1" nothing_left $pid
}
killed TERM swap
killed KILL swap
killed TERM zram
killed KILL zram

# The same of a device whose run came to its end.
if starts zram; then
    check "zram to its end" wait $pid
    check "nothing is left of zram" nothing_left $pid
else
    wait $pid
    pass_over "zram to its end" "there was no swap space to see"
fi
device=

# Only the run, not the program that measures it.
if starts swap; then
    while kill -0 $pid 2>/dev/null; do
        run=$(cat "$groups/spillbench-$pid"-*/cgroup.procs 2>/dev/null)
        [ -n "$run" ] && kill -KILL $run && break
        sleep 0.02
    done
    wait $pid
    check "a run that is killed is a failure" [ $? -eq 1 ]
    check "and why is told" grep -q 'killed by signal 9' "$work/report.txt"
else
    wait $pid
    pass_over "a run that is killed" "there was no swap space to see"
fi
check "nothing is left of a run that was killed" nothing_left $pid

# ---- refused, or failed, with a reason ----
check "an unknown contender" exits 2 "'nobody' is none" compare --contenders seed,nobody
check "a limit below the threshold" exits 2 "--limit" compare --limit 8MiB
check "more than is allowed in all" exits 2 "--total" compare --total 9GiB
check "more disk than allowed" exits 1 "more disk than allowed" compare --contenders mapped --disk 32MiB
check "no such folder" exits 1 "No such file" compare --contenders seed --dir "$work/none"
check "no such folder for a map" exits 1 "No such file" compare --contenders mapped --dir "$work/none"
check "no such folder for swap" exits 1 "No such file" compare --contenders swap --dir "$work/none"
mkdir "$work/full"
if mount -t tmpfs -o size=16m spillway-test "$work/full" 2>"$work/err"; then
    cleanups+=("umount -l '$work/full'")
    for contender in seed mapped swap; do
        check "a full disk under $contender" exits 1 "No space" compare --contenders $contender \
            --dir "$work/full"
    done
    check "nothing is left on it" [ -z "$(ls -A "$work/full")" ]
else
    pass_over "full disks" "$(head -1 "$work/err")"
fi
cp "$spillbench" "$work/bench"
check "a user who may not make a cgroup" exits 1 "memory cgroup" \
    nobody "$work/bench" compare --pairs 1 --total 1MiB --contenders spillway --quiet
finish
