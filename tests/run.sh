#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs test binaries, then script tests, and counts.
#
#     BUILD=build tests/run.sh BINARY... [-- SCRIPT...]
#
# One line per suite; the whole output of those that fail; why something was
# skipped. The last line is "N passed, N failed, N skipped". Fails when a test
# failed or none ran.
#
#   JOBS               test binaries at once (2); scripts run one after another
#   TEST_LIMIT_S       seconds that one binary or script may take (600)
#   TEST_TIME_LIMIT_S  seconds that one test may take in the plain runner (120)
#   RUNNER             what binaries run under, such as valgrind and its options
#   TEST_AGAIN         1: a suite or script that failed is run again, alone, twice at
#                      most (once where it takes minutes), and counts as the last run
#                      does; what it said before is printed, and so is "flaky NAME".
#                      Not after a crash or a checker's report: once is enough for
#                      these, and not where many failed. For machines that do other
#                      work too, as those of a CI; a developer wants to see a flaky
#                      test fail
#   TESTS              only suites and scripts whose name contains one of these words
#   SPILLWAY_TEST_DIR  where scratch directories of tests are made (a new folder in /var/tmp)
#   SPILLWAY_TEST_*    for the tests; every other SPILLWAY_* variable is hidden from them
set -u
cd "$(dirname "$0")/.." || exit 2
export BUILD=${BUILD:-build}
limit=${TEST_LIMIT_S:-600}
read -r -a runner <<<"${RUNNER:-}"
read -r -a wanted <<<"${TESTS:-}"

for name in $(compgen -e SPILLWAY_ | grep -v '^SPILLWAY_TEST_'); do
    unset "$name"
done
export LC_ALL=C

mkdir -p "$BUILD"
results=$(mktemp -d "$BUILD/results.XXXXXX") || exit 2
# What a test that fails leaves behind goes with the folder. Not on tmpfs: scratch files want a disk.
if [ -z "${SPILLWAY_TEST_DIR:-}" ]; then
    scratch=$(mktemp -d /var/tmp/spillway-tests.XXXXXX) && chmod 711 "$scratch" &&
        export SPILLWAY_TEST_DIR=$scratch
fi
trap 'rm -rf --one-file-system "$results" ${scratch:+"$scratch"}' EXIT
trap 'exit 130' INT TERM

