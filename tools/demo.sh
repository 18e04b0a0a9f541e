#!/bin/bash
# SPDX-License-Identifier: MIT
# Shows what spillpipe does: the machine's own /usr, as a tar stream, through 64 MiB of memory to a
# consumer that comes late and reads slowly. Called by `make demo`. Fails when a byte is missing or
# wrong, or when memory went above the budget and what a program needs beside it.
#
#     tools/demo.sh [PATH OF SPILLPIPE]
#
#   DEMO_BYTES     how much of the stream (2G)
#   DEMO_MEMORY    the budget (64M)
#   DEMO_OPTIONS   more options for spillpipe
set -u
here=$(dirname "$0")
spillpipe=$(realpath "${1:-${BUILD:-$here/../build}/spillpipe}")
bytes=$(numfmt --from=iec "${DEMO_BYTES:-2G}")
memory=$(numfmt --from=iec "${DEMO_MEMORY:-64M}")
read -r -a options <<<"${DEMO_OPTIONS:-}"
slack=$((16 << 20))           # what the program itself may take, and I/O
late_s=8                      # the consumer starts so much later, ...
ahead_bytes=$((700 << 20))    # or once the producer is so far ahead, if that takes longer, ...
latest_s=20                   # but no later than this
piece_bytes=$((16 << 20))     # then it takes pieces of this size
pause_s=0.12                  # with a pause after each
export LC_ALL=C
. "$here/../tests/lib_cgroup.sh"
. "$here/../tests/lib_stream.sh"

[ -x "$spillpipe" ] || {
    echo "demo: no $spillpipe: run make first" >&2
    exit 1
}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/spillway-demo.XXXXXX") || exit 1
cleanup() {
    local job
    trap '' INT TERM
    for job in $(jobs -p); do
        kill "$job" 2>/dev/null
    done
    wait
    cgroup_close
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mib() { # bytes
    awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'
}
rate() { # bytes, ns
    awk -v bytes="$1" -v ns="$2" 'BEGIN {
        printf "%.1f s, %.0f MiB/s", ns / 1e9, (ns > 0) ? bytes / 1048576 / (ns / 1e9) : 0
    }'
}
counter() { # name in the JSON that spillpipe leaves
    sed -n "s/.*\"$1\": *\"\\{0,1\\}\\([^,\"}]*\\).*/\\1/p" "$work/stats.json"
}
read_bytes() { # by the process $1 so far
    awk '/^rchar/ { print $2 }' "/proc/$1/io" 2>/dev/null || echo 0
}

# The slow consumer: late, and then a piece at a time.
slowly() { # process to watch
    local waited=0 total=0 piece end=$((bytes < ahead_bytes ? bytes : ahead_bytes))
    sleep $late_s
    while [ $((late_s + waited)) -lt $latest_s ] && [ -e "/proc/$1" ] &&
        [ "$(read_bytes "$1")" -lt "$end" ]; do
        sleep 1
        waited=$((waited + 1))
    done
    while :; do
        dd bs=$piece_bytes count=1 iflag=fullblock 2>"$work/dd" || return 1
        piece=$(sed -n 's/^\([0-9]*\) bytes.*/\1/p' "$work/dd")
        total=$((total + piece))
        [ "$piece" -eq 0 ] && break
        sleep $pause_s
    done
    echo $total >"$work/out.bytes"
}

echo "tar of /usr, $((bytes >> 20)) MiB of it  |  spillpipe --memory $((memory >> 20))M  |  a consumer" \
    "that starts $late_s s late and reads slowly"
mkfifo "$work/in" "$work/copy" "$work/out"
cgroup_open || true

b2sum <"$work/copy" >"$work/in.sum" &
hash_in=$!
(stream "$bytes" | tee "$work/copy" >"$work/in"
    date +%s%N >"$work/in.end") &
start_ns=$(date +%s%N)
(
    [ -n "$cgroup_dir" ] && cgroup_join
    exec "$spillpipe" --memory "$memory" -v --progress --stats "$work/stats.json" \
        ${options[@]+"${options[@]}"} <"$work/in" >"$work/out"
) &
pid=$!
(slowly $pid <"$work/out" | b2sum >"$work/out.sum") &
consumer=$!

# What users see (VmHWM), and what the kernel charges the group with, until spillpipe is done.
hwm_kib=0
charge_peak=0
while [ -e "/proc/$pid/fd" ] && read -r _ state _ < <(grep '^State' "/proc/$pid/status" 2>/dev/null) &&
    [ "$state" != Z ]; do
    kib=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null)
    [ "${kib:-0}" -gt $hwm_kib ] && hwm_kib=$kib
    if [ -n "$cgroup_dir" ]; then
        cgroup_charge
        [ "$charge_bytes" -gt $charge_peak ] && charge_peak=$charge_bytes
    fi
    sleep 0.05
done
wait $pid
code=$?
wait $consumer
wait $hash_in
elapsed_ns=$(($(date +%s%N) - start_ns))
if [ $code -ne 0 ]; then
    echo "demo: spillpipe failed with exit code $code" >&2
    exit 1
fi

row() {
    printf '  %-34s %s\n' "$1" "$2"
}
passed=$(cat "$work/out.bytes")
in_sum=$(cut -c1-32 "$work/in.sum")
out_sum=$(cut -c1-32 "$work/out.sum")
equal=no
cmp -s "$work/in.sum" "$work/out.sum" && equal=yes
echo
row "hash of what went in (b2, start)" "$in_sum"
row "hash of what came out" "$out_sum"
row "every byte, in order" "$equal"
row "budget" "$(mib "$memory")"
row "peak of the budget's use" "$(mib "$(counter used_peak_bytes)")"
row "peak resident set" "$(mib $((hwm_kib * 1024)))"
if [ -n "$cgroup_dir" ]; then
    row "peak charge of its memory cgroup" "$(mib $charge_peak) (anonymous + shared)"
else
    row "peak charge of its memory cgroup" "not measured: $cgroup_why"
fi
row "memory tier: spilled, fetched" "$(mib "$(counter spilled_memory_bytes_total)"), $(mib "$(counter fetched_memory_bytes_total)")"
row "disk tier: spilled, fetched" "$(mib "$(counter spilled_disk_bytes_total)"), $(mib "$(counter fetched_disk_bytes_total)")"
row "engine" "$(counter engine)"
row "taken in" "$(rate "$passed" $(($(cat "$work/in.end") - start_ns)))"
row "handed out" "$(rate "$passed" $elapsed_ns)"
[ $equal = yes ] && [ "$passed" -eq "$bytes" ] || {
    echo "demo: the hashes differ, or the stream ended early" >&2
    exit 1
}
[ $((hwm_kib * 1024)) -le $((memory + slack)) ] && [ $charge_peak -le $((memory + slack)) ] || {
    echo "demo: memory went more than $((slack >> 20)) MiB above the budget" >&2
    exit 1
}
