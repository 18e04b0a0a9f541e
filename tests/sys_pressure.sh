#!/bin/bash
# SPDX-License-Identifier: MIT
# Real pressure: a pool with the pressure policy gives memory back beside a hog in its cgroup, and
# gets it again; it is done sooner than without, and nobody is killed. What spillbench pressure sets
# up is gone afterwards, also when it was killed.
. "$(dirname "$0")/lib_sys.sh"
. "$(dirname "$0")/lib_cgroup.sh"
spillbench=$BUILD/spillbench
[ -x "$spillbench" ] || skip "no $spillbench"
is_root || skip "memory cgroups and swap space need root"
[ -r /proc/pressure/memory ] || skip "no pressure stall information here"
cgroup_open || skip "$cgroup_why"
cleanups+=(cgroup_close)
groups=$(dirname "$cgroup_dir")
unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$unified" ] || skip "no hierarchy of version 2 is mounted here"

small=("$spillbench" pressure --dir "$work/scratch" --pairs 1 --limit 128MiB --memory 96MiB
    --hog 80MiB --backlog 256MiB --rate 40MiB --hog-on 8 --hog-off 3 --quiet)

left_of() { # pid
    ls -A "$work/scratch"
    grep -F "$work/scratch" /proc/swaps
    ls "$groups" "$unified$(sed -n 's/^0:://p' /proc/self/cgroup)" | grep "^spillbench-$1\(-\|$\)"
    pgrep -f -- "--dir $work/scratch"
    true
}


# ---- gives back, gets again, is not killed ----
# How soon is for a machine that does nothing else to show: it is told here. What has to come does,
# however long it takes.
"${small[@]}" --total 640MiB --rivals pressure --calm 150 --json "$work/report.json" \
    --plot "$work/report.svg" >"$work/report.txt" 2>"$work/err" &
pid=$!
wait $pid
code=$?
if grep -q 'pressure: skipped' "$work/report.txt"; then
    skip "$(grep -A2 'pressure: skipped' "$work/report.txt" | tr -s '\n ' ' ')"
fi
if [ $code -eq 0 ]; then
    ok "it is done, and nobody was killed"
else
    fail "beside the hog: exit code $code"
    cat "$work/report.txt" "$work/err"
fi
sed -n '/^check/,/^$/p' "$work/report.txt"
check "the budget was lowered" grep -Eq '^ *[0-9.]+ m?s +lower ' "$work/report.txt"
check "and was whole at last" grep -Eq '^ *[0-9.]+ s +whole ' "$work/report.txt"
check "the use came to fit after each event" \
    awk 'index($0, "from the event") == 1 { exit !($0 ~ /(pass|short)$/ && !/ - / && $(NF - 2) < 1e6) }' \
    "$work/report.txt"
check "the plot shows budget, use, pressure" grep -q 'tasks waited' "$work/report.json"
check "nothing is left of them" nothing_left $pid

# ---- killed in the middle ----
starts() { # succeeds when its run is under way; sets pid
    local end=$((SECONDS + 60))
    "${small[@]}" --total 2GiB --rivals pressure >"$work/report.txt" 2>&1 &
    pid=$!
    while [ $SECONDS -lt $end ] && kill -0 $pid 2>/dev/null; do
        [ -n "$(cat "$groups/spillbench-$pid"-*/cgroup.procs 2>/dev/null)" ] && return
        sleep 0.02
    done
    return 1
}
for signal in TERM KILL; do
    if starts; then
        sleep 0.5
        kill -$signal $pid
        wait $pid 2>/dev/null
        check "nothing is left after SIG$signal" nothing_left $pid
    else
        wait $pid
        fail "no run to be killed by SIG$signal"
        cat "$work/report.txt"
    fi
done

# ---- refused, or not possible here, with a reason ----
check "an unknown rival" exits 2 "--rivals" "${small[@]}" --rivals pressure,nobody
check "a rival twice" exits 2 "--rivals" "${small[@]}" --rivals pressure,pressure
check "a hog above the limit" exits 2 "--hog" "${small[@]}" --hog 129MiB
check "a budget above the limit" exits 2 "--memory" "${small[@]}" --memory 129MiB
check "less in all than stands" exits 2 "--total" "${small[@]}" --total 100MiB
check "more disk than allowed" exits 1 "more disk than allowed" "${small[@]}" --disk 64MiB
cp "$spillbench" "$work/bench"
check "a user who may not make a cgroup" exits 1 "memory cgroup" \
    nobody "$work/bench" pressure --pairs 1 --total 1GiB --rivals pressure --quiet
finish
