#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs fuzzers for a time each, and counts.
#
#     BUILD=build/fuzz FUZZ_S=10 tests/fuzz.sh NAME...
#
# tests/fuzz/corpus/NAME holds the inputs to begin with, tests/fuzz/NAME.dict words to make more
# from. What a fuzzer finds beside them is kept in $BUILD/corpus/NAME for the next time, an input
# that breaks something in $BUILD/found/NAME-*; give that to the program $BUILD/fuzz/NAME to see it
# again, and add it to the corpus, which the suite of the same name reads too.
set -u
cd "$(dirname "$0")/.." || exit 2
seconds=${FUZZ_S:-10}
passed=0 failed=0
mkdir -p "$BUILD/found" || exit 2
for name in "$@"; do
    corpus=$BUILD/corpus/$name
    log=$BUILD/$name.log
    dict=()
    mkdir -p "$corpus" || exit 2
    [ -f "tests/fuzz/$name.dict" ] && dict=(-dict="tests/fuzz/$name.dict")
    if timeout -k 10 $((seconds * 2 + 60)) "$BUILD/fuzz/$name" -max_total_time="$seconds" \
        -timeout=10 -rss_limit_mb=1024 -max_len=8192 -artifact_prefix="$BUILD/found/$name-" \
        "${dict[@]}" "$corpus" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $name: $(grep -o 'Done [0-9]* runs in [0-9]* second' "$log")"
    else
        failed=$((failed + 1))
        tail -n 60 "$log"
        echo "FAIL $name: exit code not 0; see $log and $BUILD/found"
    fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
