// SPDX-License-Identifier: BSD-3-Clause
/* Directives of Redis 7.0 that are no options of ours: which values of them may stand in a file
 * that was made for Redis (redis_directives.def). */
#pragma once

#include "common/base/err.h"
#include "common/base/str.h"

#include <stdbool.h>

enum redis_directive {
    DIRECTIVE_UNKNOWN, /* not Redis's either */
    DIRECTIVE_DONE,    /* what is done here anyway */
    DIRECTIVE_IGNORED, /* has no effect */
    DIRECTIVE_REFUSED, /* the reason is in err */
};

enum redis_directive redis_directive_check(struct slice name, struct slice value,
                                           struct errmsg *err);
/* Calls `fn` with each directive that says what is done here anyway, and what that is. */
typedef void redis_directive_fn(void *arg, const char *name, const char *value);
void redis_directives_each(redis_directive_fn *fn, void *arg);
/* Its value is nobody's to see. */
bool redis_directive_is_secret(struct slice name);
/* Logs which had no effect: their names, each after a blank. Frees them. */
void redis_directives_log(struct str *ignored);
