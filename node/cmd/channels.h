// SPDX-License-Identifier: BSD-3-Clause
/* Who listens to which channel. A subscriber belongs to a connection; one that speaks for many (a
 * proxy worker's ear) says for how many with each name. The node's thread. Pure. */
#pragma once

#include "common/base/list.h"
#include "common/base/slice.h"

struct channels;

enum subject { SUBJECT_CHANNEL, SUBJECT_PATTERN, SUBJECT_SHARD, SUBJECTS };

struct subscriber {
    struct list subscriptions[SUBJECTS]; /* in the order of their coming */
    uint32_t count[SUBJECTS];
};

struct channels *channels_new(void);
void channels_free(struct channels **ch); /* nobody is subscribed */

void subscriber_init(struct subscriber *s);
/* `weight`: how many are behind it, above 0; replaces what was said before. True: it is new. */
bool channels_subscribe(struct channels *ch, struct subscriber *s, enum subject what,
                        struct slice name, uint32_t weight);
/* False: it was not subscribed. */
bool channels_unsubscribe(struct channels *ch, struct subscriber *s, enum subject what,
                          struct slice name);
/* Ends its oldest subscription of a kind; the name is valid until the next call on `ch`. False: it
 * has none. */
bool channels_unsubscribe_one(struct channels *ch, struct subscriber *s, enum subject what,
                              struct slice *name);
void channels_unsubscribe_all(struct channels *ch, struct subscriber *s);
/* Its subscriptions of a kind; `fn` may end the one that it is given. */
typedef void channel_fn(void *arg, struct subscriber *s, struct slice name);
void channels_of(const struct subscriber *s, enum subject what, channel_fn *fn, void *arg);

/* Calls `fn` for each subscription that hears a message on `channel`: subscribers of SUBJECT_SHARD,
 * or those of the channel and then of each pattern that matches, whose text is given then. Returns
 * the sum of their weights. `fn` changes no subscriptions. */
typedef void channel_hear_fn(void *arg, struct subscriber *s, const struct slice *pattern);
uint64_t channels_publish(struct channels *ch, struct slice channel, bool shard,
                          channel_hear_fn *fn, void *arg);

size_t channels_count(const struct channels *ch, enum subject what); /* different names */
uint64_t channels_weight(const struct channels *ch, enum subject what, struct slice name);
/* Every name of a kind. */
typedef void channel_name_fn(void *arg, struct slice name);
void channels_each(const struct channels *ch, enum subject what, channel_name_fn *fn, void *arg);
