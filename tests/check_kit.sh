#!/bin/bash
# SPDX-License-Identifier: MIT
# The monitoring kit: each metric that it names is one that poolstat writes, with its labels; its
# files are well-formed, by the judgement of their own tools where these are here.
. "$(dirname "$0")/lib_sys.sh"
kit=$(realpath "$sources/../tools/kit")
poolstat=$BUILD/poolstat
cd "$work" || exit 1
[ -d "$kit" ] || skip "there is no tools/kit here"
hold=$(prog hold_pools) || skip "tests/prog/hold_pools was not built"
python=$(command -v python3)

export SPILLWAY_DIRS=$work/scratch SPILLWAY_MEMORY=4MiB SPILLWAY_DISK_LIMIT=64MiB
coproc HOLD { exec "$hold" 1 2>hold.err; }
cleanups+=("kill -KILL $HOLD_PID 2>/dev/null")
read -r -t 60 answer <&"${HOLD[0]}"
[ "$answer" = ready ] || {
    fail "hold_pools does not begin: $(cat hold.err)"
    finish
}
check "poolstat --prometheus" eval "'$poolstat' -p $HOLD_PID --prometheus >metrics"
sed -nE 's/^([a-z_]+)(\{.*)? .*/\1/p' metrics | sort -u >have
grep -ohE 'spillway_[a-z_]+' "$kit/alerts.yml" "$kit/dashboard.json" | sort -u >named
check "the kit names metrics" [ "$(wc -l <named)" -gt 30 ]
check "    each is one that poolstat writes" eval '[ -z "$(comm -13 have named | tee /dev/stderr)" ]'
check "    and so are the labels" eval "grep -q '^spillway_pool_info{pool=\"held-0\",pid=\"$HOLD_PID\"' metrics"

for script in "$kit"/*.sh; do
    check "$(basename "$script") is a script" sh -n "$script"
done
# What the task's prolog prints is what a pool accepts.
export_of() { # tasks per node
    env -u SPILLWAY_MEMORY SLURM_JOB_ID=7 SLURM_TASKS_PER_NODE="$1" SPILLWAY_SCRATCH="$work" \
        sh "$kit/slurm-task-prolog.sh" | sed -n 's/^export SPILLWAY_MEMORY=//p'
}
check "a task's share" [ "$(export_of 1) $(export_of '4(x2)') $(export_of 128)" = "50% 12% 1%" ]
if [ -n "$python" ]; then
    check "dashboard.json is JSON, each panel with an expression and a place" "$python" - "$kit/dashboard.json" <<'PYTHON'
import json, sys
board = json.load(open(sys.argv[1]))
panels = [p for p in board["panels"] if p["type"] != "row"]
assert len(panels) > 10
assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
for panel in panels:
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24, panel["title"]
    for target in panel["targets"]:
        expr = target["expr"]
        assert expr and expr.count("(") == expr.count(")") and expr.count("[") == expr.count("]"), expr
PYTHON
    if "$python" -c 'import yaml' 2>/dev/null; then
        check "alerts.yml is YAML" "$python" -c \
            'import sys, yaml; assert yaml.safe_load(open(sys.argv[1]))["groups"]' "$kit/alerts.yml"
    fi
else
    pass_over "dashboard.json" "no python3"
fi
if command -v promtool >/dev/null; then
    check "promtool check rules" promtool check rules "$kit/alerts.yml"
else
    pass_over "promtool check rules" "no promtool"
fi
# hold_pools has the library linked in, so the probes are its own.
trace() {
    local i tracer
    sed "s|usdt:[^:]*:spillway|usdt:$hold:spillway|" "$kit/trace.bt" >trace.bt
    bpftrace -p "$HOLD_PID" trace.bt >traced 2>trace.err &
    tracer=$!
    cleanups+=("kill -KILL $tracer 2>/dev/null")
    for i in $(seq 300); do
        grep -q '^Tracing' traced && break
        kill -0 $tracer 2>/dev/null || break
        sleep 0.1
    done
    echo fill >&"${HOLD[1]}"
    read -r -t 60 answer <&"${HOLD[0]}"
    kill -INT $tracer
    wait $tracer
    cat trace.err
    grep '^@spilled_bytes: [1-9]' traced && grep '^@stored_bytes\[disk\]: [1-9]' traced
}
if ! grep -q -- '-DSPILLWAY_HAVE_SDT=1' "$BUILD/flags"; then
    pass_over "trace.bt" "built without sys/sdt.h"
elif ! timeout 30 bpftrace -e 'BEGIN { exit(); }' >/dev/null 2>&1; then
    pass_over "trace.bt" "no bpftrace that works here"
else
    check "trace.bt: what is spilled and stored is seen" trace
fi
if command -v shellcheck >/dev/null; then
    check "shellcheck" shellcheck -s sh "$kit"/*.sh
else
    pass_over "shellcheck" "it is not here"
fi
if command -v systemd-analyze >/dev/null; then
    # The binary it names is only there once it is installed.
    sed "s|/usr/bin/poolstat|$poolstat|" "$kit/spillway-textfile.service" >spillway-textfile.service
    check "the unit" systemd-analyze verify --man=no ./spillway-textfile.service
fi
finish
