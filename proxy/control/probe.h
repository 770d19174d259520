// SPDX-License-Identifier: BSD-3-Clause
/* Looks whether somebody listens at a node's service port: connects, and closes again. Only a
 * refusal is proof of anything. On the control thread. */
#pragma once

#include "proxy/coordinator/coordinator.h"

#include "common/io/loop.h"

struct probes;
typedef void (*probe_fn)(void *arg, const char *id, enum probe_result result);

struct probes *probes_new(struct loop *l, probe_fn fn, void *arg);
void probes_free(struct probes **p); /* those under way are forgotten */
/* The result comes from the loop, never from inside. */
void probes_start(struct probes *p, const char *id, const char *host, int port);
