// SPDX-License-Identifier: BSD-3-Clause
/* A large value as it was at one moment, written in parts while it goes on changing: no turn of the
 * loop has to write, or read (draft.h), the whole of it.
 *
 *   head | part | part | ...   one behind the other: what rdb_write_value would have written then,
 *                              but that members and blocks stand in another order
 *
 * INVARIANT  each element that the value had when the portrait was begun is written exactly once,
 *            as it was then; no other is.
 * Why        Members of a table are written in the order of their hashes, blocks of a stream in
 * that of their ids. What is below the walk's place has been written: later changes are not looked
 * at. What is at or above it is unchanged since the beginning, or it is in `seen`: it was written
 * right before its first change, or was not there then. The walk leaves out what is in `seen`. The
 * nodes of a list are kept by address: a list that is about to change or free one of them goes on
 * with a copy and leaves the old one. Bytes of a string are shared; blocks of them that are about
 * to change are copied before. What a stream has beside its blocks is written when the portrait is
 * begun. An object that is freed while its value is portrayed is left to the portrait.
 *
 * Owned by who began it; the node's thread. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/str.h"

struct portrait;

#define PORTRAIT_MIN     ((size_t)128 << 10) /* smaller values are written in one go */
#define PORTRAIT_ELEMENT 64                  /* bytes that an element counts for, at least */

/* Large, and kept in a way that can be portrayed. */
bool portrait_suits(const struct object *o);
/* `compress`: as for rdb_write_value; not of strings. */
struct portrait *portrait_new(struct object *o, bool compress);
/* Borrowed: until the portrait goes. */
struct slice portrait_head(const struct portrait *p);
/* Appends a part of about `budget` bytes, whole elements. False: that was the last. */
bool portrait_step(struct portrait *p, size_t budget, struct str *to) MUSTCHECK;
/* Gives an object whose value outlived it for this portrait alone: the caller's to free. NULL:
 * none.
 */
struct object *portrait_free(struct portrait **p) MUSTCHECK;

/* For object.c: the object is to be freed; true: its portraits see to that. */
bool portraits_adopt(struct object *o) MUSTCHECK;
