# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by the demo and by tests: data as people have it.

# The machine's own /usr as a tar stream, again from its start where the tree is smaller.
stream() { # bytes
    local tar=(tar c -C / --ignore-failed-read)
    "${tar[@]}" --no-recursion usr >/dev/null 2>&1 || return 1
    (
        # A file that changes meanwhile is no reason to end; a pipe that nobody reads any more is.
        while :; do
            "${tar[@]}" usr 2>/dev/null
            [ $? -le 1 ] || break
        done
    ) | head -c "$1"
}
