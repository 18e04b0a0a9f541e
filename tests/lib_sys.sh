# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by tests/sys_*.sh, which run spillpipe as a user does.
#
#   BUILD or $1   the build folder (build)
#   SYS_BYTES     how much data each configuration carries (256M; the issue's runs take 4G)
#   SYS_DELAY_S   how late the consumer starts at least (0.3)

set -u
BUILD=$(realpath "${1:-${BUILD:-$(dirname "${BASH_SOURCE[0]}")/../build}}")
sys_bytes=$(numfmt --from=iec "${SYS_BYTES:-256M}")
sys_delay_s=${SYS_DELAY_S:-0.3}
spillpipe=$BUILD/spillpipe
sources=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
. "$sources/lib_stream.sh"
failed=0
checks=0
export LC_ALL=C
for name in $(compgen -e SPILLWAY_ | grep -v '^SPILLWAY_TEST_'); do
    unset "$name"
done
[ -x "$spillpipe" ] || {
    echo "no $spillpipe: run make first"
    exit 1
}

# A folder on a real disk: the disk tier refuses tmpfs.
work_parent=${TMPDIR:-/var/tmp}
[ "$(stat -f -c %T "$work_parent")" = tmpfs ] && work_parent=/var/tmp
work=$(mktemp -d "$work_parent/spillway-sys.XXXXXX") || exit 1
chmod 755 "$work"
mkdir "$work/scratch"
cleanups=()
cleanup() {
    local i
    for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
        eval "${cleanups[$i]}"
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Ends the script; a check that failed before still counts.
skip() { # why
    echo "$*"
    [ $failed -eq 0 ] || exit 1
    exit 77
}

ok() { # what
    checks=$((checks + 1))
    echo "ok      $*"
}

fail() { # what
    checks=$((checks + 1))
    failed=1
    echo "FAILED  $*"
}

# Runs a command and says whether it succeeded; its output only when not.
check() { # what, command...
    local what=$1
    shift
    if "$@" >"$work/check.out" 2>&1; then
        ok "$what"
    else
        fail "$what"
        sed 's/^/        /' "$work/check.out" | head -20
    fi
}

# A part that this machine or user cannot run.
pass_over() { # what, why
    echo "skipped $1: $2"
}

finish() {
    echo "$checks checks"
    exit $failed
}

# A helper from tests/prog, built on the spot when make did not.
prog() { # name
    local built=$BUILD/tests/prog/$1
    if [ ! -x "$built" ]; then
        built=$work/$1
        [ -x "$built" ] || "${CC:-cc}" -O1 -o "$built" "$sources/prog/$1.c" || return 1
    fi
    echo "$built"
}

# The consumer's delay: at least sys_delay_s, and until all input is taken, or cannot be; but not
# for ever, however slow the machine is.
sys_patience_s=20
come_late() {
    local try
    sleep "$sys_delay_s"
    for try in $(seq $((sys_patience_s * 10))); do
        [ -s "$work/in.sum" ] || grep -q 'input waits' "$work/err" && return
        sleep 0.1
    done
}

# Carries `sys_bytes` through a command that runs spillpipe, to a consumer that starts late, and
# compares the hashes of both ends. Leaves $work/err and, with --stats "$stats", its counters.
stats=$work/stats.json
carry() { # what, command...
    local what=$1 hash codes
    shift
    rm -f "$work/copy" "$stats"
    : >"$work/err"
    : >"$work/in.sum"
    mkfifo "$work/copy"
    b2sum <"$work/copy" >"$work/in.sum" &
    hash=$!
    stream "$sys_bytes" | tee "$work/copy" | "$@" 2>"$work/err" |
        (
            come_late
            b2sum >"$work/out.sum"
        )
    codes=("${PIPESTATUS[@]}")
    wait $hash
    if [ "${codes[2]}" -ne 0 ]; then
        fail "$what: exit code ${codes[2]}"
    elif ! cmp -s "$work/in.sum" "$work/out.sum"; then
        fail "$what: the hashes differ"
    else
        ok "$what: the same hash at both ends"
        return 0
    fi
    sed 's/^/        /' "$work/err" | head -20
    return 1
}

# A counter of the last --stats, as a number or a word.
counter() { # name
    sed -n "s/.*\"$1\": *\"\\{0,1\\}\\([^,\"}]*\\).*/\\1/p" "$stats" | head -1
}

is() { # counter, word
    local have
    have=$(counter "$1")
    [ "$have" = "$2" ] || {
        echo "$1 is '$have', not '$2'"
        return 1
    }
}

at_least() { # counter, number
    local have
    have=$(counter "$1")
    [ "${have:-0}" -ge "$2" ] || {
        echo "$1 is '$have', less than $2"
        return 1
    }
}

# Whether a command ends with this exit code, and says these words.
exits() { # code, words, command...
    local code=$1 words=$2 have
    shift 2
    "$@" >"$work/out" 2>&1
    have=$?
    [ $have -eq "$code" ] && grep -q -- "$words" "$work/out" && return
    echo "exit code $have instead of $code, or no '$words':"
    cat "$work/out"
    return 1
}

# What is found stays so until the script ends: sys_limits.sh of another run on this machine waits.
can_uring() {
    local switch=/proc/sys/kernel/io_uring_disabled
    [ -r $switch ] && exec 6<$switch && flock -s 6
    : | "$spillpipe" --engine io_uring --strict --dir "$work/scratch" 2>/dev/null
}

# Where io_uring is refused, spillpipe says so once: not in tests of what else it says.
no_fallback() {
    can_uring || export SPILLWAY_ENGINE=threads
}

# Waits until left_of, the test's own, prints nothing any more of what a process may have left. Who
# has waited in vain once does not wait as long again: the script's own time is bounded too.
left_patience_s=60
nothing_left() { # pid
    local left end=$((SECONDS + left_patience_s))
    while left=$(left_of "$1") && [ -n "$left" ]; do
        if [ $SECONDS -ge $end ]; then
            echo "left behind after $left_patience_s s: $left"
            left_patience_s=5
            return 1
        fi
        sleep 0.1
    done
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

# A user without rights, and a copy of spillpipe that this user can reach.
nobody() { # command...
    setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
}
