#!/bin/bash
# SPDX-License-Identifier: MIT
# Every byte arrives, in order, through each tier and engine, while the consumer is far behind.
. "$(dirname "$0")/lib_sys.sh"

scaled() { # share of the data, as in 1/16
    echo $((sys_bytes / $1))
}
memory=$(scaled 16)
[ "$memory" -gt $((64 << 20)) ] && memory=$((64 << 20))
through() { # what, option...
    local what=$1
    shift
    carry "$what" "$spillpipe" --memory "$memory" --stats "$stats" "$@" || return 1
    check "$what: budget kept" within_budget
}
within_budget() {
    local peak
    peak=$(counter used_peak_bytes)
    [ -n "$peak" ] && [ "$peak" -le $((memory + (16 << 20))) ] ||
        {
            echo "peak is $peak of $memory"
            return 1
        }
}
most=$(scaled 4)

if can_uring; then
    through "disk, io_uring" --dir "$work/scratch" --engine io_uring && {
        check "the engine is io_uring" is engine io_uring
        check "most of it went to disk" at_least spilled_disk_bytes_total "$most"
        check "and came back" at_least fetched_disk_bytes_total "$most"
    }
else
    pass_over "disk, io_uring" "the kernel or the scratch folder refuses it"
fi
through "disk, threads" --dir "$work/scratch" --engine threads && {
    check "the engine is threads" is engine threads
    check "most of it went to disk" at_least spilled_disk_bytes_total "$most"
}
for seal in recycle strict; do
    through "memory tier alone, seals $seal" --tiers memory --seal $seal \
        --memory-tier $((sys_bytes + sys_bytes / 4)) && {
        check "the seal mode is $seal" is seal_mode $seal
        check "most of it went to the memory tier" at_least spilled_memory_bytes_total "$most"
        check "none to disk" is spilled_disk_bytes_total 0
    }
done
through "some memory tier, then disk" --dir "$work/scratch" --memory-tier "$(scaled 16)" && {
    # How much of it holds slabs that are read before they are spilled depends on who is faster.
    check "some went to the memory tier" at_least spilled_memory_bytes_total $(($(scaled 16) / 8))
    check "the rest to disk" at_least spilled_disk_bytes_total "$most"
}
mkdir "$work/second"
through "two scratch directories" --dir "$work/scratch" --dir "$work/second" &&
    check "most of it went to disk" at_least spilled_disk_bytes_total "$most"
through "no tier at all: input waits" --tiers none && {
    check "said so" grep -q 'all tiers are full: input waits for the consumer' "$work/err"
    check "said it once" [ "$(grep -c 'input waits' "$work/err")" = 1 ]
    check "spilled nothing" is spilled_bytes_total 0
}
through "a disk limit below the data" --dir "$work/scratch" --disk-limit "$(scaled 8)" &&
    check "spilled no more at once than allowed" at_least spilled_disk_bytes_total 1
# Input from memory, faster than any disk, a full tier, and a consumer that frees it bit by bit.
stream $((64 << 20)) >"$work/data"
for limit in 8M 32M; do
    "$spillpipe" -q --memory 4M --disk-limit $limit --stats "$stats" "$work/data" |
        (sleep 0.5 && b2sum) | cut -d ' ' -f 1 >"$work/out.sum"
    check "4 MiB, a disk limit of $limit: the same hash" \
        [ "$(cat "$work/out.sum")" = "$(b2sum <"$work/data" | cut -d ' ' -f 1)" ]
    check "4 MiB, a disk limit of $limit: peak $(counter used_peak_bytes) within twice the budget" \
        [ "$(counter used_peak_bytes)" -le $((8 << 20)) ]
done

check "the scratch folder is empty" [ -z "$(ls -A "$work/scratch" "$work/second" | grep -v : | tr -d '\n')" ]
finish
