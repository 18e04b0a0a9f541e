#!/bin/bash
# SPDX-License-Identifier: MIT
# The command line: what is refused names the thing, the value and what to do; exit codes; odd files.
. "$(dirname "$0")/lib_sys.sh"
cd "$work" || exit 1
no_fallback
head -c 3M /dev/urandom >a
head -c 100k /dev/urandom >b
printf 'x' >one
: >empty

run() { # option...; sets code; output in out, messages in err
    "$spillpipe" "$@" >out 2>err
    code=$?
}
# Refused: expected exit code, then words that the message must hold, then -- and the command line.
refused() {
    local expected=$1 word words=()
    shift
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    run "$@" </dev/null
    check "spillpipe $(printf '%q ' "$@"): exit code $expected" [ $code -eq "$expected" ]
    for word in "${words[@]}"; do
        check "    says '$word'" grep -qF -e "$word" err
    done
    check "    one message" [ "$(wc -l <err)" -eq 1 ]
    check "    no output" [ ! -s out ]
}

# --- help and version
run --help
check "--help: exit code 0" [ $code -eq 0 ]
for name in memory memory-tier dir dirs disk-limit tiers nodes engine seal mlock huge-pages checksum \
    threshold head-reserve prefetch strict log-level verbose quiet progress no-progress stats version; do
    check "--help names --$name" grep -q -e "--$name" out
done
check "--help fits 80 columns" [ "$(wc -L <out)" -le 80 ]
check "--help keeps standard error clean" [ ! -s err ]
SPILLWAY_MEMORY=junk run --help
check "--help works whatever the environment says" [ $code -eq 0 ]
check "--version" eval "'$spillpipe' --version | grep -Eq '^spillpipe .*[0-9]+\.[0-9]+\.[0-9]+$'"
"$spillpipe" --help >/dev/full 2>err
check "--help on a full disk: exit code 1" [ $? -eq 1 ]

# --- refused command lines
refused 2 "--nonsense" "--help" -- --nonsense
refused 2 "-Z" "--help" -- -vZ
refused 2 "--memory" "needs a value" -- --memory
refused 2 "--verbose" "takes no value" -- --verbose=3
refused 2 "--memory" "12x" "64M" -- --memory 12x
refused 2 "--memory-tier" "-5" -- --memory-tier=-5
refused 2 "--engine" "steam" "io_uring" "threads" -- --engine steam
refused 2 "--seal" "wax" "recycle" -- --seal wax
refused 2 "--log-level" "shout" -- --log-level shout
refused 2 "--strict" "perhaps" -- --strict=perhaps
refused 2 "--dir" -- --dir ''
refused 2 "--stats" -- --stats ''
SPILLWAY_MEMORY=12x refused 2 "SPILLWAY_MEMORY" "12x" "64MiB" -- --seal strict
SPILLWAY_MEMORY=12x refused 2 "SPILLWAY_MEMORY" "12x" "--memory" -- --memory 64M --strict
SPILLWAY_MEMORY=64MB refused 2 "SPILLWAY_MEMORY" "64MB" -- --strict
SPILLWAY_SEAL=wax SPILLWAY_MEMORY=12x refused 2 "SPILLWAY_SEAL" "wax" -- --memory 64M -q
SPILLWAY_MEMORY=12x run --memory 16M --stats stats <one
check "junk in a variable that an option overrides is told" grep -q "warning: SPILLWAY_MEMORY: '12x'.*--memory" err
check "    and stops nothing" [ $code -eq 0 ]
check "    the option is taken" grep -q "\"budget_bytes\": *$((16 << 20))" stats
SPILLWAY_MEMORY='' SPILLWAY_SEAL=' ' SPILLWAY_MEMROY='' run <one
check "an empty variable counts as unset" [ $code -eq 0 ]
check "    and is no mistake" eval "! grep -q SPILLWAY_ err"
SPILLWAY_MEMROY=64M run <one
check "an unknown variable is told, with the nearest name" grep -q 'SPILLWAY_MEMROY.*SPILLWAY_MEMORY' err
check "and stops nothing" [ $code -eq 0 ]
SPILLWAY_MEMROY=64M refused 2 "SPILLWAY_MEMROY" -- --strict
SPILLWAY_X=1 run <one
check "one that is like no setting, without a guess" grep -q 'SPILLWAY_X is not a setting; spillway(7)' err
SPILLWAY_STRICT=on SPILLWAY_X=1 run --strict=off <one
check "strict can be switched off" [ $code -eq 0 ]
SPILLWAY_MEMORY=32M run --stats stats <one
check "the environment is read" grep -q "\"budget_bytes\": *$((32 << 20))" stats
SPILLWAY_MEMORY=32M run --memory 16M --stats stats <one
check "the command line wins" grep -q "\"budget_bytes\": *$((16 << 20))" stats

