// SPDX-License-Identifier: BSD-3-Clause
/* Strings: a number, bytes beside the key, or, from STRING_EMBED_MAX on and while they grow, bytes
 * in a chunk of their own that replies may share instead of copying (a shared chunk is never
 * written: a change copies it first). Portraits share it, too, but are told of a change before, and
 * copy no more than it concerns. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/buf.h"
#include "common/base/num.h"

#define STRING_EMBED_MAX 2047 /* longest value beside its key */
#define STRING_GROW_MAX  256  /* longest value beside its key that was appended to */

/* With the value as given: an int encoding where it is the canonical form of a number. */
struct object *string_new(struct slice key, int64_t expire_ms, struct slice value);
/* Never an int: results of commands, as Redis keeps them. raw: OBJECT ENCODING says raw even if it
 * is short. */
struct object *string_new_bytes(struct slice key, int64_t expire_ms, struct slice value, bool raw);
struct object *string_new_int(struct slice key, int64_t expire_ms, int64_t value);

/* Overwrites `o` in its place if the new value needs an allocation of the same size and the expiry
 * finds room; it is then as if made by string_new. False: nothing was done. */
bool string_overwrite(struct object *o, int64_t expire_ms, struct slice value) MUSTCHECK;

/* The bytes. `digits` is room for a number's; the slice is valid until the object changes. */
struct slice string_bytes(const struct object *o, char digits[NUM_I64_MAX_LEN]);
size_t string_len(const struct object *o);
/* The chunk that string_bytes points into, NULL if it is none: to reference it in a reply. */
struct chunk *string_chunk(const struct object *o);

/* As a number: what INCR takes. False: it is none. */
bool string_get_int(const struct object *o, int64_t *out) MUSTCHECK;
/* Only where the encoding is int already; false otherwise. */
bool string_set_int(struct object *o, int64_t value) MUSTCHECK;

/* Makes it raw and `len` bytes long, new bytes zero, and gives the bytes to write to. `o` is
 * consumed; the result may be at another address. */
struct object *string_resize(struct object *o, size_t len, char **bytes);
/* The same where no other bytes are written than `n` from `at` on, and new ones. */
struct object *string_resize_part(struct object *o, size_t len, size_t at, size_t n, char **bytes);
/* As string_resize, with `room` bytes more than needed if it has to grow, for the next time. */
struct object *string_resize_room(struct object *o, size_t len, size_t room, char **bytes);

/* For portrait.c: where a value of PORTRAIT_MIN and more has the first of its portraits. */
struct portrait;
struct portrait **string_portraits(const struct object *o);

/* For object.c. */
void string_free_value(struct object *o);
size_t string_memory(const struct object *o); /* outside the allocation of the object */
size_t string_inline_size(const struct object *o);
bool string_is_small_int(const struct object *o); /* kept as a number, 0 to 9999 */
const char *string_encoding_name(const struct object *o);
struct object *string_copy(const struct object *o, struct slice key, int64_t expire_ms);
