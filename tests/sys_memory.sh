#!/bin/bash
# SPDX-License-Identifier: MIT
# Memory as the kernel charges it, inside a memory cgroup of 200 MiB.
. "$(dirname "$0")/lib_sys.sh"
. "$(dirname "$0")/lib_cgroup.sh"
limit=$((200 << 20))
slack=$((16 << 20))
cgroup_open $limit || skip "$cgroup_why"
cleanups+=(cgroup_close)

# Runs the given command inside the group.
inside() {
    cgroup_join && exec "$@"
}

# Samples the charge until the marker is gone; the peak goes to $work/peak.
sample() {
    local peak=0
    while [ -e "$work/sampling" ]; do
        cgroup_charge
        [ "$charge_bytes" -gt $peak ] && peak=$charge_bytes && echo $peak >"$work/peak.new" &&
            mv "$work/peak.new" "$work/peak"
        sleep 0.02
    done
}

within() { # what, bytes
    local peak
    peak=$(cat "$work/peak")
    [ "$peak" -le "$2" ] && [ "$peak" -gt 0 ] || {
        echo "the charge of $1 reached $peak, above $2"
        return 1
    }
    echo "        charge $((peak >> 20)) MiB, allowed $(($2 >> 20)) MiB" >&3
}

measured() { # what, limit of the charge, option...
    local what=$1 most=$2 sampler result
    shift 2
    touch "$work/sampling"
    echo 0 >"$work/peak"
    sample &
    sampler=$!
    carry "$what" inside "$spillpipe" --stats "$stats" "$@"
    result=$?
    rm "$work/sampling"
    wait $sampler
    [ $result -eq 0 ] && check "$what: charge within $((most >> 20)) MiB" within "$what" "$most"
}
exec 3>&1

budget=$((32 << 20))
for engine in io_uring threads; do
    measured "disk tier, $engine" $((budget + slack)) --memory $budget --dir "$work/scratch" \
        --engine $engine
done
measured "disk tier, 64 MiB" $(((64 << 20) + slack)) --memory 64M --dir "$work/scratch"
# The data is larger than the limit, so a tier that took all it was promised would be killed; the
# consumer comes once all of it is taken.
[ "$sys_bytes" -lt $((512 << 20)) ] && sys_bytes=$((512 << 20))
sys_patience_s=120
measured "a memory tier beyond the limit gives way to disk" $limit --memory $budget \
    --memory-tier 1G --dir "$work/scratch" && {
    check "it took something" at_least spilled_memory_bytes_total 1
    check "and the disk some of the rest" at_least spilled_disk_bytes_total $((1 << 20))
}
sys_patience_s=20
measured "a memory tier beyond the limit, nothing else: input waits" $limit --memory $budget \
    --memory-tier 1G --tiers memory
measured "defaults" $limit
finish
