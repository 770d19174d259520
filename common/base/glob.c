// SPDX-License-Identifier: BSD-3-Clause
/* Every element but '*' takes exactly one byte, so only the last '*' ever needs to be tried again:
 * if a match exists at all, one exists that gives the earlier ones as little as possible. */
#include "common/base/glob.h"

#include <ctype.h>

/* Redis gives up on a pattern with more of them (it recurses for each), so that it matches nothing.
 */
#define STARS_MAX 1000

static unsigned char fold(char c, bool fold_case)
{
    return (unsigned char)(fold_case ? tolower((unsigned char)c) : (unsigned char)c);
}

/* The class whose '[' is at *at: does it hold `c`? Leaves *at behind its ']'; the pattern's end
 * closes a class as well. */
static bool class_holds(struct slice pattern, size_t *at, char c, bool fold_case)
{
    const char *p = pattern.ptr;
    size_t i = *at + 1;
    unsigned char folded = fold(c, fold_case);
    bool negated = i < pattern.len && p[i] == '^';
    bool held = false;

    for (i += negated; i < pattern.len && p[i] != ']'; i++) {
        if (p[i] == '\\' && i + 1 < pattern.len) {
            i++;
            held |= p[i] == c; /* an escaped letter is meant as it stands, whatever fold_case */
        } else if (i + 2 < pattern.len && p[i + 1] == '-') {
            unsigned char low = fold(p[i], fold_case);
            unsigned char high = fold(p[i + 2], fold_case);
            held |= MIN(low, high) <= folded && folded <= MAX(low, high);
            i += 2;
        } else {
            held |= fold(p[i], fold_case) == folded;
        }
    }
    *at = i < pattern.len ? i + 1 : i;
    return held != negated;
}

/* Does the element at *at, not a '*', match `c`? Leaves *at behind it. */
static bool element_matches(struct slice pattern, size_t *at, char c, bool fold_case)
{
    switch (pattern.ptr[*at]) {
    case '?':
        (*at)++;
        return true;
    case '[':
        return class_holds(pattern, at, c, fold_case);
    case '\\':
        if (*at + 1 < pattern.len) {
            (*at)++;
        }
        break;
    default:
        break;
    }
    char wanted = pattern.ptr[(*at)++];
    return fold(wanted, fold_case) == fold(c, fold_case);
}

bool glob_match(struct slice pattern, struct slice text, bool fold_case)
{
    size_t p = 0;
    size_t t = 0;
    unsigned stars = 0;
    size_t star_p = 0; /* the element behind the last '*' ... */
    size_t star_t = 0; /* ... and where it is tried next */

    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            while (p < pattern.len && pattern.ptr[p] == '*') {
                p++;
            }
            if (p == pattern.len) {
                return true;
            }
            if (++stars > STARS_MAX) {
                return false;
            }
            star_p = p;
            star_t = t;
        } else if (p < pattern.len && element_matches(pattern, &p, text.ptr[t], fold_case)) {
            t++;
        } else if (stars > 0) {
            p = star_p;
            t = ++star_t;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') {
        p++;
    }
    return p == pattern.len;
}
