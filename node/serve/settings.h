// SPDX-License-Identifier: BSD-3-Clause
/* What shoal-node can be told: one field for each row of node/options.def.
 *
 * Owner: main.c; the node's thread. CONFIG SET changes fields between commands and tells the server
 * (server_settings_changed), so nothing needs to look here twice for the same command. */
#pragma once

#include "common/app/option_types.h"
#include "common/app/options.h"

/* save: after so many seconds, if there were so many changes. */
#define SAVE_POINTS_MAX 16
struct save_points {
    int n;
    struct {
        int64_t seconds;
        int64_t changes;
    } of[SAVE_POINTS_MAX];
};

/* Bytes, or a percentage of maxmemory. */
struct memory_share {
    uint64_t amount;
    bool percent;
};

/* oom-score-adj; yes is relative. */
enum oom_score_adj { OOM_SCORE_NO, OOM_SCORE_YES, OOM_SCORE_RELATIVE, OOM_SCORE_ABSOLUTE };
struct oom_score_values {
    int of[3];
};

enum pubsub_default { PUBSUB_OPEN, PUBSUB_CLOSED };
enum protection { PROTECT_NO, PROTECT_YES, PROTECT_LOCAL };

/* The order of these includes is their meaning. */
/* clang-format off */
struct settings {
#define OPTIONS_AS_FIELDS
#include "common/app/options_macros.h"
#include "node/options.def"
#include "common/app/options_macros.h"
};
/* clang-format on */

/* maxmemory-clients in bytes; 0: no limit. */
uint64_t settings_clients_limit(const struct settings *s);
/* The rows, constant. */
const struct options_table *settings_options(void);
