#!/usr/bin/env bash
# Calls that have a better or a single place here, and things every file must have.
set -u
cd "$(dirname "$0")/../.."
bad=0
mapfile -t ours < <(git ls-files -co --exclude-standard 'common/*.[ch]' 'proxy/*.[ch]' 'node/*.[ch]')
mapfile -t all < <(git ls-files -co --exclude-standard '*.[ch]')

# Sources without comments and strings, as "file:line:text".
stripped() {
    [ $# = 0 ] || awk '
        FNR == 1 { inside = 0 }
        {
            line = $0; out = ""
            gsub(/\\./, "", line)
            gsub(/"[^"]*"/, "\"\"", line)
            while (line != "") {
                if (inside) {
                    if ((i = index(line, "*/")) == 0) break
                    line = substr(line, i + 2); inside = 0
                } else {
                    i = index(line, "/*"); j = index(line, "//")
                    if (j && (!i || j < i)) { out = out substr(line, 1, j - 1); break }
                    if (!i) { out = out line; break }
                    out = out substr(line, 1, i - 1); line = substr(line, i + 2); inside = 1
                }
            }
            print FILENAME ":" FNR ":" out
        }' "$@"
}
text=$(mktemp)
trap 'rm -f "$text"' EXIT
stripped "${ours[@]}" >"$text"

# ban WHY PATTERN [PATHS WHERE IT IS FINE]
ban() {
    local found
    found=$(grep -E "^[^:]+:[0-9]+:(|.*[^A-Za-z0-9_>.])($2)" "$text" | grep -vE "^(${3:-/})")
    [ -z "$found" ] || { printf '%s\n' "$found" | sed "s|$| -- $1|"; bad=1; }
}
ban "no bound" '(strcpy|strcat|sprintf|vsprintf|gets|strtok)\('
ban "says nothing about errors: use common/base/num.h" '(atoi|atol|atoll|atof)\('
ban "allocate through common/base/mem.h" '(malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign)\(' 'common/base/mem\.[ch]:'
ban "ev_now is wall-clock: use loop_now_us" 'ev_now\('
ban "clocks belong to common/io" '(clock_gettime|gettimeofday|time)\(' 'common/io/'
ban "threads belong to common/io" 'pthread_create\(|thrd_create\(' 'common/io/'
ban "randomness is passed in: common/base/rng.h" '(rand|random|srand|drand48)\('
ban "runs a shell" '(system|popen)\('
# DEBUG SLEEP is for blocking the loop; loop_gather waits some 30 us for more requests.
ban "blocks the loop" '(sleep|usleep|nanosleep)\(' 'node/admin/admin_debug\.c:|common/io/loop\.c:'
ban "varying length on the stack" 'alloca\('

! git grep -nE '^(<<<<<<<|>>>>>>>|=======$)' -- ':!*.md' || { echo "conflict markers"; bad=1; }
for file in "${all[@]}"; do
    [ "$(head -n 1 "$file")" = '// SPDX-License-Identifier: BSD-3-Clause' ] || { echo "$file:1: no SPDX line"; bad=1; }
    case "$file" in
    *.h) grep -qE '^#pragma once|No #pragma once' "$file" || { echo "$file:1: no #pragma once"; bad=1; } ;;
    esac
done
[ "${#ours[@]}" = 0 ] || {
    ! grep -nE '\b(TODO|FIXME|XXX)\b' "${ours[@]}" || bad=1
    # Which bug is planted is one word that all of a test build looks at; what a type can do is
    # constant.
    ! grep -nE '^extern [^(]*;' $(printf '%s\n' "${ours[@]}" | grep '\.h$' | grep -v '/plant\.h$') | grep -v 'extern const struct object_ops' || { echo "no extern variables"; bad=1; }
}
exit $bad
