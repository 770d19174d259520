// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/value.h"

#include "common/base/mem.h"
#include "common/resp/number_priv.h"

struct cursor {
    const char *at;
    const char *end;
};

static void free_items(struct resp_value *v)
{
    for (size_t i = 0; i < v->count; i++) {
        free_items(&v->items[i]); /* as deep as it was parsed: bounded */
    }
    mem_free(v->items);
}

void resp_value_free(struct resp_value **v)
{
    if (*v != NULL) {
        free_items(*v);
        mem_free(*v);
        *v = NULL;
    }
}

static bool take_line(struct cursor *c, struct slice *line)
{
    const char *cr = memchr(c->at, '\r', (size_t)(c->end - c->at));
    if (cr == NULL || cr + 1 == c->end || cr[1] != '\n') {
        return false;
    }
    *line = slice_of(c->at, (size_t)(cr - c->at));
    c->at = cr + 2;
    return true;
}

static bool take_number(struct cursor *c, int64_t *v)
{
    return reply_number(c->at, c->end, v, &c->at) == SKIP_OK;
}

static bool take_bulk(struct cursor *c, char type, struct resp_value *v)
{
    int64_t len;
    if (!take_number(c, &len) || !reply_bulk_length_ok(type, len)) {
        return false;
    }
    if (len < 0) {
        v->type = RESP_NIL;
        return true;
    }
    if (c->end - c->at < len + 2 || c->at[len] != '\r' || c->at[len + 1] != '\n') {
        return false;
    }
    v->text = slice_of(c->at, (size_t)len);
    if (type == '=') {
        v->text.ptr += 4; /* "txt:" */
        v->text.len -= 4;
    }
    c->at += len + 2;
    return true;
}

static bool take_value(struct cursor *c, struct resp_value *v, unsigned depth);

/* Room grows with the items that are there, not with the count that was claimed. */
static bool take_items(struct cursor *c, struct resp_value *v, int64_t count, unsigned depth)
{
    size_t room = 0;
    for (; count > 0; count--) {
        if (v->count == room) {
            room = room == 0 ? (size_t)MIN(count, 8) : room * 2;
            v->items = mem_realloc(v->items, room * sizeof *v->items);
        }
        v->items[v->count] = (struct resp_value){0};
        /* Counted first: a failed one may hold items that are to be freed. */
        if (!take_value(c, &v->items[v->count++], depth)) {
            return false;
        }
    }
    return true;
}

static bool take_aggregate(struct cursor *c, char type, struct resp_value *v, unsigned depth)
{
    int64_t count;
    if (!take_number(c, &count) || !reply_count_ok(type, count)) {
        return false;
    }
    if (count < 0) {
        v->type = RESP_NIL;
        return true;
    }
    if (count == 0) {
        return true;
    }
    return depth < RESP_SKIP_DEPTH && take_items(c, v, type == '%' ? count * 2 : count, depth + 1);
}

/* Attributes are read past; what they belong to is the value. */
static bool take_attributed(struct cursor *c, struct resp_value *v, unsigned depth)
{
    int64_t count;
    struct resp_value ignored = {0};
    if (!take_number(c, &count) || !reply_count_ok('|', count) || depth >= RESP_SKIP_DEPTH) {
        return false;
    }
    bool ok = take_items(c, &ignored, count * 2, depth + 1);
    free_items(&ignored);
    return ok && take_value(c, v, depth + 1);
}

static bool take_text(struct cursor *c, struct resp_value *v, enum resp_type type)
{
    v->type = type;
    return take_line(c, &v->text);
}

static bool take_value(struct cursor *c, struct resp_value *v, unsigned depth)
{
    if (c->at == c->end) {
        return false;
    }
    char type = *c->at++;
    switch (type) {
    case '+':
        return take_text(c, v, RESP_SIMPLE);
    case '-':
        return take_text(c, v, RESP_ERR);
    case ',':
        return take_text(c, v, RESP_DOUBLE);
    case '(':
        return take_text(c, v, RESP_BIGNUM);
    case ':':
        v->type = RESP_INT;
        return take_number(c, &v->number);
    case '_':
        return take_text(c, v, RESP_NIL) && v->text.len == 0;
    case '#':
        if (!take_text(c, v, RESP_BOOL) || v->text.len != 1) {
            return false;
        }
        v->number = v->text.ptr[0] == 't';
        return v->number == 1 || v->text.ptr[0] == 'f';
    case '$':
        v->type = RESP_BULK;
        return take_bulk(c, type, v);
    case '!':
        v->type = RESP_ERR;
        return take_bulk(c, type, v);
    case '=':
        v->type = RESP_VERBATIM;
        return take_bulk(c, type, v);
    case '*':
        v->type = RESP_ARRAY;
        return take_aggregate(c, type, v, depth);
    case '~':
        v->type = RESP_SET;
        return take_aggregate(c, type, v, depth);
    case '>':
        v->type = RESP_PUSH;
        return take_aggregate(c, type, v, depth);
    case '%':
        v->type = RESP_MAP;
        return take_aggregate(c, type, v, depth);
    case '|':
        return take_attributed(c, v, depth);
    default:
        return false;
    }
}

struct resp_value *resp_value_parse(struct slice in)
{
    struct cursor c = {.at = in.ptr, .end = in.ptr + in.len};
    struct resp_value *v = mem_zalloc(sizeof *v);
    if (!take_value(&c, v, 0) || c.at != c.end) {
        resp_value_free(&v);
    }
    return v;
}
