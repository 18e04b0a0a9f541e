#!/bin/bash
# SPDX-License-Identifier: MIT
# spillbench as a user meets it: its command line, short runs of raw and stress, reports that other
# programs can read, and nothing left behind.
. "$(dirname "$0")/lib_sys.sh"
. "$(dirname "$0")/lib_cgroup.sh"
spillbench=$BUILD/spillbench
[ -x "$spillbench" ] || skip "no $spillbench"
no_fallback
cd "$work" || exit 1

# Runs it; sets code, and leaves out and err.
run() { # argument...
    "$spillbench" "$@" >out 2>err
    code=$?
}
refused() { # words..., -- argument...
    local word words=()
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    run "$@"
    check "'$*' is refused: exit code 2" [ $code -eq 2 ]
    check "    nothing on standard output" [ ! -s out ]
    for word in "${words[@]}"; do
        check "    says $word" grep -qF -e "$word" err
    done
}

# --- the command line
run --help
check "--help: exit code 0" [ $code -eq 0 -a ! -s err ]
commands=$(sed -n 's/^  \([a-z]\+\)  .*/\1/p' out)
check "--help names the commands" grep -q stress <<<"$commands"
for command in $commands; do
    run "$command" --help
    check "$command --help: exit code 0" [ $code -eq 0 -a ! -s err ]
    check "    within 80 columns" [ "$(wc -L <out)" -le 80 ]
done
run --version
check "--version" grep -Eqx 'spillbench \(Spillway\) [0-9.]+' out
"$spillbench" --help >/dev/full 2>err
check "--help that cannot be written: exit code 1" [ $? -eq 1 ]
refused "which command" --
refused "'fly' is no command" -- fly
refused "--help" -- stress --fly
refused "'more' is too much" -- stress more
refused "--chunk" "'4X'" "bytes with a unit" -- stress --chunk 4X
refused "--chunk" "no more than --total" -- stress --chunk 2M --total 1M
refused "--total" "no more than --disk" -- stress --total 2G --disk 1G
refused "--queues" "65536 at most" -- stress --queues 65537
refused "--engine" "'steam'" "io_uring, threads, or auto" -- stress --engine steam
refused "--pairs" "'65'" "64 at most" -- raw --pairs 65
refused "--depths" "'257'" "256 at most" -- raw --depths 257
refused "--requests" "multiples of 4096" -- raw --requests 1000
refused "--requests" "1GiB in flight" -- raw --requests 64M --depths 32
refused "--file" "no more than --disk" -- raw --file 2G --disk 1G
SPILLWAY_MEMORY=junk refused "SPILLWAY_MEMORY" "'junk'" -- stress --total 1M
run raw --dir missing
check "raw, a directory that is missing: exit code 1" [ $code -eq 1 -a ! -s out ]
check "    names it" grep -q "'missing'" err
run stress --dir missing --total 1M --chunk 64K --pairs 1
check "stress, a directory that is missing: exit code 1" [ $code -eq 1 -a ! -s out ]
check "    names it" grep -q "missing" err

# --- reports
parses() { # file
    python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$1"
}
# Evaluates a Python expression over a report `r`.
holds() { # file, expression
    python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
t = r["tables"]
ok = eval(sys.argv[2])
sys.exit(0 if ok else str(t))' "$1" "$2"
}
have_python=
command -v python3 >/dev/null && have_python=1
report_check() { # what, file, expression
    if [ -n "$have_python" ]; then
        check "$1" holds "$2" "$3"
    else
        pass_over "$1" "no python3"
    fi
}
small_raw=(raw --dir scratch --file 8M --moved 4M --requests 64K,1M --depths 1,4 --pairs 2)
small_stress=(stress --dir scratch --total 16M --chunk 64K --memory 2M --pairs 2)

run "${small_raw[@]}" --json raw.json --plot raw.svg
check "raw: exit code 0" [ $code -eq 0 ]
check "raw: a table" grep -Eq '^(io_uring|threads) +write +64 KiB' out
report_check "raw: every combination, as often as asked" raw.json \
    'sum(1 for x in t["raw"]["rows"] if x["engine"] == "threads" and len(x["rate"]["values"]) == 2 and x["rate"]["median"] > 0) == 12'
if command -v gnuplot >/dev/null; then
    check "raw: a plot" grep -q '</svg>' raw.svg
fi
if command -v fio >/dev/null && can_uring; then
    report_check "raw: fio beside it" raw.json 'len(t["fio"]["rows"]) == 3'
fi
run "${small_raw[@]}" --engine threads --direction read --pages small --no-fio --json - --quiet
check "raw --json -: nothing else on standard output, nothing on standard error" [ $code -eq 0 -a ! -s err ]
report_check "raw: only what was asked for" out \
    'len(t["raw"]["rows"]) == 4 and all(x["direction"] == "read" for x in t["raw"]["rows"]) and "fio" not in t'

