// SPDX-License-Identifier: BSD-3-Clause
/* Streams in files: RDB_TYPE_STREAM_2, and the older RDB_TYPE_STREAM to read. Pure. */
#pragma once

#include "node/types/object.h"
#include "node/types/stream_id.h"

#include "common/base/slice.h"
#include "common/base/str.h"

unsigned xstream_rdb_type(const struct object *o);
void xstream_rdb_write(struct str *to, const struct object *o, bool compress);
/* For portraits: blocks in any order, then all the rest. */
struct portrait;
struct xstream;
struct listpack;
void xstream_rdb_portray(const struct object *o, struct portrait *p);
/* Before a block changes or goes; NULL: before one comes. */
void xstream_rdb_before_block(const struct xstream *s, struct stream_id master,
                              const struct listpack *lp);

/* For drafts: the blocks of a portrait one by one, then what stands behind them. */
struct xstream_draft;
struct xstream_draft *xstream_draft_new(uint64_t blocks);
void xstream_draft_free(struct xstream_draft **d);
/* False: malformed. */
bool xstream_draft_add(struct xstream_draft *d, struct xstream *s, struct slice part) MUSTCHECK;
bool xstream_draft_done(struct xstream_draft *d, struct xstream *s) MUSTCHECK;

/* As rdb.h's readers. */
struct object *xstream_rdb_read(struct slice *in, struct slice key, int64_t expire_ms,
                                struct str *scratch);
struct object *xstream_rdb_read_2(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch);
