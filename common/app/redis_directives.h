// SPDX-License-Identifier: BSD-3-Clause
/* Directives of Redis 7.0 that are no options of ours: which values of them may stand in a file
 * that was made for Redis (redis_directives.def). */
#pragma once

#include "common/base/err.h"
#include "common/base/str.h"

enum redis_directive {
    DIRECTIVE_UNKNOWN, /* not Redis's either */
    DIRECTIVE_DONE,    /* what is done here anyway */
    DIRECTIVE_IGNORED, /* has no effect */
    DIRECTIVE_REFUSED, /* the reason is in err */
};

enum redis_directive redis_directive_check(struct slice name, struct slice value,
                                           struct errmsg *err);
/* Logs which had no effect: their names, each after a blank. Frees them. */
void redis_directives_log(struct str *ignored);
