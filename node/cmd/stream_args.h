// SPDX-License-Identifier: BSD-3-Clause
/* What the commands of streams share: ids as arguments, and entries as replies. A function that
 * returns false has written the error already. */
#pragma once

#include "node/cmd/args.h"
#include "node/types/xstream_group.h"

/* An id; one without "-seq" gets `seq`. "-" and "+" are the lowest and the highest. */
bool arg_stream_id(struct call *c, size_t i, uint64_t seq, struct stream_id *out) MUSTCHECK;
/* Without those two. */
bool arg_stream_id_strict(struct call *c, size_t i, uint64_t seq, struct stream_id *out) MUSTCHECK;
/* The same, and "ms-*": then *seq_given is false. */
bool arg_stream_id_new(struct call *c, size_t i, struct stream_id *out, bool *seq_given) MUSTCHECK;
/* Of all arguments from `first` to before `end`, and without an error: whether one is an id. */
bool arg_is_stream_id(const struct call *c, size_t i, struct stream_id *out) MUSTCHECK;
/* argv[from] and argv[to] as both ends of a range; "(" before one leaves it out. */
bool arg_stream_start(struct call *c, size_t i, struct stream_id *out) MUSTCHECK;
bool arg_stream_end(struct call *c, size_t i, struct stream_id *out) MUSTCHECK;

/* The stream at argv[key] and its group argv[group], for changes. False: it is not there, or of
 * another type: NOGROUP. */
bool find_stream_group(struct call *c, size_t key, size_t group, struct object **o,
                       struct xstream_group **g) MUSTCHECK;
void stream_no_group(struct call *c, struct slice key, struct slice group);

void reply_stream_id(struct resp_writer *w, struct stream_id id);
/* The entry at hand: [id, [field, value, ...]]. */
void reply_stream_entry(struct resp_writer *w, struct xstream_iter *it);
/* The entries of a range, at most `count` (0: all), as an array. */
void reply_stream_range(struct resp_writer *w, const struct xstream *s, struct stream_id start,
                        struct stream_id end, uint64_t count, bool back);
/* The one of that id, if it is there. */
bool reply_stream_one(struct resp_writer *w, const struct xstream *s, struct stream_id id);

/* Those who follow are told of a pending entry as it is now, or was before it went. */
void stream_say_pending(struct call *c, struct slice key, const struct xstream_group *g,
                        struct stream_id id, const struct xstream_pending *p);
/* ... of how far the group is. */
void stream_say_group(struct call *c, struct slice key, const struct xstream_group *g);

/* Adds a consumer and tells of it. */
struct xstream_consumer *stream_add_consumer(struct call *c, struct xstream *s,
                                             struct xstream_group *g, struct slice key,
                                             struct slice name);
