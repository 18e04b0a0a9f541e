# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by the demo and by tests: an own memory cgroup to run a program in, v1 or v2.
#
#   cgroup_open [LIMIT_BYTES]   makes the group; sets cgroup_dir and cgroup_version.
#                               Fails, with the reason in cgroup_why, where that is not allowed
#   cgroup_join                 puts the calling (sub)shell into it
#   cgroup_charge               sets charge_bytes: anonymous and shared memory that it is charged for
#   cgroup_close                removes it

cgroup_dir=
cgroup_version=
cgroup_why=

# The folder of our group in the hierarchy with the memory controller; sets cgroup_version.
cgroup_own() {
    local id controllers path mount
    while IFS=: read -r id controllers path; do
        case ",$controllers," in
        *,memory,*)
            cgroup_version=1
            mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
            echo "$mount${path%/}"
            return
            ;;
        esac
    done </proc/self/cgroup
    cgroup_version=2
    mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    path=$(sed -n 's/^0:://p' /proc/self/cgroup)
    [ -n "$mount" ] && echo "$mount${path%/}"
}

# Makes a group below $1; fails when its memory cannot be counted or we cannot enter it.
cgroup_try() {
    local parent=$1 limit=$2 file
    [ -w "$parent" ] || return 1
    cgroup_dir=$parent/spillway-$$
    mkdir "$cgroup_dir" 2>/dev/null || return 1
    if [ ! -e "$cgroup_dir/memory.stat" ]; then
        echo +memory 2>/dev/null >"$parent/cgroup.subtree_control"
    fi
    file=memory.max
    [ "$cgroup_version" = 1 ] && file=memory.limit_in_bytes
    if [ -e "$cgroup_dir/memory.stat" ] &&
        { [ -z "$limit" ] || echo "$limit" 2>/dev/null >"$cgroup_dir/$file"; } &&
        (cgroup_join) 2>/dev/null; then
        return 0
    fi
    rmdir "$cgroup_dir"
    return 1
}

cgroup_open() {
    local own
    cgroup_version=2
    grep -Eq '^[0-9]+:([^:]*,)?memory[,:]' /proc/self/cgroup && cgroup_version=1
    own=$(cgroup_own)
    if [ -z "$own" ] || [ ! -d "$own" ]; then
        cgroup_why="no memory cgroup hierarchy is mounted here"
        cgroup_dir=
        return 1
    fi
    # In v2 a group with processes of its own cannot have such children: then beside it.
    cgroup_try "$own" "${1:-}" || cgroup_try "$(dirname "$own")" "${1:-}" || {
        cgroup_why="this user may not make a memory cgroup"
        cgroup_dir=
        return 1
    }
}

cgroup_join() {
    echo "$BASHPID" >"$cgroup_dir/cgroup.procs"
}

cgroup_charge() {
    local key value anon=anon
    charge_bytes=0
    [ "$cgroup_version" = 1 ] && anon=rss
    while read -r key value; do
        case $key in "$anon" | shmem) charge_bytes=$((charge_bytes + value)) ;; esac
    done <"$cgroup_dir/memory.stat"
}

# A group empties a moment after its last process is gone.
cgroup_close() {
    local try
    [ -n "$cgroup_dir" ] || return 0
    for try in 1 2 3 4 5 6 7 8 9 10; do
        rmdir "$cgroup_dir" 2>/dev/null && break
        sleep 0.1
    done
    cgroup_dir=
}
