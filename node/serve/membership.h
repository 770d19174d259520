// SPDX-License-Identifier: BSD-3-Clause
/* The node as a member of the cluster: takes the map from the agent, holds just the shards that it
 * gives, and knows which of them it may serve. The node's thread. */
#pragma once

#include "common/base/err.h"
#include "common/base/str.h"

struct server;
struct agent_settings;

/* Makes the agent; it connects once membership_join was called. */
void membership_start(struct server *s, const struct agent_settings *as);
void membership_stop(struct server *s);
/* Registers with the coordinator at that address. */
bool membership_join(struct server *s, struct slice host, int port, struct errmsg *err) MUSTCHECK;
/* Weight or zone is another one now. */
void membership_changed(struct server *s);
/* requirepass is. */
void membership_password_changed(struct server *s);
/* The cluster's seed of hashes, in digits: it is this node's, too, as long as it has no data. */
void membership_take_seed(struct server *s, struct slice text);
/* Lines for INFO cluster. */
void membership_info(const struct server *s, struct str *to);
