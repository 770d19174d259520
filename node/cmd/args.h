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

enum time_unit { UNIT_S, UNIT_MS };
/* Argument i as an expiry in `unit`, relative to now or not, as milliseconds since 1970. Zero and
 * less are refused. */
bool arg_expire(struct call *c, size_t i, enum time_unit unit, bool relative,
                int64_t *at_ms) MUSTCHECK;
bool arg_expire_error(struct call *c); /* always false */

/* ---- keys ---- */

static inline struct probe call_probe(const struct call *c, size_t i)
{
    return i == c->probe_arg ? c->probe : keyspace_probe_key(c->ks, c->argv[i]);
}

/* A string object that may be missing (*o is NULL): false if it is of another type. */
bool check_string(struct call *c, const struct object *o) MUSTCHECK;
/* "string exceeds maximum allowed size" if `len` does. */
bool check_length(struct call *c, uint64_t len) MUSTCHECK;

/* ---- replies ---- */

void reply_string(struct call *c, const struct object *o);
