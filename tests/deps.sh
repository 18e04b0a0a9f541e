#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs those of the named Debian packages that are missing; says nothing when none is.
#
#     tests/deps.sh PACKAGE...
set -u

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "deps: no apt here; the build needs what Debian calls: $*"
    exit 0
fi

missing=
for package in "$@"; do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in
    ?i*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "deps: missing, and neither root nor sudo without a password to install them with:$missing" >&2
    echo "deps: as root: apt-get install$missing" >&2
    exit 1
fi

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
run() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" \
        >"$log" 2>&1 </dev/null
}

echo "deps: installing$missing"
# shellcheck disable=SC2086
if ! run install -y --no-install-recommends $missing; then
    # A machine that has never fetched the lists, or fetched them long ago.
    if ! run update || ! run install -y --no-install-recommends $missing; then
        cat "$log" >&2
        echo "deps: could not install:$missing" >&2
        exit 1
    fi
fi
