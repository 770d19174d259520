// SPDX-License-Identifier: BSD-3-Clause
/* The sockets on which workers wait for clients: each has its own, on one port that they share.
 * Each worker's thread; listening_claim and the first start before there are any. */
#pragma once

#include "common/base/err.h"

#include <stdbool.h>

struct worker;

/* Workers share a port; another process must not join them unnoticed. A listener that does not
 * share finds out, and finds a free port where none was given. Nothing stays open. */
bool listening_claim(struct worker *w, int *port, struct errmsg *err);
/* In the place of what the worker has open, which stays if that fails. */
bool listening_start(struct worker *w, int *port, struct errmsg *err);
/* CONFIG SET port: as the worker's options say. */
void listening_move(struct worker *w);
