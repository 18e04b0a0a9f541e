#!/bin/bash
# SPDX-License-Identifier: MIT
# Includes go one way (tools -> policies, pool -> lib), and the library folders
# keep their promises: no printing, no ending the process, no constructors.
set -u
cd "$(dirname "$0")/.." || exit 2
shopt -s nullglob lastpipe # lastpipe: the end of a pipe is this shell, so that it can set `failed`
failed=0

# Reports the lines on its input, if there are any.
refuse() { # what
    local lines
    lines=$(cat)
    if [ -n "$lines" ]; then
        echo "$1:"
        echo "$lines" | sed 's/^/    /'
        failed=1
    fi
}

# Quoted includes of a folder, "file:line:#include ...", with the folder's own and `allowed` left out.
check_includes() { # folder, allowed (extended regular expression)
    grep -En '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$1"/*.[ch] /dev/null |
        grep -Ev "include[[:space:]]*\"($2|[a-z0-9_]+\.h)" |
        refuse "$1/ includes what it must not see"
}
check_includes lib 'spillway/'
check_includes pool 'spillway/|\.\./lib/'
check_includes policies 'spillway/|\.\./lib/'
check_includes tools 'spillway/|common/|spillbench/|poolstat/|\.\./lib/|\.\./pool/|\.\./policies/'
check_includes tools/common 'spillway/'
check_includes tools/poolstat 'spillway/|\.\./common/|\.\./\.\./(lib|pool|policies)/'
check_includes tools/spillbench 'spillway/|\.\./common/|\.\./\.\./(lib|pool|policies)/'
for header in lib/include/spillway/*.h; do
    grep -Hn '#include "' "$header" | grep -Ev '#include "[a-z_]+\.h"' |
        refuse "a public header includes something that is not public"
done

sources=(lib/*.c pool/*.c policies/*.c lib/*.h pool/*.h policies/*.h)
# The code without comments and texts as "file:line:text".
code=$(for file in "${sources[@]}"; do
    awk -v file="$file" '{
        line = $0; out = ""
        gsub(/\\./, "", line); gsub(/"[^"]*"/, "\"\"", line)
        while (line != "") {
            if (inside) {
                at = index(line, "*/")
                if (!at) break
                line = substr(line, at + 2); inside = 0
            } else {
                at = index(line, "/*"); slash = index(line, "//")
                if (slash && (!at || slash < at) && substr(line, slash - 1, 1) != ":") {
                    out = out substr(line, 1, slash - 1); break
                }
                if (!at) { out = out line; break }
                out = out substr(line, 1, at - 1); line = substr(line, at + 2); inside = 1
            }
        }
        print file ":" FNR ":" out
    }' "$file"
done)
calls() { # names, as an extended regular expression
    grep -E ":.*(^|[^a-zA-Z0-9_.>])($1)[[:space:]]*\(" <<<"$code"
}
calls '(v?f?printf|v?dprintf|puts|fputs|putchar|perror|v?syslog)' |
    grep -v 'format(printf' | refuse "a library prints"
calls '_?exit|_Exit|quick_exit|abort|raise|assert' | refuse "a library ends the process"
calls 'fork|vfork|execv[pe]*|execl[pe]*|system|popen|posix_spawnp?' | refuse "a library starts processes"
calls 'signal|sigaction|sigprocmask|atexit|on_exit' | refuse "a library touches signals or the exit"
calls 'getenv' | refuse "getenv instead of secure_getenv"
calls 'atoi|atol|atof|strcpy|strcat|sprintf|vsprintf|gets' | refuse "a call that cannot report an overflow"
grep -E '\b(constructor|destructor)\b' <<<"$code" | grep __attribute__ | refuse "a library has constructors"
grep -E '\b(stdout|stderr|stdin|STD(IN|OUT|ERR)_FILENO)\b' <<<"$code" |
    grep -v '^lib/log\.c:' | refuse "a library uses a standard stream outside lib/log.c"
# An object with static storage that can be written; const ones, relocated or not, are fine.
internal=${BUILD:-build}/libspillway-internal.a
if [ -f "$internal" ]; then
    # Left of the tab: address, flags (O is an object), section; right of it: size and name.
    objdump -t "$internal" | awk -F '\t' '
        /\.o: +file format/ { object = $1; sub(/:.*/, "", object) }
        NF == 2 && $1 !~ / d / && $1 ~ / (\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ &&
            $1 !~ / \.data\.rel\.ro/ { print object ": " $2 }' | refuse "writable globals"
fi

# Long functions are only told: from a line that opens one in column 0 to the closing brace.
for file in lib/*.c pool/*.c policies/*.c tools/*.c tools/*/*.c; do
    awk -v file="$file" '
        /^\{/ { start = FNR }
        /^\}/ && start { if (FNR - start > 90) print "note: " file ":" start ": " FNR - start " lines"; start = 0 }
    ' "$file"
done
for file in $(ls lib/*.[ch] lib/include/spillway/*.h pool/*.[ch] policies/*.[ch] tools/*.[ch] tools/*/*.[ch] tests/*.[ch] 2>/dev/null); do
    head -n 1 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file" 
done | refuse "no SPDX line first"
exit $failed
