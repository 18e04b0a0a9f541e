#!/bin/bash
# SPDX-License-Identifier: MIT
# spillbench bars: every row ends in one of three words, a limit has its reason, and the reports agree.
. "$(dirname "$0")/lib_sys.sh"
spillbench=$BUILD/spillbench
[ -x "$spillbench" ] || skip "no $spillbench: run make first"
mkdir "$work/empty"

# Nothing but what the table may hold, between its head and the empty line behind it.
rows() {
    awk '/^what +asked +reached +verdict$/ { inside = 1; next } /^$/ { inside = 0 } inside' "$1"
}
three_words() {
    local line
    while IFS= read -r line; do
        [[ $line =~ ^\ {6}[^\ ] || $line =~ \ (pass|short|limited)$ ]] || {
            echo "this row ends otherwise: $line"
            return 1
        }
    done < <(rows "$1")
    [ "$(rows "$1" | grep -Ec ' (pass|short|limited)$')" -ge "$2" ] || {
        echo "too few rows"
        return 1
    }
}
reasons() {
    rows "$1" | awk '
        limited && !/^      [^ ]/ { print "no reason behind: " before; bad = 1 }
        { limited = / limited$/; before = $0 }
        END { if (limited) { print "no reason behind the last row"; bad = 1 } exit bad }'
}
numbers() {
    local row
    row=$(rows "$1" | grep '^queue that never spills, extend')
    [[ $row =~ [0-9]+\.[0-9]\ \([0-9.]+-[0-9.]+\)\ ns ]] || {
        echo "no median with least and largest: $row"
        return 1
    }
}

# Without perf and strace two groups of rows are limited, whatever machine this is.
PATH=$work/empty "$spillbench" bars --quick --quiet --dir "$work/scratch" --only cost,proof,policies,prefetch,crowd \
    --json "$work/report.json" --markdown "$work/report.md" >"$work/report.txt" 2>"$work/err"
code=$?
check "measured, exit code $code" [ $code -eq 0 ]
[ $code -eq 0 ] || sed 's/^/        /' "$work/err" "$work/report.txt"
check "every row ends in pass, short or limited" three_words "$work/report.txt" 15
check "each limited row has its reason on the next line" reasons "$work/report.txt"
check "what is not installed limits" grep -q '^      perf is not installed here$' "$work/report.txt"
check "reading ahead is judged for both engines and the memory tier" \
    [ "$(rows "$work/report.txt" | grep -c '^prefetch, reader slower than the device')" = 5 ]
check "a crowd of queues has its rows" \
    [ "$(rows "$work/report.txt" | grep -Ec '^(64 unequal queues,|the same: (no light queue|use of the budget)) ')" = 3 ]
check "a median has its span" numbers "$work/report.txt"
check "the compress policy has its rows" \
    [ "$(rows "$work/report.txt" | grep -c '^compress policy, .* \(pass\|short\|limited\)$')" = 5 ]
check "JSON has the same rows" [ "$(grep -Eo '"verdict": *"(pass|short|limited)"' "$work/report.json" | wc -l)" = \
    "$(rows "$work/report.txt" | grep -Ec ' (pass|short|limited)$')" ]
check "JSON has the reason" grep -q '"remark": *"perf is not installed here"' "$work/report.json"
check "Markdown has the same rows" [ "$(grep -Ec '^\| .* \| (pass|short|limited)' "$work/report.md")" = \
    "$(rows "$work/report.txt" | grep -Ec ' (pass|short|limited)$')" ]
check "the scratch folder is empty" [ -z "$(ls -A "$work/scratch")" ]

"$spillbench" bars --quick --only cost,nonsense >"$work/out" 2>"$work/err"
check "an unknown group is refused" [ $? -eq 2 ]
check "and named" grep -q "there is no group 'nonsense'" "$work/err"

# What cannot be measured is told, and ends with an error; nothing is left behind.
"$spillbench" bars --quick --quiet --dir "$work/nothing-there" --only disk,latency,prefetch \
    >"$work/out" 2>"$work/err"
check "a directory that is not there: exit code 1" [ $? -eq 1 ]
check "seven rows say so" [ "$(grep -c 'could not be measured *short$' "$work/out")" = 7 ]
check "and why" reasons <(sed 's/short$/limited/' "$work/out")
"$spillbench" bars --quick --quiet --dir "$work/scratch" --only pipe --spillpipe "$work/nothing-there" \
    >"$work/out" 2>"$work/err"
check "a spillpipe that is not there: exit code 1" [ $? -eq 1 ]
check "is told" grep -q 'there is no such program' "$work/out"
printf '#!/bin/sh\nexit 1\n' >"$work/broken"
chmod +x "$work/broken"
"$spillbench" bars --quick --quiet --dir "$work/scratch" --only pipe --pipe-data 16MiB \
    --spillpipe "$work/broken" >"$work/out" 2>"$work/err"
check "one that fails: exit code 1" [ $? -eq 1 ]
check "is told, too" grep -q 'a program in the pipe failed' "$work/out"
check "the scratch folder is still empty" [ -z "$(ls -A "$work/scratch")" ]

measures() { # rows, command...
    local rows=$1
    shift
    "$spillbench" "$@" --quiet --dir "$work/scratch" --json "$work/report.json" \
        >"$work/report.txt" 2>"$work/err" || {
        cat "$work/err"
        return 1
    }
    [ "$(grep -Ec '( ns| us| ms| s)( |\)|$)' "$work/report.txt")" -ge "$rows" ] || {
        echo "too few rows"
        return 1
    }
    grep -q '"curves"' "$work/report.json"
}
check "scale measures" measures 20 scale --depth 10000 --queues 10 --threads 2 --operations 5000 \
    --pairs 1 --disk 256MiB
check "where nothing should spill, nothing does, or that is told" \
    grep -Eq 'nothing spills +512 .* 2 MiB|nothing spills.*left out, it did' "$work/report.txt"
check "latency measures" measures 6 latency --bytes 64MiB
check "latency measures chunks on the heap" measures 6 latency --bytes 64MiB --heap --chunk 1KiB
check "tiers measures" measures 5 tiers --bytes 64MiB --pairs 1
check "the scratch folder is empty in the end" [ -z "$(ls -A "$work/scratch")" ]
finish
