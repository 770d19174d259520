// SPDX-License-Identifier: BSD-3-Clause
/* Parts of strings: APPEND, SETRANGE, GETRANGE, STRLEN, LCS. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/keyspace/notify.h"
#include "node/keyspace/table.h"
#include "node/types/string.h"

#include "common/base/mem.h"

void cmd_strlen(struct call *c)
{
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (check_string(c, o)) {
        resp_int(&c->w, o == NULL ? 0 : (int64_t)string_len(o));
    }
}

void cmd_append(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    struct slice more = c->argv[2];
    if (!check_string(c, o)) {
        return;
    }
    size_t len = more.len;
    if (o == NULL) {
        db_add(&c->db, &p, string_new(c->argv[1], OBJECT_NO_EXPIRE, more));
    } else {
        size_t old = string_len(o);
        len += old;
        if (!check_length(c, len)) {
            return;
        }
        struct table_entry was = table_entry_of(o);
        char *bytes;
        db_before(&c->db, &p, c->argv[1]);
        o = string_resize_part(o, len, 0, 0, &bytes);
        if (more.len > 0) {
            memcpy(bytes + old, more.ptr, more.len);
        }
        db_changed(&c->db, &p, &was, o);
    }
    c->changes++;
    notify(&c->db, NOTIFY_STRING, "append", c->argv[1]);
    resp_int(&c->w, (int64_t)len);
}

void cmd_setrange(struct call *c)
{
    int64_t offset;
    if (!arg_int(c, 2, &offset)) {
        return;
    }
    if (offset < 0) {
        resp_error(&c->w, "ERR offset is out of range");
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    struct slice value = c->argv[3];
    if (!check_string(c, o)) {
        return;
    }
    size_t old = o == NULL ? 0 : string_len(o);
    if (value.len == 0) {
        resp_int(&c->w, (int64_t)old);
        return;
    }
    if (!check_length(c, (uint64_t)offset + value.len)) {
        return;
    }
    size_t len = MAX(old, (size_t)offset + value.len);
    char *bytes;
    if (o == NULL) {
        o = string_new_bytes(c->argv[1], OBJECT_NO_EXPIRE, SLICE(""), true);
        o = string_resize(o, len, &bytes);
        memcpy(bytes + offset, value.ptr, value.len);
        db_add(&c->db, &p, o);
    } else {
        struct table_entry was = table_entry_of(o);
        db_before(&c->db, &p, c->argv[1]);
        o = string_resize_part(o, len, (size_t)offset, value.len, &bytes);
        memcpy(bytes + offset, value.ptr, value.len);
        db_changed(&c->db, &p, &was, o);
    }
    c->changes++;
    notify(&c->db, NOTIFY_STRING, "setrange", c->argv[1]);
    resp_int(&c->w, (int64_t)len);
}

void cmd_getrange(struct call *c)
{
    int64_t start;
    int64_t end;
    if (!arg_int(c, 2, &start) || !arg_int(c, 3, &end)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (!check_string(c, o)) {
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice v = o == NULL ? SLICE("") : string_bytes(o, digits);
    int64_t len = (int64_t)v.len;
    bool backwards = start < 0 && end < 0 && start > end;
    start = start < 0 ? MAX(start + len, 0) : start;
    end = end < 0 ? MAX(end + len, 0) : MIN(end, len - 1);
    if (backwards || start > end || len == 0) {
        resp_bulk(&c->w, SLICE(""));
    } else {
        resp_bulk(&c->w, slice_of(v.ptr + start, (size_t)(end - start + 1)));
    }
}

/* ---- LCS ---- */

struct lcs {
    struct slice a;
    struct slice b;
    uint32_t *lengths; /* [i][j]: of the first i bytes of a and the first j of b */
    bool length_only;
    bool ranges;
    bool with_length;
    int64_t range_min;
};

static inline uint32_t *lcs_at(const struct lcs *l, size_t i, size_t j)
{
    return &l->lengths[i * (l->b.len + 1) + j];
}

