// SPDX-License-Identifier: BSD-3-Clause
/* The coordinator's outside world: what it wants done. Called from inside the coordinator's own
 * functions; none of these may call back into it before returning. */
#pragma once

#include "common/model/map.h"
#include "common/wire/wire.h"

struct coordinator_env {
    void *arg;
    /* To the node on that link; a link that is gone swallows it. */
    void (*send)(void *arg, uint64_t link, const struct wire_message *m);
    /* Close the link once what was sent has left; no link-down event comes back. */
    void (*close)(void *arg, uint64_t link);
    /* Make `bytes` durable as the newest decision, then call coordinator_recorded(revision). One
     * at a time; retried by the callee until it is done. */
    void (*record)(void *arg, uint64_t revision, struct slice bytes);
    /* The map that proxies work with from now on; borrowed. Only recorded ones; some may be passed
     * over for newer ones. */
    void (*publish)(void *arg, struct map *m);
    /* Try to connect to the node's service port, then call coordinator_probed. */
    void (*probe)(void *arg, const char *id, const char *host, int port);
    /* The whole reply to an admin request. */
    void (*answer)(void *arg, uint64_t request, struct slice reply);
};
