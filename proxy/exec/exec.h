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
#include "proxy/route/balance.h"
#include "proxy/route/request.h"
#include "proxy/route/session.h"

#include "common/base/rng.h"
#include "common/base/slice.h"
#include "common/model/map.h"

struct exec;
struct local_table;

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
    int64_t own_reads_us; /* so long after a write of its own a client's reads go to the primary; 0:
                             replicas have every write that was answered */
    const char *node_password; /* copied; NULL or "": none */
    bool password_set;         /* clients must AUTH */
    bool lanes_announced;      /* lanes say SHOAL LANE: their node exempts them from its limits */
    bool ears;                 /* there is a connection to each node that hears messages */
    bool trace;                /* requests keep their bytes until they are over */
};

struct exec_counters {
#define COUNTER(field, name, text) uint64_t field;
#include "proxy/exec/counters.def"
#undef COUNTER
};

/* `port` is copied. */
struct exec *exec_new(const struct exec_port *port, const struct local_table *local,
                      const struct exec_settings *settings, uint64_t seed);
/* Every session must be gone. */
void exec_free(struct exec **x);
void exec_set(struct exec *x, const struct exec_settings *settings);
/* Loop time, before the calls of each callback. */
void exec_set_now(struct exec *x, int64_t now_us);
/* The worker did not run for so long, until now: nodes are given that much more time. */
void exec_stalled(struct exec *x, int64_t us);
/* Takes the reference; replaces the snapshot and tries held requests anew. */
void exec_set_map(struct exec *x, struct map *m);
struct map *exec_map(const struct exec *x);
/* What a node's heartbeats say of its load, in percent of the average. */
void exec_set_load(struct exec *x, const char *node_id, uint32_t load_percent,
                   bool short_of_memory);
/* A node may be short of memory that did not say so yet: until then it is asked. */
void exec_doubt_memory(struct exec *x, int64_t until_us);
const struct exec_counters *exec_counters(const struct exec *x);
void exec_reset_counters(struct exec *x);
/* CLIENT PAUSE: commands that may write, or all, wait until then (loop time) or until
 * exec_unpause(). Never weakens or shortens a pause that is on. */
enum exec_pause { EXEC_PAUSE_NOT, EXEC_PAUSE_WRITE, EXEC_PAUSE_ALL };
void exec_pause(struct exec *x, enum exec_pause kind, int64_t until_us);
void exec_unpause(struct exec *x);
/* A script without keys is slow at some node: what others are answered who concern no shard either;
 * NULL: none is. */
const char *exec_busy(const struct exec *x);
/* Scripts that this worker has seen: EVALSHA works with them wherever it goes. */
void exec_script_note(struct exec *x, struct slice text);
bool exec_script_known(const struct exec *x, struct slice sha);
void exec_scripts_forget(struct exec *x);
/* Requests without an answer: nodes' and held ones. */
size_t exec_open_requests(const struct exec *x);
size_t exec_held_requests(const struct exec *x);

/* One parsed command. `bytes` are its bytes in `chunk`; NULL if it came inline. */
struct exec_input {
    const struct slice *argv;
    size_t argc;
    struct chunk *chunk;
    const char *bytes;
    size_t len;
};
enum exec_verdict {
    EXEC_TAKEN,
    EXEC_STOP, /* not taken: the session waits; parse it again after port->session_resume */
};
enum exec_verdict exec_command(struct exec *x, struct session *s, const struct exec_input *in);
/* An error that is no command's: protocol errors. In order with the replies; closes behind it. */
void exec_fatal(struct exec *x, struct session *s, const char *text);
/* The client has gone; what it has under way ends without a reply. */
void exec_session_gone(struct exec *x, struct session *s);
/* session->out was written to the last byte. */
void exec_session_drained(struct exec *x, struct session *s);
/* Its user, or what that may do, is another one: EXEC looks again at what was queued. */
void exec_session_user_changed(struct session *s);
/* Memory of what is queued since MULTI. */
size_t exec_session_queue_bytes(const struct session *s);
/* CLIENT UNBLOCK: what the session waits for (BLPOP) ends with nil, or an error. False: it does not
 * wait. */
bool exec_unblock(struct exec *x, struct session *s, bool error);
/* It waits for data at a node. */
bool exec_session_blocked(const struct session *s);
/* Sessions that do. */
size_t exec_blocked(const struct exec *x);
/* RESET and the like: no MULTI, no WATCH any more. */
void exec_session_reset_tx(struct exec *x, struct session *s);

/* --- from lanes --- */

void exec_lane_up(struct exec *x, struct lane *l);
enum lane_end {
    LANE_REFUSED,  /* never stood: refused, unreachable, timed out */
    LANE_BROKEN,   /* reset or closed by the node, or no RESP came */
    LANE_DISMISSED /* by ourselves */
};
/* The connection is gone (the port has dropped it): `written` bytes had left. */
void exec_lane_down(struct exec *x, struct lane *l, enum lane_end how, uint64_t written);
/* Bytes came; `in` lies in `chunk`. Returns how many were used; SIZE_MAX: no RESP, break the lane.
 * *want: how many are missing at least. */
size_t exec_replies(struct exec *x, struct lane *l, struct chunk *chunk, struct slice in,
                    size_t *want);
/* lane->out was written to the last byte. */
void exec_lane_drained(struct exec *x, struct lane *l);
/* port->wake_at's time has come. */
void exec_tick(struct exec *x);

/* What admin shows of this worker's connections to a node. */
struct exec_node_view {
    const char *node_id;
    uint32_t in_flight;
    uint32_t latency_us;
    uint32_t failures;
    bool down;
};
typedef void (*exec_node_fn)(void *arg, const struct exec_node_view *v);
void exec_each_node(struct exec *x, exec_node_fn fn, void *arg);
