#!/bin/bash
# SPDX-License-Identifier: MIT
# A crowd of 64 unequal queues over one small budget: what the kernel charges, that every byte comes
# back, that nobody starves, and that the sums of the stats hold in every look, from inside and from
# outside.
. "$(dirname "$0")/lib_sys.sh"
spillbench=$BUILD/spillbench
poolstat=$BUILD/poolstat
[ -x "$spillbench" ] || skip "no $spillbench"
python=$(command -v python3) || skip "no python3"
cd "$work" || exit 1
total=$((512 << 20))

# Evaluates Python over the tables `t`, the row `crowd` and the rows `roles`.
holds() { # expression
    "$python" -c '
import json, sys
t = json.load(open("report.json"))["tables"]
crowd = t["crowd"]["rows"][0]
roles = {x["queues_that"]: x for x in t["crowd_roles"]["rows"]}
sys.exit(0 if eval(sys.argv[1]) else json.dumps(t))' "$1"
}

# From outside, until the process ends. The columns: the whole, its parts, and theirs.
watched=used_bytes,resident_foreign_bytes,entry_block_bytes,buffer_bytes
watched+=,slab_bytes,staging_bytes,reading_bytes,loaded_bytes,lent_bytes,warm_bytes,reserve_bytes
watch() { # pid of spillbench
    local child
    while kill -0 "$1" 2>/dev/null; do
        for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
            "$poolstat" -p "$child" -n --bytes -o $watched 0.01 100000 2>/dev/null
        done
        sleep 0.01
    done >samples
}
sums_hold() {
    awk 'NF == 11 {
             seen++
             if ($1 != $2 + $3 + $4 || $4 != $5 + $6 + $7 + $8 + $9 + $10 + $11) {
                 print
                 wrong = 1
             }
         }
         END { exit wrong || !seen }' samples
}

crowd() { # what, argument...
    local what=$1 pid
    shift
    "$spillbench" crowd --dir scratch --total $total --memory 32MiB --pairs 1 --no-compare --quiet \
        --json report.json "$@" >out 2>err &
    pid=$!
    watch $pid &
    wait $pid
    check "$what: every byte came back as it was pushed" [ $? -eq 0 -a ! -s err ]
    wait
    check "    all of them" holds "abs(sum(x['bytes'] for x in roles.values()) - $total) < 1 << 20"
    check "    far more than the budget was spilled" holds "crowd['spilled'] > 5 * crowd['budget']"
    if holds "crowd['memory_of'] == 'cgroup'" 2>/dev/null; then
        check "    memory within what is allowed at each sample" \
            holds "crowd['within'] == 'yes' and crowd['samples'] > 5"
    else
        pass_over "    memory at each sample" "no memory cgroup of its own is allowed here"
    fi
    check "    the stats' sums held in each look" \
        holds "crowd['identity_wrong'] == 0 and crowd['looks'] > 20"
    if [ -e /proc/$$/task/$$/children ] || [ -s samples ]; then
        check "    from outside too, in $(wc -l <samples) samples" sums_hold
    else
        pass_over "    the stats' sums from outside" "the kernel does not tell children"
    fi
    # Of what all others got, less than half while one light queue waited once.
    check "    no light queue starved" holds \
        "all(roles[x]['passed_by'] < $total / 2 for x in ('light', 'writer stops'))"
}
crowd "four threads"
crowd "one thread for both ends of all" --threads 1
crowd "entries on the heap, threads" --origin heap --engine threads
crowd "a memory tier" --memory-tier 32MiB
crowd "a coder, text" --policies threshold,prefetch,pressure,compress --data text
finish
