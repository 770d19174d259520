// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/draft.h"

#include "node/types/hash.h"
#include "node/types/object_ops.h"
#include "node/types/quicklist.h"
#include "node/types/rdb.h"
#include "node/types/set.h"
#include "node/types/string.h"
#include "node/types/xstream.h"
#include "node/types/xstream_rdb.h"
#include "node/types/zset.h"

#include "common/base/mem.h"

#define MAGIC      0x64726166U
#define STRING_MAX ((uint64_t)4 << 30)   /* proto-max-bulk-len may say more than 512 MB */
#define ROOM_MAX   ((uint64_t)512 << 20) /* taken for what is only announced */

struct draft {
    uint32_t magic;
    const struct object_ops *ops; /* NULL: a string */
    struct object *o;
    uint64_t n;    /* elements, nodes or bytes in all */
    uint64_t have; /* so many of them are there */
    struct xstream_draft *stream;
    struct str scratch[2];
};

static const struct object_ops *const types[] = {
    [RDB_TYPE_SET] = &set_ops,          [RDB_TYPE_HASH] = &hash_ops,
    [RDB_TYPE_ZSET_2] = &zset_ops,      [RDB_TYPE_LIST_QUICKLIST_2] = &quicklist_ops,
    [RDB_TYPE_STREAM_2] = &xstream_ops,
};

static struct object *empty(struct draft *d, struct slice key, int64_t expire_ms)
{
    if (d->ops == NULL) {
        return string_new_bytes(key, expire_ms, SLICE(""), true);
    }
    if (d->ops == &xstream_ops) {
        d->stream = xstream_draft_new(d->n);
        return xstream_new(key, expire_ms);
    }
    return d->ops->draft_begin(key, expire_ms, d->n);
}

struct draft *draft_new(struct slice key, int64_t expire_ms, unsigned type, struct slice head)
{
    uint64_t n;
    if ((type != RDB_TYPE_STRING && (type >= ARRAY_LEN(types) || types[type] == NULL)) ||
        !rdb_read_len(&head, &n, NULL) || head.len > 0 ||
        (type == RDB_TYPE_STRING && n > STRING_MAX)) {
        return NULL;
    }
    struct draft *d = mem_zalloc(sizeof(*d));
    d->magic = MAGIC;
    d->ops = type == RDB_TYPE_STRING ? NULL : types[type];
    d->n = n;
    d->o = empty(d, key, expire_ms);
    return d;
}

/* Room for all of it when the first bytes are there: it grows into it without moving. */
static bool add_bytes(struct draft *d, struct slice part)
{
    if (part.len > d->n - d->have) {
        return false;
    }
    if (part.len > 0) {
        char *bytes;
        d->o = string_resize_room(d->o, d->have + part.len,
                                  MIN(d->n - d->have - part.len, (uint64_t)ROOM_MAX), &bytes);
        memcpy(bytes + d->have, part.ptr, part.len);
        d->have += part.len;
    }
    return true;
}

bool draft_add(struct draft *d, struct slice part)
{
    CHECK_OBJ(d, MAGIC);
    if (d->ops == NULL) {
        return add_bytes(d, part);
    }
    if (d->stream != NULL) {
        return xstream_draft_add(d->stream, xstream_of(d->o), part);
    }
    while (part.len > 0) {
        if (d->have == d->n || !d->ops->draft_read(d->o, d->n, &part, d->scratch)) {
            return false;
        }
        d->have++;
    }
    return true;
}

static bool is_whole(const struct draft *d)
{
    if (d->stream != NULL) {
        return xstream_draft_done(d->stream, xstream_of(d->o));
    }
    return d->have == d->n && d->n > 0 && object_length(d->o) > 0;
}

struct object *draft_done(struct draft **dp)
{
    struct draft *d = *dp;
    CHECK_OBJ(d, MAGIC);
    struct object *o = NULL;
    if (is_whole(d)) {
        o = d->o;
        d->o = NULL;
    }
    struct object *rest = draft_free(dp);
    object_free(&rest);
    return o;
}

struct object *draft_free(struct draft **dp)
{
    struct draft *d = *dp;
    if (d == NULL) {
        return NULL;
    }
    CHECK_OBJ(d, MAGIC);
    struct object *o = d->o;
    xstream_draft_free(&d->stream);
    str_fini(&d->scratch[0]);
    str_fini(&d->scratch[1]);
    d->magic = 0;
    mem_free(d);
    *dp = NULL;
    return o;
}
