// SPDX-License-Identifier: BSD-3-Clause
/* What shoal-proxy can be told: one field for each row of proxy/options.def.
 *
 * main.c reads the first set; each worker owns a copy (worker->options), replaced as a whole by
 * workers_set_options(). */
#pragma once

#include "common/app/option_types.h"
#include "common/app/options.h"

enum pubsub_default { PUBSUB_OPEN, PUBSUB_CLOSED };
enum protection { PROTECT_NO, PROTECT_YES, PROTECT_LOCAL };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
enum cluster_view { VIEW_PROXY, VIEW_NODES };
enum replication_mode { REPLICATE_ASYNC, REPLICATE_SYNC };
enum consistency { CONSISTENCY_EVENTUAL, CONSISTENCY_STRONG };

/* The order of these includes is their meaning. */
/* clang-format off */
struct proxy_options {
#define OPTIONS_AS_FIELDS
#include "common/app/options_macros.h"
#include "proxy/options.def"
#include "common/app/options_macros.h"
};
/* clang-format on */

/* The rows, constant. */
const struct options_table *proxy_options_table(void);

/* The port on which nodes register, from `control-port` and `port`. */
int proxy_options_control_port(const struct proxy_options *o);
/* What must hold between directives, each of which is possible by itself. */
bool proxy_options_check(const struct proxy_options *o, struct errmsg *err) MUSTCHECK;
/* The password of lanes to nodes, "" for none. */
const char *proxy_options_node_password(const struct proxy_options *o);
