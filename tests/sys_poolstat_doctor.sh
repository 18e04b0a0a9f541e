#!/bin/bash
# SPDX-License-Identifier: MIT
# poolstat doctor on hosts that really refuse things: filters, limits, file systems, users.
. "$(dirname "$0")/lib_sys.sh"
. "$sources/lib_cgroup.sh"
[ -x "$BUILD/poolstat" ] || skip "no $BUILD/poolstat: run make first"
cp "$BUILD/poolstat" "$work/poolstat" # the build folder may be out of another user's reach
poolstat=$work/poolstat
cd "$work" || exit 1
export SPILLWAY_DIRS=$work/scratch SPILLWAY_DISK_LIMIT=64MiB
python=$(command -v python3)

# Runs a command; sets code, output in out.
run() { # command...
    timeout 120 "$@" >out 2>err
    code=$?
}
# Whether the line of a check has a level, and behind it, up to the next check, a remedy is named.
says() { # level, check, remedy
    awk -v level="$1" -v check="$2" -v remedy="$3" '
        /^[a-z0-9]/ { on = $0 ~ "^" level " +" check " " }
        on && (remedy == "" || index($0, remedy)) { found = 1 }
        END { exit !found }' out || { cat out err; return 1; }
}

# --- what it writes
run "$poolstat" doctor
check "exit code 0, 1 or 2" [ $code -le 2 ]
check "    each check has a line" [ "$(sed -nE 's/^(ok|falls back|broken) +([a-z_-]+) .*/\2/p' out | sort -u | wc -l)" -eq \
    "$("$poolstat" --help | sed -n '/^Checks of doctor:/,/^$/p' | grep -c '^  [a-z]')" ]
check "    the sum is last" eval "tail -n 1 out | grep -Eq '^[0-9]+ ok, [0-9]+ falls? back, [0-9]+ broken$'"
check "    no colour in a pipe" eval "! grep -q $'\033' out"
check "    nothing on standard error" [ ! -s err ]
check "    nothing is left in the scratch directory" [ -z "$(ls -A scratch)" ]
if [ -n "$python" ]; then
    run "$poolstat" doctor --json
    check "JSON: as its schema says" \
        "$python" "$sources/json_schema.py" "$sources/../tools/poolstat/doctor.schema.json" out
    # Not the code of the run before: a directory may have been slow then, and is not now.
    check "    the exit code is that of the worst finding" "$python" -c '
import json, sys
document = json.load(open("out"))
levels = ["ok", "falls back", "broken"]
worst = max(levels.index(finding["level"]) for finding in document["findings"])
assert levels.index(document["worst"]) == worst == int(sys.argv[1]), (worst, sys.argv[1])' $code
else
    pass_over "JSON" "no python3"
fi
run "$poolstat" doctor nonsense
check "no such check: exit code 3" [ $code -eq 3 ]
run "$poolstat" doctor maps --nonsense
check "a refused option: exit code not below 2" [ $code -ge 2 ]
"$poolstat" doctor maps >/dev/full 2>err
check "a full disk: exit code 3" [ $? -eq 3 ]
run "$poolstat" doctor maps swap
check "only what is named" eval "! grep -Eq '^(ok|falls back|broken) +(settings|scratch)' out"

# --- settings, limits
run env SPILLWAY_MEMROY=1G "$poolstat" doctor settings
check "an unknown setting" says "falls back" settings "unset SPILLWAY_MEMROY"
check "    exit code 1" [ $code -eq 1 ]
run env SPILLWAY_DEPTH=99999 "$poolstat" doctor settings
check "a refused setting" says broken settings "unset SPILLWAY_DEPTH"
check "    exit code 2" [ $code -eq 2 ]
run prlimit --nofile=32:32 "$poolstat" doctor descriptors
check "32 descriptors" says broken descriptors "ulimit -n 65536"
run prlimit --fsize=65536:65536 "$poolstat" doctor file-size stats-page
check "RLIMIT_FSIZE" says broken file-size "ulimit -f unlimited"
check "    for the stats page, too" says "falls back" stats-page "ulimit -f unlimited"
run prlimit --nofile=4:4 "$poolstat" doctor seals io_uring 3<&-
check "4 descriptors: no segment" says "falls back" seals "ulimit -n 65536"

other=(setpriv --reuid=65534 --regid=65534 --clear-groups --)

