// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/redis_directives.h"

#include "common/base/log.h"
#include "common/base/num.h"
#include "common/base/obj.h"

#define LOG_LINE 800 /* bytes of names in one */

struct directive {
    const char *name;
    const char *does; /* NULL: no value */
    const char *ignores;
    const char *why;
};

static const struct directive directives[] = {
#define DIRECTIVE(name, does, ignores, why) {name, does, ignores, why},
#include "common/app/redis_directives.def"
#undef DIRECTIVE
};

/* "64mb" and 67108864 are the same. */
static bool is_same(struct slice value, struct slice listed)
{
    uint64_t a, b;
    if (value.len == listed.len && strncasecmp(value.ptr, listed.ptr, value.len) == 0) {
        return true;
    }
    return num_parse_memory(value, &a) && num_parse_memory(listed, &b) && a == b;
}

static bool is_listed(struct slice value, const char *list)
{
    if (list == NULL) {
        return false;
    }
    if (strcmp(list, "*") == 0) {
        return true;
    }
    for (;;) {
        size_t len = strcspn(list, "|");
        if (is_same(value, slice_of(list, len))) {
            return true;
        }
        if (list[len] == '\0') {
            return false;
        }
        list += len + 1;
    }
}

static void refuse(const struct directive *d, struct errmsg *err)
{
    if (d->does == NULL && d->ignores == NULL) {
        errmsg_set(err, "not possible: %s", d->why);
    } else {
        const char *a = d->does == NULL ? "" : d->does[0] == '\0' ? "\"\"" : d->does;
        const char *b = d->ignores == NULL ? "" : d->ignores;
        errmsg_set(err, "only %s%s%s is possible: %s", a, a[0] != '\0' && b[0] != '\0' ? "|" : "",
                   b, d->why);
    }
}

enum redis_directive redis_directive_check(struct slice name, struct slice value,
                                           struct errmsg *err)
{
    for (size_t i = 0; i < ARRAY_LEN(directives); i++) {
        const struct directive *d = &directives[i];
        if (!slice_is(name, d->name)) {
            continue;
        }
        if (is_listed(value, d->does)) {
            return DIRECTIVE_DONE;
        }
        if (is_listed(value, d->ignores)) {
            return DIRECTIVE_IGNORED;
        }
        refuse(d, err);
        return DIRECTIVE_REFUSED;
    }
    return DIRECTIVE_UNKNOWN;
}

void redis_directives_each(redis_directive_fn *fn, void *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(directives); i++) {
        if (directives[i].does != NULL && strpbrk(directives[i].does, "|*") == NULL) {
            fn(arg, directives[i].name, directives[i].does);
        }
    }
}

bool redis_directive_is_secret(struct slice name)
{
    return slice_is(name, "masterauth") || slice_is(name, "masteruser");
}

void redis_directives_log(struct str *ignored)
{
    struct slice rest = str_slice(ignored);
    while (rest.len > 0) {
        size_t n = rest.len;
        if (n > LOG_LINE) {
            for (n = LOG_LINE; rest.ptr[n] != ' ';) {
                n--;
            }
        }
        log_event(LOG_NOTICE, "config", "directives without effect here:%.*s", (int)n, rest.ptr);
        rest = slice_of(rest.ptr + n, rest.len - n);
    }
    str_fini(ignored);
}
