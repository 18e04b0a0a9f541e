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
PATH=$work/empty "$spillbench" bars --quick --quiet --dir "$work/scratch" --only cost,proof,policies \
    --json "$work/report.json" --markdown "$work/report.md" >"$work/report.txt" 2>"$work/err"
code=$?
check "measured, exit code $code" [ $code -eq 0 ]
[ $code -eq 0 ] || sed 's/^/        /' "$work/err" "$work/report.txt"
check "every row ends in pass, short or limited" three_words "$work/report.txt" 10
check "each limited row has its reason on the next line" reasons "$work/report.txt"
check "what is not installed limits" grep -q '^      perf is not installed here$' "$work/report.txt"
check "a median has its span" numbers "$work/report.txt"
check "policies that are missing do not pass" \
    [ "$(rows "$work/report.txt" | grep -c 'not yet: policy comes later.* short$')" = 2 ]
check "JSON has the same rows" [ "$(grep -Eo '"verdict": *"(pass|short|limited)"' "$work/report.json" | wc -l)" = \
    "$(rows "$work/report.txt" | grep -Ec ' (pass|short|limited)$')" ]
check "JSON has the reason" grep -q '"remark": *"perf is not installed here"' "$work/report.json"
check "Markdown has the same rows" [ "$(grep -Ec '^\| .* \| (pass|short|limited)' "$work/report.md")" = \
    "$(rows "$work/report.txt" | grep -Ec ' (pass|short|limited)$')" ]
check "the scratch folder is empty" [ -z "$(ls -A "$work/scratch")" ]

"$spillbench" bars --quick --only cost,nonsense >"$work/out" 2>"$work/err"
check "an unknown group is refused" [ $? -eq 2 ]
check "and named" grep -q "there is no group 'nonsense'" "$work/err"
finish
