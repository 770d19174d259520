// SPDX-License-Identifier: BSD-3-Clause
/* Client tracking (docs/PUBSUB.md, "Tracking"). A client that tracks gets lanes of its own, one to
 * each node that it uses (with BCAST: to all), where the node tracks for it as for any client: so
 * what was remembered for whom, NOLOOP and CLIENT CACHING are the node's to know, and an
 * invalidation comes behind the very reply that it is about. They end with the tracking.
 *
 * Always: the client hears of every change of what it read while it tracked, behind the reply by
 * which it read it. When a shard has another primary that is asked to go on (own_keys.c); what may
 * have changed in between counts as changed, and where not even that is known, everything does. */
#pragma once

#include "common/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct exec;
struct request;
struct session;

enum own_flag { OWN_BCAST = 1, OWN_OPTIN = 2, OWN_OPTOUT = 4, OWN_NOLOOP = 8 };

/* CLIENT TRACKING ON; `r` is answered +OK when the nodes know. Nothing of the session is under way
 * but r. `redirect`: who is told in its place; 0: itself. Bytes are copied. */
void exec_track(struct exec *x, struct session *s, uint32_t flags, uint64_t redirect,
                const struct slice *prefixes, size_t n, struct request *r);
/* OFF, RESET, or the session goes. */
void exec_untrack(struct exec *x, struct session *s);

struct own_view {
    bool on;
    uint32_t flags;
    uint64_t redirect;
    bool broken;  /* whom it redirects to has gone */
    bool caching; /* CLIENT CACHING: of the next command */
    const struct slice *prefixes;
    size_t n_prefixes;
};
struct own_view exec_tracking(const struct session *s);
/* CLIENT CACHING YES or NO, as the mode has it. */
void exec_set_caching(struct session *s);

/* Tells another session in the place of one that redirects to it: `value` is what became invalid,
 * as RESP3. False: it can't be told (RESP2, and not subscribed). */
bool exec_invalidate(struct exec *x, struct session *to, struct slice value);
/* Whom it redirects to has gone. */
void exec_redirect_broken(struct exec *x, struct session *s);
