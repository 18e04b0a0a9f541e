#!/bin/bash
# SPDX-License-Identifier: MIT
# poolstat beside processes that run, are stopped, are busy, end and crash; with many pools; as
# another user; what it writes is what the pool's own calls say.
. "$(dirname "$0")/lib_sys.sh"
. "$sources/lib_hold.sh"
# Pressure of others on this machine would move the budget.
export SPILLWAY_POLICIES=threshold,prefetch
python=$(command -v python3)

run() { # option...; sets code; output in out, messages in err
    timeout 60 "$poolstat" "$@" >out 2>err
    code=$?
}

# --- help, version, refused command lines
run --help
check "--help: exit code 0" [ $code -eq 0 ]
check "    fits 80 columns" [ "$(wc -L <out)" -le 80 ]
check "    keeps standard error clean" [ ! -s err ]
run --version
check "--version" grep -Eq '^poolstat .*[0-9]+\.[0-9]+\.[0-9]+$' out
"$poolstat" --help >/dev/full 2>err
check "--help on a full disk: exit code 1" [ $? -eq 1 ]
refused() { # words that the message must hold, then -- and the command line
    local word words=()
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    run "$@"
    check "poolstat $(printf '%q ' "$@"): exit code 2" [ $code -eq 2 ]
    for word in "${words[@]}"; do
        check "    says '$word'" grep -qF -e "$word" err
    done
    check "    no output" [ ! -s out ]
}
refused "--nonsense" "--help" -- --nonsense
refused "-Z" -- -Z
refused "--pool" "needs a value" -- --pool
refused "'x'" "seconds" -- x
refused "'0'" -- 0
refused "'-1'" -- -- -1
refused "'1e9'" -- 1e9
refused "'0'" "whole number" -- 1 0
refused "'3'" -- 1 2 3
refused "only one of" -- --json --prometheus
refused "only one of" -- --diff --textfile x
refused "why can write text or --json" -- why --prometheus
refused "queues can write" -- queues --json --watch
refused "config can write" -- config --textfile x
refused "set only writes text" -- set --json memory=1G
run --diff --check 'lost==0'
check "a refused command line with a check: exit code 3" [ $code -eq 3 ]
run --check 'resident<' -p 1
check "a refused check: exit code 3" [ $code -eq 3 ]

# --- one process
hold_open 1
run -p "$pid"
check "a summary" grep -q "^held-0  process $pid ($name) of .*, running, open for" out
run -p "$pid" -o pid,nonsense
check "an unknown column: exit code 2" [ $code -eq 2 ]
check "    is named" grep -q nonsense err
run -p "$pid" -o pid --sort nonsense
check "an unknown column to sort by: exit code 2" [ $code -eq 2 ]
run -p "$pid" -n -o pid,pool,queues,budget --bytes
check "columns" grep -Eq "^ *$pid held-0 +1 4194304$" out
run -p held-0 -n -o pid,used_bytes 0.05 4
check "lines, by the pool's name" [ "$(grep -c "^ *$pid " out)" -eq 4 ]
run -p $name -n -o pid 0.05 3
check "by the process's name, without titles" [ "$(sort -u out | tr -d ' ')" = "$pid" ]
run -p nothing-is-called-so
check "no such name: exit code 1" [ $code -eq 1 ]
check "    says so" grep -q "'nothing-is-called-so'" err
run -p "$pid" -p nothing-is-called-so
check "    nor beside one that is there" [ $code -eq 1 ]
check "    says so" grep -q "'nothing-is-called-so'" err
run -p 4194305
check "no such process: exit code 1" [ $code -eq 1 ]
check "    says so" grep -q "there is no process 4194305" err
run -p $$
check "a process without a pool: exit code 1" [ $code -eq 1 ]
check "    says so" grep -q "process $$ has no pool" err
run config -p "$pid"
check "config tells values and where they came from" \
    grep -Eq '^  memory +4MiB +auto +environment ' out
run why -p "$pid"
check "why tells of decisions" grep -q "^held-0  process $pid (.*), [0-9]* decisions* so far" out
run queues -p "$pid"
check "queues" grep -q 'the queue$' out

