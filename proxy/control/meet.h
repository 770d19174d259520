// SPDX-License-Identifier: BSD-3-Clause
/* CLUSTER MEET host port: tells a node that runs without a coordinator, at its service port, to
 * register with this one (SHOAL JOIN host port), and passes its answer on. On the control thread.
 */
#pragma once

#include "common/base/slice.h"
#include "common/io/loop.h"

#include <stdint.h>

struct meets;
/* The whole reply to the request; from the loop or from inside meets_start. */
typedef void (*meet_fn)(void *arg, uint64_t request, struct slice reply);

/* `host` and `port`: where this coordinator listens. A wildcard host is replaced by the address
 * that the connection to the node has at our end. */
struct meets *meets_new(struct loop *l, const char *host, int port, meet_fn fn, void *arg);
void meets_free(struct meets **m);
/* argv: CLUSTER MEET host port [password]. */
void meets_start(struct meets *m, uint64_t request, const struct slice *argv, size_t argc);