static bool lcs_parse(struct call *c, struct lcs *l)
{
    for (size_t i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "IDX")) {
            l->ranges = true;
        } else if (arg_is(c, i, "LEN")) {
            l->length_only = true;
        } else if (arg_is(c, i, "WITHMATCHLEN")) {
            l->with_length = true;
        } else if (arg_is(c, i, "MINMATCHLEN") && i + 1 < c->argc) {
            if (!arg_int(c, ++i, &l->range_min)) {
                return false;
            }
            l->range_min = MAX(l->range_min, 0);
        } else {
            return arg_syntax_error(c);
        }
    }
    if (l->length_only && l->ranges) {
        resp_error(&c->w, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static bool lcs_compute(struct call *c, struct lcs *l)
{
    if (l->a.len >= UINT32_MAX - 1 || l->b.len >= UINT32_MAX - 1) {
        resp_error(&c->w, "ERR String too long for LCS");
        return false;
    }
    size_t size;
    if (__builtin_mul_overflow(l->a.len + 1, (l->b.len + 1) * sizeof(*l->lengths), &size) ||
        size > (uint64_t)c->ks->settings.proto_max_bulk_len) {
        resp_error(&c->w, "ERR Insufficient memory, transient memory for LCS exceeds "
                          "proto-max-bulk-len");
        return false;
    }
    l->lengths = mem_try_alloc(size);
    if (l->lengths == NULL) {
        resp_error(&c->w, "ERR Insufficient memory, failed allocating transient memory for LCS");
        return false;
    }
    for (size_t i = 0; i <= l->a.len; i++) {
        for (size_t j = 0; j <= l->b.len; j++) {
            uint32_t *here = lcs_at(l, i, j);
            if (i == 0 || j == 0) {
                *here = 0;
            } else if (l->a.ptr[i - 1] == l->b.ptr[j - 1]) {
                *here = *lcs_at(l, i - 1, j - 1) + 1;
            } else {
                *here = MAX(*lcs_at(l, i - 1, j), *lcs_at(l, i, j - 1));
            }
        }
    }
    return true;
}

struct lcs_range {
    size_t a;
    size_t b;
    size_t len;
};

/* Back from the ends: the sequence into `text`, its contiguous ranges, last first, into `ranges`
 * (as many as the sequence is long). Returns their number. */
static size_t lcs_trace(const struct lcs *l, char *text, struct lcs_range *ranges)
{
    size_t i = l->a.len;
    size_t j = l->b.len;
    size_t left = *lcs_at(l, i, j);
    size_t n = 0;
    bool open = false; /* ranges[n] is being extended */
    while (i > 0 && j > 0) {
        if (l->a.ptr[i - 1] == l->b.ptr[j - 1]) {
            i--;
            j--;
            text[--left] = l->a.ptr[i];
            ranges[n] = (struct lcs_range){.a = i, .b = j, .len = open ? ranges[n].len + 1 : 1};
            open = true;
        } else {
            n += open;
            open = false;
            if (*lcs_at(l, i - 1, j) > *lcs_at(l, i, j - 1)) {
                i--;
            } else {
                j--;
            }
        }
    }
    return n + open;
}

static void lcs_reply_ranges(struct call *c, const struct lcs *l, const struct lcs_range *ranges,
                             size_t n)
{
    size_t shown = 0;
    for (size_t i = 0; i < n; i++) {
        shown += ranges[i].len >= (uint64_t)l->range_min;
    }
    resp_map(&c->w, 2);
    resp_bulkz(&c->w, "matches");
    resp_array(&c->w, shown);
    for (size_t i = 0; i < n; i++) {
        const struct lcs_range *r = &ranges[i];
        if (r->len < (uint64_t)l->range_min) {
            continue;
        }
        resp_array(&c->w, l->with_length ? 3 : 2);
        resp_array(&c->w, 2);
        resp_int(&c->w, (int64_t)r->a);
        resp_int(&c->w, (int64_t)(r->a + r->len - 1));
        resp_array(&c->w, 2);
        resp_int(&c->w, (int64_t)r->b);
        resp_int(&c->w, (int64_t)(r->b + r->len - 1));
        if (l->with_length) {
            resp_int(&c->w, (int64_t)r->len);
        }
    }
    resp_bulkz(&c->w, "len");
    resp_int(&c->w, *lcs_at(l, l->a.len, l->b.len));
}

void cmd_lcs(struct call *c)
{
    struct probe pa = call_probe(c, 1);
    struct probe pb = call_probe(c, 2);
    /* Looking for the one may remove it and the other (expiry), so neither is kept before both are
     * found. */
    db_read(&c->db, &pa, c->argv[1]);
    const struct object *b = db_read(&c->db, &pb, c->argv[2]);
    struct db untouched = c->db;
    untouched.no_touch = true;
    const struct object *a = db_peek(&untouched, &pa, c->argv[1]);
    if ((a != NULL && a->type != OBJECT_STRING) || (b != NULL && b->type != OBJECT_STRING)) {
        resp_error(&c->w, "ERR The specified keys must contain string values");
        return;
    }
    char digits[2][NUM_I64_MAX_LEN];
    struct lcs l = {.a = a == NULL ? SLICE("") : string_bytes(a, digits[0]),
                    .b = b == NULL ? SLICE("") : string_bytes(b, digits[1])};
    if (!lcs_parse(c, &l) || !lcs_compute(c, &l)) {
        return;
    }
    size_t len = *lcs_at(&l, l.a.len, l.b.len);
    if (l.length_only) {
        resp_int(&c->w, (int64_t)len);
    } else {
        char *text = mem_alloc(len + 1);
        struct lcs_range *ranges = mem_alloc((len + 1) * sizeof(*ranges));
        size_t n = lcs_trace(&l, text, ranges);
        if (l.ranges) {
            lcs_reply_ranges(c, &l, ranges, n);
        } else {
            resp_bulk(&c->w, slice_of(text, len));
        }
        mem_free(ranges);
        mem_free(text);
    }
    mem_free(l.lengths);
}
