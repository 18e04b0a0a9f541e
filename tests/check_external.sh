#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs below build/, then builds somebody else's programs in C and C++ with
# nothing but pkg-config, shared and static, and runs them. Uninstalls at the
# end, after which nothing may be left.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
source=tests/external
# The C++ variant of a C compiler, unless told.
case ${CC:-cc} in
*clang*) cxx=${CXX:-clang++} ;;
*) cxx=${CXX:-c++} ;;
esac
work=$(mktemp -d "$build/external.XXXXXX") || exit 2
work=$(cd "$work" && pwd)
trap 'rm -rf "$work"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
failed=0

prefix=/opt/spillway
dest=$work/dest
make -s install "DESTDIR=$dest" "PREFIX=$prefix" || exit 1
export PKG_CONFIG_PATH=$dest$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest

fail() {
    echo "failed: $*"
    failed=1
}

# name, source, compiler and its flags; $static is --static or nothing
build_and_run() {
    local name=$1 file=$2 flags out
    shift 2
    flags=$(pkg-config ${static:+"$static"} --cflags --libs spillway) || return 1
    if [ -n "$static" ]; then
        flags=${flags/-lspillway/-l:libspillway.a}
    fi
    # shellcheck disable=SC2086
    "$@" -Wall -Wextra -Werror -o "$work/$name" "$file" $flags || return 1
    out=$(LD_LIBRARY_PATH=$dest$prefix/lib TMPDIR="$work" "$work/$name") || return 1
    echo "$name: $out"
    [[ $out == "hello from "* ]] || return 1
    if [ -z "$static" ]; then
        readelf -d "$work/$name" | grep -q 'NEEDED.*libspillway\.so\.0\]' || return 1
    fi
}

static=
build_and_run c_shared $source/external.c "${CC:-cc}" -std=gnu11 || fail "C, shared"
build_and_run own_shared $source/policy.c "${CC:-cc}" -std=gnu11 || fail "policies of one's own, shared"
static=--static
build_and_run c_static $source/external.c "${CC:-cc}" -std=gnu11 || fail "C, static"
build_and_run own_static $source/policy.c "${CC:-cc}" -std=gnu11 || fail "policies of one's own, static"
# Every public header stands alone, in strict C and C++.
for header in "$dest$prefix"/include/spillway/*.h; do
    name=$(basename "$header")
    echo "#include <spillway/$name>" >"$work/alone.c"
    "${CC:-cc}" -std=c99 -pedantic -Wall -Wextra -Wundef -Werror -fsyntax-only \
        -I"$dest$prefix/include" "$work/alone.c" || fail "$name alone in C99"
done
if command -v "$cxx" >/dev/null; then
    static=
    build_and_run cpp_shared $source/external.cpp "$cxx" -std=c++11 || fail "C++, shared"
    static=--static
    build_and_run cpp_static $source/external.cpp "$cxx" -std=c++11 || fail "C++, static"
    for header in "$dest$prefix"/include/spillway/*.h; do
        name=$(basename "$header")
        echo "#include <spillway/$name>" >"$work/alone.cpp"
        for standard in c++98 c++11; do
            "$cxx" -std=$standard -pedantic -Wall -Wextra -Wundef -Werror -fsyntax-only \
                -I"$dest$prefix/include" "$work/alone.cpp" || fail "$name alone in $standard"
        done
    done
else
    echo "no C++ compiler: that half was left out"
fi

make -s uninstall "DESTDIR=$dest" "PREFIX=$prefix" || fail "uninstall"
left=$(find "$dest" ! -type d)
[ -z "$left" ] || fail "left after uninstall: $left"
exit $failed
