// SPDX-License-Identifier: BSD-3-Clause
/* How readily the kernel ends this process when the machine is out of memory: the directive
 * oom-score-adj, as /proc/self/oom_score_adj. Of Redis's three values the first counts: a node is
 * primary and replica at once, and has no child processes. The node's thread. */
#pragma once

#include "common/base/err.h"

#include <stdbool.h>

struct settings;

struct oom_score {
    bool on;
    int base; /* what it was before it was turned on */
};

/* Makes it what the settings say. False: the kernel refuses. */
bool oom_score_apply(struct oom_score *o, const struct settings *s, struct errmsg *err) MUSTCHECK;
