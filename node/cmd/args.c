// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/args.h"

#include "node/keyspace/notify.h"
#include "node/types/string.h"

#include "common/base/num.h"

#include <math.h>

bool arg_int_or(struct call *c, size_t i, int64_t *out, const char *error)
{
    if (num_parse_i64(c->argv[i], out)) {
        return true;
    }
    resp_error(&c->w, error);
    return false;
}

bool arg_int(struct call *c, size_t i, int64_t *out)
{
    return arg_int_or(c, i, out, ERR_NOT_INT);
}

bool arg_small(struct call *c, size_t i, int *out)
{
    int64_t wide;
    if (!arg_int(c, i, &wide)) {
        return false;
    }
    if (wide < INT32_MIN || wide > INT32_MAX) {
        resp_errorf(&c->w, "ERR value is out of range, value must between %d and %d", INT32_MIN,
                    INT32_MAX);
        return false;
    }
    *out = (int)wide;
    return true;
}

bool arg_syntax_error(struct call *c)
{
    resp_error(&c->w, ERR_SYNTAX);
    return false;
}

bool arg_range(struct call *c, size_t i, int64_t min, int64_t max, int64_t *out, const char *error)
{
    if (num_parse_i64(c->argv[i], out) && *out >= min && *out <= max) {
        return true;
    }
    resp_error(&c->w, error);
    return false;
}

bool arg_numkeys(struct call *c, size_t i, size_t *out, const char *too_many)
{
    int64_t n;
    if (!arg_range(c, i, 1, INT64_MAX, &n, "ERR numkeys should be greater than 0")) {
        return false;
    }
    *out = (size_t)n;
    if (*out > c->argc - i - 1) {
        resp_error(&c->w, too_many);
        return false;
    }
    return true;
}

bool arg_expire_error(struct call *c)
{
    resp_errorf(&c->w, ERR_INVALID_EXPIRE, c->cmd->full_name);
    return false;
}

bool arg_expire(struct call *c, size_t i, enum time_unit unit, bool relative, int64_t *at_ms)
{
    int64_t at;
    if (!arg_int(c, i, &at)) {
        return false;
    }
    if (at <= 0 || (unit == UNIT_S && __builtin_mul_overflow(at, 1000, &at)) ||
        (relative && __builtin_add_overflow(at, c->now_ms, &at))) {
        return arg_expire_error(c);
    }
    *at_ms = at;
    return true;
}

bool arg_timeout(struct call *c, size_t i, int64_t *until_ms)
{
    long double s;
    if (!num_parse_longdouble(c->argv[i], &s)) {
        resp_error(&c->w, "ERR timeout is not a float or out of range");
        return false;
    }
    if (s < 0) {
        resp_error(&c->w, "ERR timeout is negative");
        return false;
    }
    /* What is above is not exact as a double either. */
    if (s * 1000 > (long double)(INT64_MAX - c->now_ms)) {
        resp_error(&c->w, "ERR timeout is out of range");
        return false;
    }
    *until_ms = s == 0 ? 0 : c->now_ms + (int64_t)ceill(s * 1000);
    return true;
}

bool call_wait(struct call *c, enum object_type type, size_t first, size_t n, int64_t until_ms)
{
    if (!c->wait.allowed || c->session->in_exec || c->db.applying) {
        return false;
    }
    c->wait.asked = true;
    c->wait.type = type;
    c->wait.first = first;
    c->wait.n = n;
    c->wait.until_ms = until_ms;
    return true;
}

void store_object(struct call *c, const struct probe *p, struct object *o)
{
    struct object *old = db_peek(&c->db, p, object_key(o));
    if (old == NULL) {
        db_add(&c->db, p, o);
    } else {
        db_replace(&c->db, p, old, o);
    }
    c->changes++;
}

bool store_nothing(struct call *c, const struct probe *p, struct slice key)
{
    struct object *old = db_peek(&c->db, p, key);
    if (old == NULL) {
        return false;
    }
    db_remove(&c->db, p, old, c->ks->settings.lazy_server_del);
    notify(&c->db, NOTIFY_GENERIC, "del", key);
    c->changes++;
    return true;
}

bool check_type(struct call *c, const struct object *o, enum object_type type)
{
    if (o == NULL || o->type == type) {
        return true;
    }
    resp_error(&c->w, ERR_WRONGTYPE);
    return false;
}

bool check_string(struct call *c, const struct object *o)
{
    return check_type(c, o, OBJECT_STRING);
}

bool check_length(struct call *c, uint64_t len)
{
    if (len <= (uint64_t)c->ks->settings.proto_max_bulk_len || c->db.applying) {
        return true;
    }
    resp_error(&c->w, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

void reply_string(struct call *c, const struct object *o)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice v = string_bytes(o, digits);
    struct chunk *chunk = v.len < OUTBUF_REF_MIN ? NULL : string_chunk(o);
    if (chunk == NULL) {
        resp_bulk(&c->w, v);
        return;
    }
    /* A long value is shared with the reply, not copied. */
    char *head = outbuf_reserve(c->w.out, NUM_I64_MAX_LEN + 3);
    head[0] = '$';
    size_t n = 1 + num_print_u64(head + 1, v.len);
    memcpy(head + n, "\r\n", 2);
    outbuf_commit(c->w.out, n + 2);
    outbuf_append_ref(c->w.out, chunk, v.ptr, v.len);
    outbuf_append(c->w.out, "\r\n", 2);
}

void probes_fill(struct call *c, struct probes *w, size_t i)
{
    w->from = i;
    w->n = 0;
    while (i < c->argc && w->n < PROBE_WINDOW) {
        struct probe *p = &w->of[w->n++];
        *p = call_probe(c, i);
        keyspace_prefetch_bucket(c->ks, c->db.index, p);
        i += w->step;
    }
    for (size_t k = 0; k < w->n; k++) {
        keyspace_prefetch_object(c->ks, c->db.index, &w->of[k]);
    }
}
