// SPDX-License-Identifier: BSD-3-Clause
/* Streams in files: RDB_TYPE_STREAM_2, and the older RDB_TYPE_STREAM to read. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/slice.h"
#include "common/base/str.h"

unsigned xstream_rdb_type(const struct object *o);
void xstream_rdb_write(struct str *to, const struct object *o, bool compress);
/* As rdb.h's readers. */
struct object *xstream_rdb_read(struct slice *in, struct slice key, int64_t expire_ms,
                                struct str *scratch);
struct object *xstream_rdb_read_2(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch);
