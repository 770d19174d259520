// SPDX-License-Identifier: BSD-3-Clause
/* The lanes' part of exec's outside world on real connections: connects, moves bytes, reports ends.
 * One a worker, on its loop. */
#pragma once

#include "common/base/obj.h"

struct control;
struct exec;
struct exec_port;
struct loop;
struct back;

/* `control` may be NULL: then nobody is told of refused connections. */
struct back *back_new(struct loop *l, struct control *control);
/* After exec_free: no lane is left. */
void back_free(struct back **b);
/* Fills in the lanes' functions. */
void back_fill_port(struct back *b, struct exec_port *port);
void back_set_exec(struct back *b, struct exec *x);
void back_set(struct back *b, int64_t connect_timeout_ms, int keepalive_seconds);

/* System calls towards nodes so far, and bytes. */
struct back_totals {
    uint64_t reads, writes, bytes_in, bytes_out;
    uint32_t connections;
};
void back_totals(const struct back *b, struct back_totals *out);
