#!/bin/bash
# SPDX-License-Identifier: MIT
# poolstat --watch on terminals of several sizes: aligned, legible, resized, left clean.
. "$(dirname "$0")/lib_sys.sh"
cd "$work" || exit 1
poolstat=$BUILD/poolstat
hold=$(prog hold_pools) || skip "tests/prog/hold_pools was not built"
"$poolstat" --watch </dev/null >out 2>err
check "--watch without a terminal: exit code 2" [ $? -eq 2 ]
check "    says what to do" grep -q 'needs a terminal: give an interval' err
check "    writes nothing" [ ! -s out ]
command -v tmux >/dev/null || {
    pass_over "the screen" "no tmux"
    finish
}

export SPILLWAY_DIRS=$work/scratch SPILLWAY_MEMORY=4MiB SPILLWAY_DISK_LIMIT=512MiB
# Pressure of others on this machine would move the budget.
export SPILLWAY_POLICIES=threshold,prefetch
export SPILLWAY_MEMORY_TIER=8MiB
coproc HOLD { exec "$hold" 3 2>hold.err; }
hold_in=${HOLD[1]} hold_out=${HOLD[0]} pid=$HOLD_PID
cleanups+=("kill -KILL $pid 2>/dev/null")
read -r -t 60 answer <&"$hold_out"
check "three pools" [ "$answer" = ready ]
echo busy >&"$hold_in"
read -r -t 60 answer <&"$hold_out"

socket=$work/tmux
tm() {
    tmux -S "$socket" -f /dev/null "$@"
}
cleanups+=("tmux -S $socket kill-server 2>/dev/null")
screen() { # waits until the screen holds a line like this; into the file screen
    local try
    for try in $(seq 100); do
        tm capture-pane -p >screen 2>/dev/null
        grep -Eq -e "$1" screen && return 0
        sleep 0.1
    done
    return 1
}
# A shell, so that what is left behind can be seen.
tm new-session -d -x 80 -y 24 "env -u NO_COLOR LC_ALL=C.UTF-8 PS1='prompt> ' sh" || skip "tmux does not start here"
watch() { # option...
    tm send-keys "clear; $poolstat --watch 0.2 -p $pid $*; echo ended: \$?" Enter
}
width() { # of the screen's widest line, in characters
    LC_ALL=C.UTF-8 wc -L <screen
}
in_line() { # names, each in the first column of a line, in this order
    local name at last=0
    for name in "$@"; do
        at=$(grep -n "^$name " screen | head -1 | cut -d: -f1)
        [ "${at:-0}" -gt "$last" ] || {
            echo "'$name' is not where it should be"
            return 1
        }
        last=$at
    done
}
# Each number ends below the end of its title.
aligned() {
    awk '/PID POOL/ { titles = $0; next }
        titles && / held-[0-9] / {
            rows++
            for (at = 1; at <= length(titles); at++) {
                end = substr(titles, at, 1) != " " && substr(titles " ", at + 1, 1) == " "
                if (end && substr(titles, 1, at) !~ /(POOL|STATE|PROCESS|USER)$/ &&
                    (substr($0 " ", at, 1) == " " || substr($0 " ", at + 1, 1) != " ")) {
                    print titles; print; exit 1 } } }
        END { exit rows < 3 }' screen
}
legible() { # columns, rows
    local bars
    check "    no more than $1 columns" [ "$(width)" -le "$1" ]
    check "    $2 lines" [ "$(wc -l <screen)" -le "$2" ]
    check "    everything is there" in_line resident memory disk spill fetch writers readers moved \
        '99% of' troubles queues why 'q quit'
    bars=$(sed -E 's/▏|▎|▍|▌|▋|▊|▉|█/#/g' screen |
        awk '/^(resident|memory|disk) / { print index($0, "["), index($0, "]") }' | sort -u | wc -l)
    check "    bars are below each other" [ "$bars" -eq 1 ]
    check "    numbers end below their titles" aligned
}

watch
check "80 by 24" screen '^why'
legible 80 24
check "    pools are listed" [ "$(grep -c ' held-[012] ' screen)" -ge 3 ]
screen 'spill .*[▁▂▃▄▅▆▇█]'
check "    charts are drawn" grep -q 'spill .*[▁▂▃▄▅▆▇█]' screen
check "    bars are drawn" grep -q '^resident \[[▏▎▍▌▋▊▉█]' screen
tm resize-window -x 200 -y 50
screen 'WWAIT% RWAIT%'
check "200 by 50, resized while it runs" grep -q 'WWAIT% RWAIT%' screen
legible 200 50
cp screen wide
tm resize-window -x 30 -y 6
screen '^q quit'
check "30 by 6: what fits" [ "$(width)" -le 30 ]
tm resize-window -x 80 -y 24
screen '^why'
tm send-keys Down
check "another pool is chosen" screen '^held-1  process'
tm send-keys Space
check "a pause" screen 'paused'
tm send-keys Space
tm send-keys q
check "q ends it: exit code 0" screen '^ended: 0'
check "    what was there is back" eval "! grep -q '^why' screen"
tm send-keys "stty -a | grep -o -w -e '-*icanon' -e '-*echo'" Enter
screen '^echo'
check "    the terminal is as it was" eval "grep -q '^icanon' screen && grep -q '^echo' screen"

watch
screen '^why'
tm send-keys C-c
check "Ctrl-C ends it" screen '^ended: 0'
tm send-keys "clear; (exec $poolstat --watch 0.2 -p $pid)" Enter
screen '^why'
watcher=$(pgrep -f "^$poolstat --watch 0.2 -p $pid\$" | head -1)
kill -TERM "$watcher"
check "SIGTERM ends it, and the screen is back" screen '^prompt>'
check "    without anything left" eval "! grep -q '^why' screen"

tm send-keys "clear; TERM=dumb $poolstat --watch; echo ended: \$?" Enter
check "a terminal that cannot move its cursor: exit code 2" screen '^ended: 2'
check "    says what to do" grep -q 'give an interval' screen
tm send-keys "clear; LC_ALL=C $poolstat --watch 0.2 -p $pid" Enter
screen '^resident \[#'
check "without UTF-8: bars and charts in ASCII" eval \
    "grep -q '^resident \[#' screen && ! LC_ALL=C grep -q '[^ -~]' screen"
tm send-keys q
screen '^prompt>'
tm send-keys "clear; NO_COLOR=1 $poolstat --watch 0.2 -p $pid" Enter
screen '^why'
check "NO_COLOR: none" eval "! tm capture-pane -p -e | grep -q \$'\\e\\[[0-9;]*3[0-9]m'"
tm send-keys q
screen '^prompt>'
watch
screen '^why'
check "else there is colour" eval "tm capture-pane -p -e | grep -q \$'\\e\\[[0-9;]*3[0-9]m'"
echo calm >&"$hold_in"
read -r -t 60 answer <&"$hold_out"
eval "exec $hold_in>&-"
wait "$pid" 2>/dev/null
check "the process ends: the screen says so" screen 'There are no pools'
tm send-keys q
check "    and is left" screen '^ended: 0'
finish