# --- inputs
refused 1 "missing" "No such file" -- missing
refused 1 "missing" "No such file" -- a missing
refused 1 "'.'" "Is a directory" -- .
run a b - empty <one
check "files and standard input in order" cmp <(cat a b one) out
check "exit code 0" [ $code -eq 0 ]
run - - <one
check "standard input twice is there once" cmp one out
run <empty
check "no input, no output" [ $code -eq 0 -a ! -s out ]
run -- -q 2>/dev/null
check "-- ends the options" [ $code -eq 1 ]
cp a same
"$spillpipe" same >>same 2>err
check "input that is the output: exit code 1" [ $? -eq 1 ]
check "    says so" grep -q "'same' is both input and output" err
check "    and changed nothing" cmp a same
"$spillpipe" <same >>same 2>err
check "standard input that is the output: exit code 1" [ $? -eq 1 ]
"$spillpipe" <&- >out 2>err
check "standard input closed: exit code 1" [ $? -eq 1 ]
check "    says so" grep -q 'standard input is closed' err
"$spillpipe" <one >&- 2>err
check "standard output closed: exit code 1" [ $? -eq 1 ]
check "    says so" grep -q 'standard output is closed' err
"$spillpipe" a <&- >out 2>err
check "standard input closed, but not needed" cmp a out
"$spillpipe" a >out 2>&-
check "standard error closed" cmp a out
"$spillpipe" 0>write-only >out 2>err
check "standard input not readable: exit code 1" [ $? -eq 1 ]
"$spillpipe" </proc/$$/mem >out 2>err
check "an input that fails to read: exit code 1" [ $? -eq 1 ]
check "    says why" grep -q "standard input.*Input/output error" err
run a /proc/self/mem b
check "an input that fails in the middle: exit code 1" [ $code -eq 1 ]
check "    what was before is delivered" cmp a out
check "    and names the file" grep -q "'/proc/self/mem'.*Input/output error" err
evil=$'evil\n\e[31mname'
run "$evil"
check "a hostile name is shown without its control characters" eval "! grep -q \$'\\e' err && [ \$(wc -l <err) -eq 1 ]"
cp one "$evil"
run "$evil"
check "and can be read" cmp one out
run --dir $'no\e[2Jsuch'
check "a hostile --dir too" eval "! grep -q \$'\\e' err && [ $code -ne 0 ]"

# --- scratch directories
mkdir fine
run --dir fine <a
check "--dir: exit code 0" [ $code -eq 0 ]
check "--dir is quiet" [ ! -s err ]
run --dir missing <a
check "--dir that is missing: exit code 1" [ $code -eq 1 ]
check "    names it" grep -q 'missing' err
check "    no output" [ ! -s out ]
run --dir fine --dir missing <a
check "one of two missing: exit code 1" [ $code -eq 1 ]
run --dir one <a
check "--dir that is a file: exit code 1" [ $code -eq 1 ]
if [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ]; then
    run --dir /dev/shm <a
    check "--dir on tmpfs: exit code 1" [ $code -eq 1 ]
    check "    says tmpfs" grep -q 'tmpfs' err
fi
run --dirs "$work/fine:$work/missing" <a
check "--dirs with one missing: exit code 1" [ $code -eq 1 -a ! -s out ]
check "    names it" grep -q 'missing' err
run --dirs auto <a
check "--dirs auto: exit code 0" [ $code -eq 0 ]
run --dir /proc <a
check "--dir that takes no files: exit code 1" [ $code -eq 1 ]
check "    does not say that it is not there" eval "! grep -q 'does not exist' err"
run --tiers none --dir fine <a
check "--dir without a disk tier is told" grep -q -e '--dir is without effect' err
check "    and stops nothing" [ $code -eq 0 ]

