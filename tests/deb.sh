#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs the packages of `make deb` into a system of its own, builds and runs a program there with
# nothing but them and a compiler, runs the tools, removes them, and looks for what is left.
#
#     BUILD=build tests/deb.sh
#
# The system is a fresh Debian where debootstrap can make one (root, and a mirror), else a folder
# that only dpkg looks into: then the program is built with this machine's compiler. SYSTEM=folder
# takes that way in any case, and so does who is not root.
set -u
cd "$(dirname "$0")/.." || exit 2
build=$(realpath "${BUILD:-build}")
packages=(libspillway0 libspillway-dev spillway-tools)
shopt -s nullglob
debs=()
for package in "${packages[@]}"; do
    debs+=("$build/deb/${package}"_*.deb)
done
[ ${#debs[@]} -eq ${#packages[@]} ] || {
    echo "deb: no packages in $build/deb: run make deb"
    exit 1
}
[ "$(id -u)" -eq 0 ] || {
    # Root of a namespace of its own is enough for a folder.
    unshare --map-root-user true 2>/dev/null && SYSTEM=folder exec unshare --map-root-user bash tests/deb.sh
    echo "deb: only root can install packages, be it into a folder"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}
work=$(mktemp -d "$build/deb-check.XXXXXX") || exit 2
cleanup() {
    mountpoint -q "$work/root/proc" && umount "$work/root/proc"
    rm -rf "$work"
}
trap cleanup EXIT
passed=0 failed=0
check() { # what, command...
    local what=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what"
        tail -n 20 "$work/out" | sed 's/^/        /'
    fi
}

# Everything but what dpkg, apt and the linker's cache keep for themselves.
files_of() { # root
    find "$1" -xdev \( -path "$1/proc" -o -path "$1/tmp" -o -path "$1/var/lib/dpkg" -o -path "$1/var/log" \
        -o -path "$1/var/lib/apt" -o -path "$1/var/cache" -o -path "$1/etc/ld.so.cache" \) -prune -o -print | sort
}

bootstrap() {
    local codename mirror
    [ "${SYSTEM:-}" != folder ] || return 1
    command -v debootstrap >/dev/null || return 1
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    mirror=$(apt-cache policy | sed -nE "s|^ *[0-9]+ (https?://[^ ]*) $codename/main .*|\1|p" | head -n 1)
    [ -n "$codename" ] && [ -n "$mirror" ] || return 1
    timeout 900 debootstrap --variant=minbase --include=gcc,libc6-dev,pkg-config,ca-certificates \
        "$codename" "$root" "$mirror" >"$work/bootstrap.log" 2>&1 || return 1
    cp /etc/resolv.conf "$root/etc/" 2>/dev/null
    mount -t proc proc "$root/proc"
}

root=$work/root
if bootstrap; then
    echo "a fresh system by debootstrap"
    # What the packages need is the system's; what it is without them is looked at first.
    needs=$(dpkg-deb -f "${debs[1]}" Depends | tr ',' '\n' | sed -nE 's/^ *(lib[a-z0-9-]+-dev).*/\1/p' | grep -v spillway)
    # shellcheck disable=SC2086
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
        $needs libnuma1 liburing2 >"$work/apt.log" 2>&1 || tail -n 5 "$work/apt.log"
    files_of "$root" >"$work/before"
    cp "${debs[@]}" "$root/tmp/"
    cp tests/external/external.c "$root/tmp/"
    check "apt-get install" chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get -q -y install --no-install-recommends /tmp/*.deb'
    inside() { chroot "$root" "$@"; }
    check "a program builds with them" inside sh -c \
        'gcc -std=gnu11 -Wall -Wextra -Werror -o /tmp/external /tmp/external.c $(pkg-config --cflags --libs spillway)'
    check "    and runs" inside sh -c 'TMPDIR=/var/tmp /tmp/external | grep "hello from"'
    check "    statically" inside sh -c \
        'gcc -std=gnu11 -o /tmp/external /tmp/external.c $(pkg-config --static --cflags --libs spillway | sed s/-lspillway/-l:libspillway.a/) && TMPDIR=/var/tmp /tmp/external'
    sed -n '/^```c$/,/^```$/{/^```/d;p}' README.md >"$root/tmp/late.c"
    check "README's program, with its command" inside sh -c 'cd /tmp &&
        cc late.c $(pkg-config --cflags --libs spillway) -o late && head -c 64M /dev/urandom >/var/tmp/in &&
        SPILLWAY_MEMORY=16MiB TMPDIR=/var/tmp ./late </var/tmp/in | cmp - /var/tmp/in && rm /var/tmp/in'
    check "poolstat" inside poolstat
    check "poolstat doctor: nothing is broken" inside sh -c 'poolstat doctor; [ $? -le 1 ]'
    check "spillpipe" inside sh -c 'head -c 64M /dev/urandom >/var/tmp/in &&
        spillpipe --memory 4M </var/tmp/in | (sleep 0.3; cmp - /var/tmp/in) && rm /var/tmp/in'
    remove=(chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -q -y purge "${packages[@]}")
else
    echo "a folder for dpkg: no fresh system can be made here"
    mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
    : >"$root/var/lib/dpkg/status"
    files_of "$root" >"$work/before"
    check "dpkg --install" dpkg --root="$root" --force-depends --force-not-root --install "${debs[@]}"
    export PKG_CONFIG_SYSROOT_DIR=$root
    PKG_CONFIG_PATH=$(dirname "$(find "$root/usr/lib" -name spillway.pc)")
    export PKG_CONFIG_PATH LD_LIBRARY_PATH=${PKG_CONFIG_PATH%/pkgconfig}
    check "a program builds with them" sh -c \
        "cc -std=gnu11 -Wall -Wextra -Werror -o $work/external tests/external/external.c \$(pkg-config --cflags --libs spillway)"
    check "    and runs" sh -c "TMPDIR=$work $work/external | grep 'hello from'"
    check "poolstat" "$root/usr/bin/poolstat"
    remove=(dpkg --root="$root" --force-depends --purge "${packages[@]}")
fi
check "a manual page for each function" eval '[ "$(ls "$root"/usr/share/man/man3/spw_*.3.gz | wc -l)" -gt 50 ]'
check "removed" "${remove[@]}"
files_of "$root" >"$work/after"
check "    nothing is left" eval '[ -z "$(comm -13 "$work/before" "$work/after" | grep -vE "^$root/(usr|usr/.*[^/])$" | tee /dev/stderr)" ] &&
    [ -z "$(grep -iE "spillway|poolstat|spillpipe|spillbench" "$work/after" | grep -v "/tmp/" | tee /dev/stderr)" ]'
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
