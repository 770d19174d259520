// SPDX-License-Identifier: BSD-3-Clause
/* The only way across threads: a queue of messages with a wake-up of the receiving loop (ev_async).
 * Senders never block; messages of one sender arrive in order; one wake-up serves many messages. */
#pragma once

#include "common/io/loop.h"

struct mailbox;
/* Embedded at the start of a message struct that the sender allocates; the receiver frees it. */
struct mail {
    struct mail *next;
    int kind; /* the two ends agree */
};
typedef void (*mailbox_fn)(void *arg, struct mail *m);

/* Made by the thread that receives (or before it starts). */
struct mailbox *mailbox_new(struct loop *l, mailbox_fn fn, void *arg);
void mailbox_free(struct mailbox **m); /* undelivered mail is given to `fn` first */
/* Gives what has come to `fn` now; false if there was nothing. The receiving thread, or when that
 * has ended the one that cleans up. */
bool mailbox_deliver(struct mailbox *m);
/* Any thread. */
void mailbox_send(struct mailbox *m, struct mail *mail);
