// SPDX-License-Identifier: BSD-3-Clause
/* Hosts' names, looked up beside the loop: a name server that is slow or dead would keep all that a
 * loop has to do for tens of seconds.
 *
 * Each loop has its own, made when the first name is asked for. A look-up is a thread of its own,
 * at most NAMES_AT_ONCE of them; other names wait. Who asks for a name that is being looked up
 * waits for the same answer, and answers are kept for a few seconds. Nobody waits for a look-up
 * that hangs, at the loop's end either: its thread goes by itself, some day.
 *
 * Threads and getaddrinfo rather than c-ares: that knows no nsswitch (names of the machine, of
 * systemd-resolved or a directory), and would have to be taught this loop. Not glibc's
 * getaddrinfo_a: its request can't be given up while it runs, so each would need the same care. */
#pragma once

#include "common/io/addr.h"
#include "common/io/loop.h"

#define NAMES_MAX            1024 /* known and waiting; one more is refused for now */
#define NAMES_AT_ONCE        4    /* one that hangs does not keep the others */
#define NAMES_LIFE_MS        5000 /* of an answer */
#define NAMES_LIFE_FAILED_MS 500

/* Embedded in who asks. `fn` is called once, from the loop, never from inside names_ask; `why` is 0
 * or as addr_look_up says, the address borrowed for the call. */
struct names_query;
typedef void (*names_fn)(struct names_query *q, int why, const struct addr *to);
struct names_query {
    struct list link; /* linked while it waits */
    names_fn fn;
    int port;
};

enum names_answer { NAMES_KNOWN, NAMES_REFUSED, NAMES_LATER };

void names_query_init(struct names_query *q, names_fn fn);
/* KNOWN: a numeric address, a path, or an answer that is fresh: `to` is set. REFUSED: `why` is. */
enum names_answer names_ask(struct loop *l, struct names_query *q, const char *host, int port,
                            struct addr *to, int *why) MUSTCHECK;
/* It is not called any more; whether or not it waits. */
void names_unask(struct names_query *q);

/* For tests: what looks names up, instead of addr_look_up; on any thread. */
typedef int (*names_look_up_fn)(const char *host, struct addr *to);
void names_look_up_by(struct loop *l, names_look_up_fn fn);