# --- what it says is what the pool says
compare() { # what; of report, queue and out
    "$python" - "$1" <<'PYTHON'
import json, sys
api, queue = json.load(open("report")), json.load(open("queue"))
if sys.argv[1] == "json":
    pool = json.load(open("out"))["pools"][0]
    stats, seen = pool["stats"], pool["queues"][0]
    for name, histogram in api["histograms"].items():
        for key, value in histogram.items():
            assert pool["histograms"][name][key] == value, (name, key)
    for name, value in queue.items():
        assert seen[name] == value, (name, value, seen)
    for name in ("engine", "seal_mode"):
        assert pool[name] == api[name], name
    assert pool["fallbacks"] == api["fallbacks"].split()
    for name, value in api.items():
        if isinstance(value, int) and name != "schema":
            assert stats[name] == value, (name, value, stats[name])
else:
    seen = {}
    for line in open("out"):
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            seen[name.split("{")[0]] = float(value)
    for name, value in api.items():
        if not isinstance(value, int) or name == "schema":
            continue
        metric = "spillway_" + name
        if name.endswith("_ns") or "_ns_" in name:
            metric, value = metric.replace("_ns", "_seconds"), value / 1e9
        assert abs(seen[metric] - value) <= 1e-6 * abs(value), (metric, value, seen[metric])
    for name, histogram in api["histograms"].items():
        assert seen["spillway_" + name.replace("_ns", "_seconds") + "_count"] == histogram["count"]
PYTHON
}
# The pool's own threads may count something between the two looks.
agrees() {
    for _ in $(seq 5); do
        tell report >report
        tell queue >queue
        run -p "$pid" "--$1"
        compare "$1" && return
    done
    return 1
}
check "something was spilled and fetched" [ "$(tell fill)" = filled ]
if [ -n "$python" ]; then
    check "JSON: every number is the API's own" agrees json
    check "    it is as its schema says" \
        "$python" "$sources/json_schema.py" "$sources/../tools/poolstat/schema.json" out
    check "Prometheus: every number is the API's own" agrees prometheus
    run -p "$pid" --json 0.05 3
    check "JSON with an interval: a document a line" [ "$(wc -l <out)" -eq 3 ]
    check "    as the schema says" \
        "$python" "$sources/json_schema.py" "$sources/../tools/poolstat/schema.json" out
else
    pass_over "JSON" "no python3"
fi
run -p "$pid" --prometheus
check "Prometheus: HELP and TYPE before each metric, once" eval \
    "[ -z \"\$(grep -E '^# (HELP|TYPE)' out | cut -d' ' -f2,3 | sort | uniq -d)\" ]"
check "    counters end in _total" eval \
    "[ -z \"\$(awk '\$1 == \"#\" && \$2 == \"TYPE\" && \$4 == \"counter\" && \$3 !~ /_total\$/' out)\" ]"
