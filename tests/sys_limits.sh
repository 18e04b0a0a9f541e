#!/bin/bash
# SPDX-License-Identifier: MIT
# On hosts that refuse things: users without rights, io_uring denied, few descriptors.
. "$(dirname "$0")/lib_sys.sh"
run=("$spillpipe" --memory $((sys_bytes / 16)) --stats "$stats" --dir "$work/scratch")

carry "16 descriptors" prlimit --nofile=16:16 "${run[@]}" &&
    check "spilled" at_least spilled_bytes_total 1
carry "16 descriptors, strict seals" prlimit --nofile=16:16 "${run[@]}" --seal strict \
    --memory-tier $((sys_bytes / 4)) &&
    check "spilled" at_least spilled_bytes_total 1
carry "no lockable memory, mlock asked for" prlimit --memlock=0:0 "${run[@]}" --mlock \
    --memory-tier $((sys_bytes / 8)) && check "spilled" at_least spilled_bytes_total 1

# What cannot be had for want of descriptors is put down to them, and to nothing else.
head -c 8M /dev/urandom >"$work/some"
: >"$work/lines"
for descriptors in 4 5 6 7 8; do
    prlimit --nofile=$descriptors:$descriptors "$spillpipe" --memory 1M --memory-tier 4M \
        --dir "$work/scratch" <"$work/some" 2>>"$work/lines" 3<&- 4<&- | b2sum >"$work/out.sum"
done
check "few descriptors: RLIMIT_NOFILE is named" grep -q RLIMIT_NOFILE "$work/lines"
check "    and nothing that is not at fault" \
    eval "! grep -E 'EMFILE.*(RLIMIT_MEMLOCK|io_uring_disabled)|only 0 bytes' '$work/lines'"

deny=$(prog deny_uring) || skip "no compiler for tests/prog/deny_uring.c"
if "$deny" EPERM true; then
    for err in EPERM ENOSYS; do
        carry "io_uring_setup answers $err" "$deny" $err "${run[@]}" && {
            check "threads do the work" is engine threads
            check "the fallback is counted" at_least fallbacks_total 1
            check "and told" grep -qi 'io_uring' "$work/err"
        }
        check "--engine io_uring --strict refuses instead" \
            eval "! '$deny' $err '$spillpipe' --engine io_uring --strict </dev/null"
    done
else
    pass_over "seccomp" "filters are not allowed here"
fi

is_root || {
    pass_over "the rest" "only root can become another user or change io_uring_disabled"
    finish
}
# The build folder may be out of another user's reach.
cp "$spillpipe" "$work/spillpipe"
chown 65534 "$work/scratch" "$work"
run[0]=$work/spillpipe
carry "an unprivileged user" nobody "${run[@]}" && check "spilled" at_least spilled_bytes_total 1
rm -f "$stats"
carry "an unprivileged user, no lockable memory" nobody prlimit --memlock=0:0 "${run[@]}" \
    --memory-tier $((sys_bytes / 8)) && check "spilled" at_least spilled_bytes_total 1

nobody prlimit --nproc=1:1 "${run[@]}" <"$work/some" >"$work/out" 2>"$work/err"
check "no thread to be had: exit code 1" [ $? -eq 1 ]
check "    says why" grep -q 'no I/O engine.*RLIMIT_NPROC' "$work/err"
check "    twice" grep -q 'cannot start a thread: Resource temporarily unavailable (RLIMIT_NPROC' "$work/err"
# Address space that the memory tier uses up: input waits for memory, but not for long.
carry "address space for a part of the memory tier" \
    prlimit --as=100000000 "${run[@]}" --memory-tier 1G

# Runs a command that finds io_uring_disabled at a value. The whole machine finds it there, so the
# switch goes back as soon as the command reads its input: it has chosen its engine by then.
switch=/proc/sys/kernel/io_uring_disabled
with_switch() { # value, command...
    local value=$1 before pid try
    shift
    exec 3<&0 4<"$switch"
    flock 4
    before=$(cat "$switch")
    echo "$value" >"$switch"
    "$@" <&3 4<&- &
    pid=$!
    for try in $(seq 5000); do
        [ "$(awk '/^rchar/ { print $2 }' "/proc/$pid/io" 2>/dev/null || echo 0)" -gt $((1 << 20)) ] && break
        [ -e "/proc/$pid/fd" ] || break
        sleep 0.01
    done
    echo "$before" >"$switch"
    flock -u 4
    wait $pid
}
# Says what it is set to, unless it cannot be written.
switch_probe() {
    [ -w "$switch" ] && flock "$switch" \
        bash -c 'value=$(cat "$0") && echo "$value" >"$0" && echo "$value"' "$switch" 2>/dev/null
}
if before=$(switch_probe); then
    cleanups+=("flock '$switch' bash -c 'echo $before >$switch'")
    for value in 1 2; do
        rm -f "$stats"
        carry "io_uring_disabled is $value, an unprivileged user" \
            with_switch $value nobody "${run[@]}" && check "threads do the work" is engine threads
    done
    rm -f "$stats"
    carry "io_uring_disabled is 2, root" with_switch 2 "${run[@]}" &&
        check "threads do the work" is engine threads
else
    pass_over "io_uring_disabled" "this kernel or container has no such switch to write to"
fi
finish
