#!/usr/bin/env bash
# Each header compiles alone, and twice. CFLAGS_LINT comes from the Makefile (see run).
set -u
cd "$(dirname "$0")/../.."
check() {
    printf '#include "%s"\n#include "%s"\n' "$1" "$1" |
        gcc $CFLAGS_LINT -fsyntax-only -x c - || { echo "$1 does not compile alone"; exit 1; }
}
export -f check
git ls-files -co --exclude-standard 'common/*.h' 'proxy/*.h' 'node/*.h' 'tests/*.h' |
    xargs -r -P "${JOBS:-2}" -I{} bash -c 'check {}'