check "    buckets are cumulative" awk '
    /_bucket\{/ { split($0, at, "le="); name = at[1]
        if (name == last && $NF < before) exit 1
        last = name; before = $NF }' out
if command -v promtool >/dev/null; then
    check "promtool check metrics" eval "promtool check metrics <out"
else
    pass_over "promtool check metrics" "no promtool"
fi
run -p "$pid" --textfile metrics.prom
check "--textfile" grep -q '^spillway_budget_bytes{pool="held-0"' metrics.prom
check "    readable by others" [ "$(stat -c %a metrics.prom)" = 644 ]
check "    nothing else is left" [ "$(ls metrics.prom* | wc -l)" -eq 1 ]
run -p "$pid" --textfile "$work/no/such/folder/file"
check "--textfile that cannot be written: exit code 1" [ $code -eq 1 ]
mkfifo metrics.pipe && ln -s metrics.prom metrics.link
for kept in metrics.pipe metrics.link; do
    before=$(stat -c '%i %F' $kept)
    run -p "$pid" --textfile $kept
    check "--textfile $kept, which is no plain file: exit code 1" [ $code -eq 1 ]
    check "    says so" grep -q 'no plain file' err
    check "    it is as it was" [ "$(stat -c '%i %F' $kept)" = "$before" ]
done
rm metrics.pipe metrics.link

# --- checks
run -p "$pid" --check 'resident<=100%' --check lost==0 --warn 'queues<2'
check "--check: all holds" [ $code -eq 0 ]
check "    says so" grep -q '^SPILLWAY OK' out
run -p "$pid" --check 'resident<=100%' --warn 'queues<1'
check "--warn that does not hold: exit code 1" [ $code -eq 1 ]
run -p "$pid" --check 'queues<1' --warn 'queues<1'
check "--check that does not hold: exit code 2" [ $code -eq 2 ]
check "    says what" grep -q "^SPILLWAY CRITICAL: queues<1 .*held-0.*$pid.* 1$" out
run -p "$pid" --check 'nonsense<1'
check "--check of no column: exit code 3" [ $code -eq 3 ]
run -p 4194305 --check 'queues<1'
check "--check of no process: exit code 3" [ $code -eq 3 ]

# --- stopped; busy
kill -STOP "$pid"
run -p "$pid"
check "a stopped process is read" grep -q "$name) of .*, stopped," out
run -p "$pid" --json
check "    all of it" [ $code -eq 0 ]
run -p "$pid" --diff 0.1 1
check "    nothing changes there" eval "! grep -q spilled_bytes_total out"
kill -CONT "$pid"

sum_holds() {
    awk '$1 + $2 + $3 != $4 { print; wrong = 1 } END { exit wrong || NR < 50 }' out
}
check "busy" [ "$(tell busy)" = busy ]
run -p "$pid" -n --bytes -o resident_foreign_bytes,entry_block_bytes,buffer_bytes,used_bytes 0.02 100
check "a busy process: used = foreign + blocks + buffers in each of $(wc -l <out) samples" sum_holds
run -p "$pid" --diff 0.2 1
check "--diff shows what it spills" grep -q spilled_bytes_total out
check "calm" [ "$(tell calm)" = calm ]
hold_close
run -p "$pid"
check "a process that has ended: exit code 1" [ $code -eq 1 ]

# --- nothing wakes the service up
hold_open 1
run -p "$pid" --json
sleeps() { # of all its threads
    cat "/proc/$pid"/task/*/status | awk '/ctxt_switches/ { sum += $2 } END { print sum }'
}
before=$(sleeps)
run -p "$pid" 0.01 100
check "100 looks: the process was not scheduled once" [ "$(sleeps)" = "$before" ]
hold_close

# --- ends, crashes, leaves a child behind
# Looked at again where a look fell into the very moment of the end.
watch_crash() {
    for _ in 1 2 3; do
        hold_open 1
        timeout 60 "$poolstat" -p "$pid" -n -o pid,state 0.1 >out 2>err &
        watcher=$!
        for _ in $(seq 100); do
            [ -s out ] && break
            sleep 0.1
        done
        child=$(tell fork)
        cleanups+=("kill -KILL $child 2>/dev/null")
        echo crash >&"$held_in"
        wait "$pid" 2>/dev/null
        wait $watcher && return
        cat err
        kill -KILL "$child"
    done
    return 1
}
check "the watched process crashes: poolstat ends by itself" watch_crash
check "    and says so" grep -q 'nothing of that is left' err
run -p "$child"
check "its child still holds the page" grep -q 'a child of what opened it, which is gone' out
run -p $name -o pid,state 0.1 2
check "    which is no pool that lives" [ "$(grep -c gone out)" -eq 1 ]
hold_open 2
run -p $name -n -o pid,pool,state
check "neighbours of a crash are seen" [ "$(grep -c "^ *$pid held-. *running" out)" -eq 2 ]
kill -KILL "$child"
hold_close

# --- many
hold_open 100
run -n -o pool -p "$pid"
check "100 pools of one process" [ "$(sort -u out | wc -l)" -eq 100 ]
run -n -o pool --sort pool -p "$pid"
check "in order" eval "sort -c out"
run --json
check "100 pools as JSON: exit code 0" [ $code -eq 0 ]
run --prometheus
check "    as Prometheus, each metric's samples together" awk '
    /^#/ { next } { name = $0; sub(/[{ ].*/, "", name); sub(/_(bucket|sum|count)$/, "", name)
        if (name != last && (name in seen)) { print name; exit 1 }
        seen[name] = 1; last = name }' out
churn() { # processes come and go while poolstat looks
    local i
    for i in 1 2 3 4 5 6 7 8; do
        "$hold" 3 </dev/null >/dev/null 2>&1
    done
}
churn &
churner=$!
bad=0
while kill -0 $churner 2>/dev/null; do
    run --json
    [ $code -eq 0 ] || bad=1
done
wait $churner
check "pools that come and go" [ $bad -eq 0 ]
hold_close

