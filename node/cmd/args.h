// SPDX-License-Identifier: BSD-3-Clause
/* What handlers share: reading arguments and keys, answering with values. A function that returns
 * false has written the error already. */
#pragma once

#include "node/cmd/call.h"

#include "common/resp/errors.h"

/* ---- arguments ---- */

bool arg_int(struct call *c, size_t i, int64_t *out) MUSTCHECK;
/* With the error's text given. */
bool arg_int_or(struct call *c, size_t i, int64_t *out, const char *error) MUSTCHECK;
/* What fits into an int; a database's index and such. */
bool arg_small(struct call *c, size_t i, int *out) MUSTCHECK;
static inline bool arg_is(const struct call *c, size_t i, const char *word)
{
    return slice_is(c->argv[i], word);
}
bool arg_syntax_error(struct call *c); /* always false */
/* From `min` to `max`; the error's text, also of what is no number. */
bool arg_range(struct call *c, size_t i, int64_t min, int64_t max, int64_t *out,
               const char *error) MUSTCHECK;
#define ERR_NOT_POSITIVE "ERR value is out of range, must be positive"
/* Argument i counts the keys behind it: at least one, and as many are there. */
bool arg_numkeys(struct call *c, size_t i, size_t *out, const char *too_many) MUSTCHECK;

enum time_unit { UNIT_S, UNIT_MS };
/* Argument i as an expiry in `unit`, relative to now or not, as milliseconds since 1970. Zero and
 * less are refused. */
bool arg_expire(struct call *c, size_t i, enum time_unit unit, bool relative,
                int64_t *at_ms) MUSTCHECK;
bool arg_expire_error(struct call *c); /* always false */

/* Argument i as a timeout in seconds, fractions too, as milliseconds since 1970; 0: for ever. */
bool arg_timeout(struct call *c, size_t i, int64_t *until_ms) MUSTCHECK;

/* ---- waiting ---- */

/* Asks to wait for one of argv[first..first + n - 1] to hold a `type`; c->wait may be refined
 * afterwards. False: it may not wait, the handler answers that there is nothing. */
bool call_wait(struct call *c, enum object_type type, size_t first, size_t n,
               int64_t until_ms) MUSTCHECK;

/* ---- keys ---- */

static inline struct probe call_probe(const struct call *c, size_t i)
{
    return i == c->probe_arg ? c->probe : keyspace_probe_key(c->ks, c->argv[i]);
}

/* For commands of many keys: probes of the next few at a time, their buckets and objects on the way
 * into the cache while the ones before are worked on. */
#define PROBE_WINDOW 16
struct probes {
    size_t
        step; /* from one key to the next: 1, or 2 where values stand between; set by the caller */
    size_t from; /* argument of the first in `of` */
    size_t n;
    struct probe of[PROBE_WINDOW];
};
void probes_fill(struct call *c, struct probes *w, size_t i);
/* Argument i, in rising order. Valid until the next call. */
static inline const struct probe *probes_at(struct call *c, struct probes *w, size_t i)
{
    if (i >= w->from + w->n * w->step) {
        probes_fill(c, w, i);
    }
    return &w->of[(i - w->from) / w->step];
}

/* The value of a key becomes `o`, which is taken, whatever was there. */
void store_object(struct call *c, const struct probe *p, struct object *o);
/* A key that a command's result replaces by nothing. False: there was none. */
bool store_nothing(struct call *c, const struct probe *p, struct slice key);
/* An object that may be missing (NULL): false if it is of another type. */
bool check_type(struct call *c, const struct object *o, enum object_type type) MUSTCHECK;
/* A string object that may be missing (*o is NULL): false if it is of another type. */
bool check_string(struct call *c, const struct object *o) MUSTCHECK;
/* "string exceeds maximum allowed size" if `len` does. */
bool check_length(struct call *c, uint64_t len) MUSTCHECK;

/* ---- replies ---- */

void reply_string(struct call *c, const struct object *o);