is_wanted() {
    local word
    [ ${#wanted[@]} -eq 0 ] && return 0
    for word in "${wanted[@]}"; do
        [[ $1 == *"$word"* ]] && return 0
    done
    return 1
}

# What a sanitizer says even where the process that says it ends well.
has_report() {
    grep -Eq 'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|: runtime error: ' "$1"
}

# What can't come from a machine that is slow for a while. Not what valgrind says of leaks: a test
# that fails leaves some.
is_proof() { # log, TAP report
    has_report "$1" || grep -Eq 'CRASH!|^==[0-9]+== +(Invalid |Conditional |Use of |Syscall )' "$1" ||
        { [ -f "$2" ] && grep -Eq '^not ok .*\(signal (4|6|7|8|11),' "$2"; }
}

# Prints a suite's line, and all of its output when it failed, in one piece.
show() {
    local name=$1 passed=$2 failed=$3 skipped=$4 seconds=$5 note=$6
    {
        flock 9
        printf '%-4s %-24s %4d passed %3d failed %3d skipped  %4d s%s\n' \
            "$([ "$failed" -eq 0 ] && echo ok || echo FAIL)" "$name" \
            "$passed" "$failed" "$skipped" "$seconds" "${note:+  ($note)}"
        [ -s "$results/$name.skips" ] && sed 's/^/         skipped: /' "$results/$name.skips"
        if [ "$failed" -ne 0 ]; then
            # valgrind tells of a system call that it does not know in five lines, each time.
            grep -Ev '^--[0-9]+-- ' "$results/$name.log" | sed 's/^/    | /'
            [ -s "$results/$name.tap" ] && grep -v '^ok' "$results/$name.tap" | sed 's/^/    | /'
        fi
        echo "$passed $failed $skipped" >"$results/$name.sum"
    } 9>"$results/lock"
}

# The counts of a TAP report: "passed failed skipped planned"; reasons for skips go to $2.
read_tap() {
    awk -v skips="$2" '
        /^1\.\.[0-9]+/ { planned = substr($1, 4) + 0 }
        /^not ok/ { failed++; next }
        /^ok.*# SKIP/ {
            skipped++
            sub(/^ok [0-9]*[- ]*/, ""); sub(/ *# SKIP */, ": ")
            print > skips
            next
        }
        /^ok/ { passed++ }
        END { printf "%d %d %d %d\n", passed, failed, skipped, planned }' "$1"
}

run_suite() {
    local binary=$1 name start code note="" passed failed skipped planned
    name=$(basename "$binary")
    start=$SECONDS
    if [[ $binary == "$BUILD"/plain/* ]]; then
        timeout -k 10 "$limit" "${runner[@]}" "$binary" \
            >"$results/$name.tap" 2>"$results/$name.log" </dev/null
    else
        timeout -k 10 "$limit" "${runner[@]}" "$binary" -j2 --color=never \
            --tap="$results/$name.tap" >"$results/$name.log" 2>&1 </dev/null
    fi
    code=$?
    touch "$results/$name.tap"
    read -r passed failed skipped planned <<<"$(read_tap "$results/$name.tap" "$results/$name.skips")"
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
        note="no end after $limit s"
    elif [ $code -ne 0 ] && [ "$failed" -eq 0 ]; then
        note="exit code $code"
    elif [ $((passed + failed + skipped)) -ne "$planned" ] || [ "$planned" -eq 0 ]; then
        note="$((passed + failed + skipped)) of $planned tests told how they ended"
    elif has_report "$results/$name.log"; then
        note="a sanitizer reported something"
    fi
    [ -n "$note" ] && failed=$((failed + 1))
    show "$name" "$passed" "$failed" "$skipped" $((SECONDS - start)) "$note"
}

# A script's exit code: 0 passed, 77 skipped (its last line says why), else failed.
run_script() {
    local script=$1 name start code passed=0 failed=0 skipped=0 note=""
    name=$(basename "$script")
    start=$SECONDS
    timeout -k 10 "$limit" bash "$script" >"$results/$name.log" 2>&1 </dev/null
    code=$?
    case $code in
    0) passed=1 ;;
    77)
        skipped=1
        tail -n 1 "$results/$name.log" >"$results/$name.skips"
        ;;
    124 | 137)
        failed=1
        note="no end after $limit s"
        ;;
    *)
        failed=1
        note="exit code $code"
        ;;
    esac
    show "$name" $passed $failed $skipped $((SECONDS - start)) "$note"
}

# Runs again, alone, what failed without a proof of a fault.
run_again() {
    local name failed try begun
    failed=$(awk '$2 > 0 { sub(/.*\//, "", FILENAME); sub(/\.sum$/, "", FILENAME); print FILENAME }' \
        "$results"/*.sum 2>/dev/null)
    [ "$(wc -w <<<"$failed")" -le 8 ] || return
    for name in $failed; do
        for try in 1 2; do
            is_proof "$results/$name.log" "$results/$name.tap" && break
            [ $try -eq 2 ] && [ $((SECONDS - begun)) -gt 120 ] && break
            begun=$SECONDS
            rm -f "$results/$name".*
            echo "     again, alone: $name ($try)"
            if [ -n "${binaries[$name]:-}" ]; then
                run_suite "${binaries[$name]}"
            else
                run_script "${scripts[$name]}"
            fi
            awk '{ exit $2 > 0 }' "$results/$name.sum" && echo "flaky $name" && break
        done
    done
}

declare -A binaries scripts
running=0
while [ $# -gt 0 ]; do
    if [ "$1" = -- ]; then
        shift
        break
    fi
    if is_wanted "$(basename "$1")"; then
        if [ $running -ge "${JOBS:-2}" ]; then
            wait -n
            running=$((running - 1))
        fi
        binaries[$(basename "$1")]=$1
        run_suite "$1" &
        running=$((running + 1))
    fi
    shift
done
wait
for script in "$@"; do
    if is_wanted "$(basename "$script")"; then
        scripts[$(basename "$script")]=$script
        run_script "$script"
    fi
done
[ "${TEST_AGAIN:-}" = 1 ] && run_again

cat "$results"/*.sum 2>/dev/null | awk '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        if (passed + failed == 0)
            print "no test ran"
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0 || passed == 0
    }'