# --- pages that are not what they should be
cat >fake.py <<'PYTHON'
import fcntl, os, sys, time
fd = os.memfd_create("spillway-stats", os.MFD_ALLOW_SEALING)
os.write(fd, eval(sys.argv[1]))
fcntl.fcntl(fd, 1033, int(sys.argv[2]))
open("faked", "w").close()
time.sleep(60)
PYTHON
fake() { # python expression of the bytes, seals; in the background, $fake_pid
    "$python" fake.py "$1" "$2" &
    fake_pid=$!
    cleanups+=("kill -KILL $fake_pid 2>/dev/null")
    for _ in $(seq 100); do
        [ -e faked ] && break
        sleep 0.1
    done
    rm -f faked
}
unfake() {
    kill -KILL $fake_pid
    wait $fake_pid 2>/dev/null
}
if [ -n "$python" ]; then
    all=15
    for what in 'b"short"' 'b"SPWSTATS" + bytes(40)' 'b"x" + bytes(100000)' \
        'b"SPWSTATS" + b"\xff" * 200000' 'b"SPWSTATS\x02" + bytes(500)'; do
        fake "$what" $all
        run -p "$fake_pid"
        check "a page of $what: exit code 1" [ $code -eq 1 ]
        check "    says what is wrong" grep -Eq 'truncated|corrupted|begin|layout' err
        run
        check "    and does not disturb others" [ $code -eq 0 ]
        unfake
    done
    for what in 'b""' 'bytes(100000)'; do
        fake "$what" 0
        run -p "$fake_pid"
        check "a page of $what is none yet" grep -q 'has no pool with a stats page' err
        unfake
    done
    fake 'b"x" + bytes(100000)' 0
    run -p "$fake_pid"
    check "a page that is not sealed" grep -q 'not sealed' err
    run
    check "    is told in the summary" grep -q 'Refused: .*not sealed' out
    unfake
fi

# --- names that are no UTF-8, and rows that are no metrics: the rest must not be lost with them
is_text() { # is out UTF-8, and each line what Prometheus reads?
    iconv -f UTF-8 -t UTF-8 out >/dev/null &&
        ! LC_ALL=C grep -Evan '^(# (HELP|TYPE) [a-z0-9_]+ .*|[a-z0-9_]+(\{.*\})? [-+.0-9e]+)$' out
}
cut=$'aaaaaaaaaaaaaa\xc3\xbc' # the kernel keeps 15 bytes
cp "$hold" "$work/$cut"
plain=$hold
hold=$work/$cut
hold_open 1
hold=$plain
run -p "$pid" --prometheus
check "a process's name that is cut within a character" grep -qF 'process="aaaaaaaaaaaaaa?"' out
check "    Prometheus: it is text" is_text
for fd in "/proc/$pid"/fd/*; do
    case $(readlink "$fd") in
    /memfd:spillway-stats*) cat "$fd" >page.bin ;;
    esac
done
hold_close
if [ -n "$python" ]; then
    for to in 'x{y}\nz' 'budget_bytes' 'device_read_ns' '\xff\xfe'; do
        fake "open('page.bin', 'rb').read().replace(b'queues\0' + bytes(41), (b'$to' + bytes(48))[:48])" 15
        run -p "$fake_pid" --prometheus
        check "a row that is called $to" [ $code -eq 0 ]
        check "    Prometheus: it is text" is_text
        check "    each metric is there once" eval \
            "[ -z \"\$(grep -aE '^# TYPE' out | cut -d' ' -f3 | sort | uniq -d)\" ]"
        if command -v promtool >/dev/null; then
            check "    promtool check metrics" eval "promtool check metrics <out"
        fi
        unfake
    done
fi

# --- another user
if is_root && command -v setpriv >/dev/null; then
    cp "$poolstat" "$work/poolstat"
    hold_open 1
    nobody "$work/poolstat" -p "$pid" >out 2>err
    check "another user's pool: exit code 1" [ $? -eq 1 ]
    check "    says whose it is, and what to do" grep -q "process $pid ($name) belongs to user root.*run as root" err
    nobody "$work/poolstat" >out 2>err
    check "all pools as that user: exit code 0" [ $? -eq 0 ]
    check "    says how many processes it cannot see" \
        grep -Eq 'Not readable: [0-9]+ processe?s? of other users; run as root' out
    nobody "$work/poolstat" -p "$pid" --check 'queues<9' >out 2>err
    check "--check of what cannot be seen: exit code 3" [ $? -eq 3 ]
    hold_close
    chown 65534 "$work/scratch" "$work"
    hold_open 1 setpriv --reuid=65534 --regid=65534 --clear-groups --
    run -p "$pid" -o pid,user,pool
    check "root sees everybody's" grep -q held-0 out
    nobody "$work/poolstat" -n -p "$pid" -o pid,pool >out 2>err
    check "and each user their own" grep -q held-0 out
    hold_close
else
    pass_over "other users" "only root can become another user"
fi
finish