stress() { # what, argument...
    local what=$1
    shift
    run "${small_stress[@]}" --json stress.json --quiet "$@"
    check "stress, $what: exit code 0" [ $code -eq 0 -a ! -s err ]
    report_check "    spilled, and read back" stress.json \
        't["traffic"]["rows"][0]["spilled"]["min"] > 8 << 20 and t["traffic"]["rows"][0]["fetched"]["min"] > 8 << 20'
}
stress "slabs" --plot stress.svg
report_check "    copies nothing" stress.json 't["traffic"]["rows"][0]["copied"]["max"] == 0'
report_check "    says how much memory it took" stress.json \
    't["memory"]["rows"][0]["budget"]["median"] == 2 << 20 and t["memory"]["rows"][0]["run"] == "spillway"'
report_check "    has every chunk's latency" stress.json \
    '[x["count"] for x in t["latency"]["rows"] if x["call"] == "extend"] == [512]'
report_check "    and the null strategy beside it" stress.json \
    '[x["run"] for x in t["times"]["rows"]] == ["spillway", "null", "net"]'
stress "heap" --origin heap
report_check "    copies what it spills" stress.json \
    't["traffic"]["rows"][0]["copied"]["min"] >= t["traffic"]["rows"][0]["spilled"]["min"]'
stress "queues, drained now and then" --queues 4 --drain-every 200 --no-verify --cold
stress "threads" --engine threads --control --no-latency
stress "memory tier" --memory-tier 32M
run "${small_stress[@]}" --json /nonexistent/x
check "a report that cannot be written: exit code 1" [ $code -eq 1 ]
check "    names it" grep -q "/nonexistent/x" err
run "${small_stress[@]}" --plot /nonexistent/x
check "a plot that cannot be written: exit code 1" [ $code -eq 1 ]
"$spillbench" "${small_stress[@]}" --quiet >/dev/full 2>err
check "a table that cannot be written: exit code 1" [ $? -eq 1 ]

# --- without gnuplot and fio
mkdir empty
PATH=$work/empty run "${small_raw[@]}" --plot none.svg --json none.json --quiet
check "no gnuplot, no fio: exit code 0" [ $code -eq 0 ]
check "    says so" grep -q 'no plot: gnuplot is not installed' out
check "    no half picture" [ ! -e none.svg ]
if can_uring; then
    check "    and says that there is no fio" grep -q 'fio: it is not installed' out
fi

# --- a user without rights
if is_root; then
    cp "$spillbench" bench
    mkdir -m 777 open
    nobody ./bench stress --dir open --total 16M --chunk 64K --memory 2M --pairs 1 >out 2>err
    check "a user without rights: exit code 0" [ $? -eq 0 ]
    check "    says why there is no charge" grep -q 'may not make a memory cgroup' out
    nobody ./bench stress --dir open --total 16M --pairs 1 --limit 64M >out 2>err
    check "a limit that this user may not set: exit code 1" [ $? -eq 1 ]
    check "    says so" grep -q 'needs a memory cgroup' err
    mkdir -m 555 closed
    nobody ./bench raw --dir closed >out 2>err
    check "a directory that is not to be written to: exit code 1" [ $? -eq 1 ]
    check "    says why" grep -q "'closed': Permission denied" err
fi

# --- ended in the middle
# What may have stayed: children, cgroups, scratch files that somebody holds.
groups=$(cgroup_own)
left_of() { # pid
    [ -n "$groups" ] && find "$groups" "${groups%/*}" -maxdepth 1 -name "spillbench-$1-*" 2>/dev/null
    ls -A scratch
    ls -l /proc/[0-9]*/fd 2>/dev/null | grep -F "$work/scratch"
}
interrupted() { # signal, expected code, what, argument...
    local signal=$1 expected=$2 what=$3 pid end=$((SECONDS + 60)) begun=
    shift 3
    env --default-signal=INT "$spillbench" "$@" >out 2>err &
    pid=$!
    # Until the scratch file is there, in the program or its child.
    while [ -z "$begun" ] && [ $SECONDS -lt $end ] && kill -0 $pid; do
        ls -l /proc/[0-9]*/fd 2>/dev/null | grep -qF "$work/scratch" && begun=1
        sleep 0.05
    done
    check "$what: begun when SIG$signal came" [ -n "$begun" ]
    kill -"$signal" $pid
    wait $pid
    code=$?
    check "$what, SIG$signal: ended by it" [ $code -eq "$expected" ]
    check "    leaves nothing" nothing_left $pid
}
long=(--pairs 64)
interrupted TERM 143 stress stress --dir scratch --total 64M --memory 4M "${long[@]}"
interrupted INT 130 stress stress --dir scratch --total 64M --memory 4M "${long[@]}"
interrupted HUP 129 stress stress --dir scratch --total 64M --memory 4M "${long[@]}"
interrupted KILL 137 stress stress --dir scratch --total 64M --memory 4M "${long[@]}"
interrupted TERM 143 raw raw --dir scratch --file 32M "${long[@]}"
finish