# --- strict: the reason is told, by who knows it
strict_says() { # words..., -- option...
    local word words=()
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    run --strict "$@" <a
    check "--strict $*: exit code 1" [ $code -eq 1 -a ! -s out ]
    for word in "${words[@]}"; do
        check "    says '$word'" grep -qF -e "$word" err
    done
    check "    and where to look" grep -qx 'spillpipe: cannot open the pool: see above' err
}
strict_says "does not exist" "/nonexistent" -- --dirs /nonexistent
strict_says "nodes '1022'" -- --memory-tier 8M --nodes 1022
strict_says "mlock" "SPILLWAY_MEMORY_TIER" -- --mlock
run --strict --log-level off --dirs /nonexistent <a
check "no log: spillpipe says why" grep -q 'cannot open the pool: there is no .*directory' err
run --mlock --nodes far <one
check "settings of a memory tier that there is none of are told" grep -q 'warning: without effect: nodes, mlock' err
check "    and stop nothing" [ $code -eq 0 ]
# Other tests that want some for a while hold this lock meanwhile.
if exec 8</proc/sys/vm/nr_hugepages && flock -w 60 8 && [ "$(cat <&8)" = 0 ]; then
    strict_says "vm.nr_hugepages" -- --memory-tier 8M --huge-pages on
else
    pass_over "an empty reserve of huge pages" "there is no such reserve, or it is not empty"
fi
exec 8<&-

if is_root; then
    cp "$spillpipe" spillpipe
    mkdir -m 555 readonly
    nobody ./spillpipe --dir readonly <a >out 2>err
    check "--dir not writable: exit code 1" [ $? -eq 1 ]
    check "    names it" grep -q 'readonly' err
    chmod 600 b
    nobody ./spillpipe b >out 2>err
    check "a file without permission: exit code 1" [ $? -eq 1 ]
    check "    says so" grep -q "'b': Permission denied" err
fi
SPILLWAY_DIRS=$work/missing run <a
check "a directory from the environment falls back" [ $code -eq 0 ]
check "    visibly" grep -q 'missing' err
SPILLWAY_DIRS=$work/missing run --strict <a
check "and not in strict mode: exit code 1" [ $code -eq 1 -a ! -s out ]
check "    says which" grep -q "missing" err

# --- non-blocking descriptors
nonblock=$(prog nonblock) && {
    (sleep 0.2; cat a; sleep 0.2; cat b) | "$nonblock" "$spillpipe" --memory 1M 2>err | (sleep 0.5; cat >out)
    check "non-blocking input and output" cmp <(cat a b) out
    check "    quiet" [ ! -s err ]
}

# --- a slow stream flows at once
mkfifo trickle
"$spillpipe" <trickle 2>err >answers &
pid=$!
exec 7>trickle
for word in one two three; do
    echo $word >&7
    for try in $(seq 1500); do
        [ "$(tail -1 answers)" = $word ] && break
        sleep 0.02
    done
    check "'$word' comes through while input stays open" [ "$(tail -1 answers)" = $word ]
done
exec 7>&-
wait $pid

# --- what it tells
run <a
check "nothing on standard error without being asked" [ ! -s err ]
run -v <a
check "-v: one line" [ "$(wc -l <err)" -eq 1 ]
check "-v: bytes, budget, engine" grep -Eq '^spillpipe: in 3\.00 MiB .* out 3\.00 MiB .* budget.*engine' err
run -vv --dir fine <a
check "-vv: also what was chosen" [ "$(wc -l <err)" -gt 1 ]
run -q --tiers none --memory 1M <a
check "-q: nothing" [ ! -s err ]
run --stats - <a
check "--stats -: one JSON object on standard error" grep -Eq '^\{.*"budget_bytes":.*\}$' err
check "    and the bytes on standard output" cmp a out
run --stats /missing/stats <a
check "--stats that cannot be made: exit code 1, no output" [ $code -eq 1 -a ! -s out ]
run --progress <a
check "--progress without a terminal draws no line over" eval "! grep -q \$'\\r' err"
if command -v script >/dev/null; then
    (sleep 1.2; cat a) >late &
    script -qec "stty cols 60; cat '$work/a' | '$spillpipe' | (sleep 0.8; cat >'$work/out')" typescript </dev/null >/dev/null
    check "on a terminal the progress line is drawn" grep -q $'\r0:00  in ' typescript
    check "    the bytes arrive" cmp a out
    check "    it fits the width" [ "$(tr '\r' '\n' <typescript | grep -a '  in ' | wc -L)" -le 60 ]
    check "    and is gone at the end" eval "tail -c 200 typescript | tr '\\r' '\\n' | grep -av Script | tail -1 | grep -Eqv 'in [0-9]'"
    script -qec "cat '$work/a' | '$spillpipe' --no-progress | (sleep 0.5; cat >'$work/out')" typescript </dev/null >/dev/null
    check "--no-progress draws none" eval "! grep -aq '  in ' typescript"
else
    pass_over "progress on a terminal" "no script(1)"
fi
finish