# --- filters
deny=$(prog deny_uring)
if can_uring && [ -n "$deny" ] && "$deny" EPERM true; then
    for err in EPERM ENOSYS; do
        run "$deny" $err "$poolstat" doctor io_uring
        check "io_uring_setup answers $err" says "falls back" io_uring "seccomp=unconfined"
        check "    exit code 1" [ $code -eq 1 ]
        run env SPILLWAY_STRICT=on "$deny" $err "$poolstat" doctor io_uring
        check "    in strict mode it is broken" says broken io_uring "seccomp=unconfined"
    done
else
    pass_over "seccomp" "no io_uring here, or no filters are allowed"
fi

# --- scratch directories
run env SPILLWAY_DIRS="$work/missing" "$poolstat" doctor scratch
check "a missing directory" says "falls back" scratch "mkdir -p -m 700 $work/missing"
check "    none is left: broken" says broken scratch "export SPILLWAY_DIRS="
check "    exit code 2" [ $code -eq 2 ]
eval "$(sed -n 's/^ *mend: \(mkdir.*\)/\1/p' out | head -1)"
run env SPILLWAY_DIRS="$work/missing" "$poolstat" doctor scratch
check "    the command mends it" eval "grep -q '^ok  *scratch' out && [ $code -ne 2 ]"
for shm in /dev/shm /run/user/$(id -u); do
    [ "$(stat -f -c %T "$shm" 2>/dev/null)" = tmpfs ] && [ -w "$shm" ] || continue
    run env SPILLWAY_DIRS="$shm" "$poolstat" doctor scratch
    check "$shm is a tmpfs" says "falls back" scratch "export SPILLWAY_DIRS="
    break
done

is_root || {
    pass_over "the rest" "only root can mount, and become another user"
    finish
}
if unshare -m true 2>/dev/null; then
    mkdir "$work/ro"
    run unshare -m bash -c "mount --bind '$work/ro' '$work/ro' && mount -o remount,ro,bind '$work/ro' &&
        SPILLWAY_DIRS='$work/ro' '$poolstat' doctor scratch"
    check "a read-only mount" says "falls back" scratch "mount -o remount,rw"
    run unshare -m bash -c "mount -t tmpfs none '$work/ro' && SPILLWAY_DIRS='$work/ro' '$poolstat' doctor scratch"
    check "a tmpfs of our own" says "falls back" scratch "export SPILLWAY_DIRS="
else
    pass_over "mounts" "no mount namespace here"
fi
chown 65534 "$work" "$work/scratch"
run "${other[@]}" prlimit --memlock=0:0 "$poolstat" doctor memlock io_uring
check "no lockable memory: the limit" says "falls back" memlock "ulimit -l 64"
if can_uring; then
    check "    io_uring" says "falls back" io_uring "ulimit -l unlimited"
fi
run "${other[@]}" prlimit --memlock=65536:65536 env SPILLWAY_MLOCK=on SPILLWAY_MEMORY_TIER=64MiB \
    "$poolstat" doctor memlock
check "too little for the memory tier" says "falls back" memlock "ulimit -l 65601"
run "${other[@]}" prlimit --nproc=1:1 "$poolstat" doctor threads
check "no thread to be had" says broken threads "ulimit -u unlimited"
mkdir -m 700 "$work/roots" && chown 0 "$work/roots"
run "${other[@]}" env SPILLWAY_DIRS="$work/roots" "$poolstat" doctor scratch
check "another user's directory" says "falls back" scratch "install -d -o 65534 -m 700 $work/roots"
check "    as root" grep -q 'mend (as root)' out

cp "$(prog not_dumpable)" "$work/hidden"
coproc HIDDEN { exec "${other[@]}" "$work/hidden"; }
cleanups+=("kill $HIDDEN_PID 2>/dev/null")
read -r -t 60 _ <&"${HIDDEN[0]}"
run "${other[@]}" "$poolstat" doctor services
check "a process that is not dumpable" says "falls back" services "poolstat -p"
check "    is named" grep -q hidden out

if cgroup_open $((256 << 20)); then
    cleanups+=(cgroup_close)
    (cgroup_join && SPILLWAY_MEMORY=1GiB exec "$poolstat" doctor cgroup) >out 2>err
    check "a budget beyond the limit" says "falls back" cgroup "echo 1367M >$cgroup_dir/memory."
    (cgroup_join && exec "$poolstat" doctor cgroup) >out 2>err
    check "a limit" says ok cgroup "256 MiB"
else
    pass_over "control groups" "$cgroup_why"
fi
finish
