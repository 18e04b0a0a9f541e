#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes Debian packages of the release in $BUILD, below $BUILD/deb, and lets lintian look at them.
#
#     BUILD=build VERSION=0.1.0 PACKAGES='what building needs' sh tools/debian.sh
#
# Dates are those of the last commit, so that the same commit makes the same packages. Who answers
# for the packages is said here; MAINTAINER='Name <address>' make deb says somebody else.
set -eu
maintainer=${MAINTAINER:-The Spillway authors <spillway@spillway.invalid>}
template=$(dirname "$0")/debian
dist=spillway-$VERSION
deb=$BUILD/deb
tree=$deb/$dist

rm -rf "$deb"
mkdir -p "$deb"
cp "$BUILD/$dist.tar.gz" "$deb/spillway_$VERSION.orig.tar.gz"
tar -xzf "$BUILD/$dist.tar.gz" -C "$deb"
cp -r "$template" "$tree/debian"

depends=$(echo "debhelper-compat (= 13), $(echo "$PACKAGES" | sed 's/libc6-dev//; s/^ *//; s/  */, /g')")
dev=$(echo "$PACKAGES" | tr ' ' '\n' | grep -E '^lib(numa|uring|lz4|zstd)' | paste -sd, | sed 's/,/, /g')
symbols=$(sed -n 's/^\(SPILLWAY_[0-9.]*\) {.*/\1/p' "$tree/lib/spillway.map")
date=$(date -R -u -d "@$(git log -1 --format=%ct)")
for file in "$tree"/debian/*; do
    [ -f "$file" ] || continue
    sed -i -e "s/@BUILD_DEPENDS@/$depends/" -e "s/@DEV_DEPENDS@/$dev/" -e "s/@VERSION@/$VERSION/" \
        -e "s|@MAINTAINER@|$maintainer|" -e "s/@DATE@/$date/" -e "s/@SYMBOL_VERSION@/$symbols/" -e "s/@SINCE@/$VERSION/" "$file"
done
sed -e '1,/^Copyright/d' -e 's/^$/./' -e 's/^/ /' "$tree/LICENSE" | sed '1{/^ \.$/d}' >"$deb/license"
sed -i -e "/^@LICENSE@/{r $deb/license" -e 'd}' "$tree/debian/copyright"
rm "$deb/license"

log=$deb/build.log
if ! (cd "$tree" && unset MAKEFLAGS MFLAGS MAKELEVEL BUILD PREFIX DESTDIR CFLAGS && \
    dpkg-buildpackage -us -uc "-j$(nproc)") >"$log" 2>&1; then
    tail -n 60 "$log"
    exit 1
fi
ls "$deb"/*.deb "$deb"/*.dsc
# Not told: what is so because nobody has uploaded it to Debian yet.
lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs \
    --allow-root "$deb"/*.changes
