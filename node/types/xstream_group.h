// SPDX-License-Identifier: BSD-3-Clause
/* Consumer groups of a stream: each entry goes to one consumer of a group, and stays pending with
 * it until it is acknowledged. A group's pending entries are kept by id, with who has them and
 * since when; each consumer's are a set of ids beside.
 *
 * Groups and consumers are kept in the order of their names. Fields are for reading, but for the
 * plain numbers; functions keep the stream's memory exact. A pointer to a pending entry is valid
 * until another of the group comes or goes. Owned by a stream. Pure. */
#pragma once

#include "node/types/xstream.h"

struct xstream_consumer {
    struct slice name; /* behind the struct */
    int64_t seen_ms;
    struct id_tree pending; /* ids only */
};

struct xstream_group {
    struct slice name;        /* behind the struct */
    struct stream_id last_id; /* the last that was given out */
    int64_t entries_read;     /* entries up to there; XSTREAM_READ_UNKNOWN */
    struct id_tree pending;   /* to struct xstream_pending */
    struct xstream_names consumers;
};

/* Times come from files and clients, too: whatever they are. */
static inline int64_t xstream_since(int64_t at_ms, int64_t now_ms)
{
    return (int64_t)((uint64_t)now_ms - (uint64_t)at_ms);
}

struct xstream_pending {
    int64_t delivered_ms;
    uint64_t deliveries;
    struct xstream_consumer *consumer;
};

static inline struct xstream_group *xstream_group_at(const struct xstream *s, uint32_t i)
{
    return (struct xstream_group *)s->groups.of[i];
}
static inline struct xstream_consumer *xstream_consumer_at(const struct xstream_group *g,
                                                           uint32_t i)
{
    return (struct xstream_consumer *)g->consumers.of[i];
}

struct xstream_group *xstream_group_find(const struct xstream *s, struct slice name);
/* NULL: there is one of that name. */
struct xstream_group *xstream_group_add(struct xstream *s, struct slice name,
                                        struct stream_id last_id, int64_t entries_read);
void xstream_group_remove(struct xstream *s, struct xstream_group *g);

struct xstream_consumer *xstream_consumer_find(const struct xstream_group *g, struct slice name);
/* NULL: there is one of that name. */
struct xstream_consumer *xstream_consumer_add(struct xstream *s, struct xstream_group *g,
                                              struct slice name, int64_t now_ms);
/* With what is pending there. */
void xstream_consumer_remove(struct xstream *s, struct xstream_group *g,
                             struct xstream_consumer *c);

struct xstream_pending *xstream_pending_find(const struct xstream_group *g, struct stream_id id);
/* The entry at a position in g->pending. */
static inline struct xstream_pending *xstream_pending_at(const struct id_at *at)
{
    return at->value;
}
/* Gives an entry to a consumer, taking it from whoever has it. *is_new: nobody had. Time and
 * deliveries are the caller's to set. */
struct xstream_pending *xstream_pending_give(struct xstream *s, struct xstream_group *g,
                                             struct stream_id id, struct xstream_consumer *c,
                                             bool *is_new);
/* False: it is not pending. */
bool xstream_pending_remove(struct xstream *s, struct xstream_group *g, struct stream_id id);

/* An entry was given out that is above the group's last. */
void xstream_group_read(const struct xstream *s, struct xstream_group *g, struct stream_id id);
/* How many entries the group has not read. False: nobody can tell. */
bool xstream_group_lag(const struct xstream *s, const struct xstream_group *g,
                       int64_t *lag) MUSTCHECK;

/* ---- for stream.c ---- */

void xstream_groups_free(struct xstream *s);
void xstream_groups_copy(struct xstream *to, const struct xstream *from);
void xstream_groups_digest(const struct xstream *s, struct digest *d);
size_t xstream_groups_effort(const struct xstream *s);
