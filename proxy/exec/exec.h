// SPDX-License-Identifier: BSD-3-Clause
/* Carries requests out: from parsed arguments to the reply in the client's output, for all clients
 * of one worker. Pure: connections, time and randomness come through exec/port.h.
 *
 * Downward: exec_command() routes a command and appends its bytes to lanes' outputs. Upward:
 * exec_replies() finds the answers' boundaries in a lane's input and delivers them in request
 * order.
 *
 * Always: a session's replies leave in the order of its requests; a reply reaches nobody but the
 * client whose call stands first in the lane; a write is never sent twice unless it surely was not
 * executed. */
#pragma once

#include "proxy/exec/port.h"
#include "proxy/route/request.h"
#include "proxy/route/session.h"

#include "common/base/rng.h"
#include "common/base/slice.h"
#include "common/model/map.h"

struct exec;
struct local_table;

enum read_from { READ_LEAST_LOADED, READ_ROUND_ROBIN, READ_WEIGHTED, READ_PRIMARY };

struct exec_settings {
    int64_t read_from; /* enum read_from */
    int64_t retry_max_attempts;
    int64_t retry_initial_delay_us;
    int64_t retry_max_delay_us;
    int64_t retry_backoff_percent; /* 200: each delay twice the last */
    int64_t request_timeout_us;
    int64_t failover_hold_us;
    int64_t hold_max_requests;
    int64_t hold_max_bytes;
    int64_t lane_max_in_flight; /* from here a lane stops its clients */
    int64_t lane_max_bytes;
    int64_t client_max_pending; /* requests of one client under way */
    int64_t pinned_max;         /* dedicated connections of WATCHing clients */
    int64_t databases;
    bool password_set; /* clients must AUTH */
};

struct exec_counters {
#define COUNTER(field, name, text) uint64_t field;
#include "proxy/exec/counters.def"
#undef COUNTER
};

struct exec *exec_new(const struct exec_port *port, void *env, const struct local_table *local,
                      const struct exec_settings *settings, uint64_t seed);
void exec_free(struct exec **x);
void exec_set(struct exec *x, const struct exec_settings *settings);
/* Takes the reference; replaces the snapshot and tries held requests anew. */
void exec_set_map(struct exec *x, struct map *m);
struct map *exec_map(const struct exec *x);
const struct exec_counters *exec_counters(const struct exec *x);
void exec_reset_counters(struct exec *x);
/* Requests without an answer: nodes' and held ones. */
size_t exec_open_requests(const struct exec *x);
