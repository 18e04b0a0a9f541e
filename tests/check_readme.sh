#!/bin/bash
# SPDX-License-Identifier: MIT
# README.md's table of settings is the one that the library has.
set -u
cd "$(dirname "$0")/.." || exit 2
if [ ! -f README.md ]; then
    echo "there is no README.md"
    exit 77
fi
if ! "${BUILD:-build}/mkman" readme <README.md | diff -u README.md - ; then
    echo "run: make readme"
    exit 1
fi
