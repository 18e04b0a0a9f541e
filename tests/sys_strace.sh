#!/bin/bash
# SPDX-License-Identifier: MIT
# System calls grow with batches of bytes, not with entries: large reads and writes on the
# standard descriptors, and no file made, opened or removed for a run.
. "$(dirname "$0")/lib_sys.sh"
command -v strace >/dev/null || skip "no strace"
strace -o /dev/null true 2>/dev/null || skip "tracing is not allowed here"
memory=$((16 << 20))
run=$((2 << 20)) # what 16 MiB of budget make of it

# Carries $1 bytes, the rest are options; the trace goes to $work/trace.
traced() { # what, bytes, option...
    local what=$1
    sys_bytes=$2
    shift 2
    rm -f "$work/trace"
    carry "$what" strace -f -qq -s 0 -o "$work/trace" -e 'trace=!futex,clock_nanosleep' \
        "$spillpipe" --memory $memory --stats "$stats" "$@"
}
count() { # pattern of the call
    grep -Ec "^[0-9]+ +($1)\\(" "$work/trace"
}
# Files opened or made; what the machine says of itself is looked at as time passes.
count_files() {
    grep -E '^[0-9]+ +(open|openat|creat|unlink|unlinkat|memfd_create)\(' "$work/trace" |
        grep -Evc '"/(proc|sys)/'
}
at_most() { # what, calls, limit
    check "$1: $2 calls, at most $3" [ "$2" -le "$3" ]
}

n=$((sys_bytes / 2))
for engine in io_uring threads; do
    traced "$engine, $((n >> 20)) MiB" $n --dir "$work/scratch" --engine $engine || continue
    fixed=$(count_files)
    maps=$(count 'mmap|munmap|mprotect|mremap|madvise')
    traced "$engine, $((2 * n >> 20)) MiB" $((2 * n)) --dir "$work/scratch" --engine $engine || continue
    spilled=$(counter spilled_bytes_total)
    check "most of it was spilled" at_least spilled_bytes_total $((n))
    at_most "reads of standard input" "$(grep -c 'read(0,' "$work/trace")" $((2 * n / 65536 + 16))
    at_most "writes of standard output" "$(grep -Ec 'writev?\(1,' "$work/trace")" $((2 * n / 65536 + 16))
    at_most "files opened, made, removed, whatever the bytes" \
        "$(count_files)" $((fixed + 4))
    at_most "files removed" "$(count 'unlink|unlinkat')" 1
    at_most "maps, whatever the bytes" "$(count 'mmap|munmap|mprotect|mremap|madvise')" $((maps + 64))
    at_most "file space allocated" "$(count 'fallocate|ftruncate')" $((2 * n / (8 << 20) + 16))
    # A run is one request out and one back, each in a batch of its own at worst, with a wake-up.
    at_most "I/O of the scratch file" \
        "$(count 'io_uring_enter|pread64|pwrite64|preadv|pwritev')" $((4 * spilled / run + 200))
done
sys_bytes=$((2 * n))
traced "memory tier" $sys_bytes --tiers memory --memory-tier $((sys_bytes * 2)) &&
    at_most "segments made" "$(count 'memfd_create')" $((sys_bytes / run + 64))
finish
