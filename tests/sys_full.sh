#!/bin/bash
# SPDX-License-Identifier: MIT
# Full disks: under the scratch folder input waits and nothing is lost; under the output it is an error.
. "$(dirname "$0")/lib_sys.sh"

"$spillpipe" --memory 1M -q /dev/zero >/dev/full 2>"$work/err"
check "a full output: exit code 1" [ $? -eq 1 ]
check "a full output: says so" grep -q 'standard output: No space left on device' "$work/err"

is_root || skip "only root can mount a small file system"
image=$work/image
mount=$work/mount
mkdir "$mount"
truncate -s 48M "$image"
mkfs.ext4 -q "$image" 2>"$work/err" || skip "no mkfs.ext4: $(head -1 "$work/err")"
mount -o loop "$image" "$mount" 2>"$work/err" || skip "no loop mounts: $(head -1 "$work/err")"
cleanups+=("umount -l '$mount'")

small() { # what, option...
    local what=$1
    shift
    carry "$what" "$spillpipe" --memory 8M --dir "$mount" --disk-limit 1G --stats "$stats" "$@" || return 1
    check "$what: spilled" at_least spilled_disk_bytes_total 1
    check "$what: input waited" grep -q 'all tiers are full: input waits for the consumer' "$work/err"
    check "$what: memory kept" memory_kept
}
memory_kept() {
    [ "$(counter used_peak_bytes)" -le $((24 << 20)) ] || {
        echo "peak $(counter used_peak_bytes)"
        return 1
    }
}
for engine in io_uring threads; do
    small "a file system of 48 MiB, $engine" --engine $engine
done
small "a small file system and a small memory tier" --memory-tier 16M

# Somebody else fills the file system and makes room again meanwhile, once some of it is taken.
room=$(stat -f -c %f "$mount")
(
    for i in $(seq $((sys_patience_s * 10))); do
        [ "$(stat -f -c %f "$mount")" -lt "$room" ] && break
        sleep 0.1
    done
    for i in 1 2 3; do
        sleep 0.3
        head -c 40M /dev/zero >"$mount/other" 2>/dev/null
        sleep 0.3
        rm -f "$mount/other"
    done
) &
other=$!
sys_delay_s=2
small "another program fills the file system and frees it"
wait $other
check "no file is left on it" [ "$(ls -A "$mount")" = lost+found ]
finish
