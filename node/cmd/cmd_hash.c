// SPDX-License-Identifier: BSD-3-Clause
/* Hashes: HSET, HGETALL and their relatives; HSCAN and HRANDFIELD are in cmd_hash_pick.c. */
#include "node/cmd/cmd_hash.h"

#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/notify.h"

#include "common/base/mem.h"
#include "common/base/num.h"

#include <math.h>

void reply_hash_value(struct call *c, const struct listpack_value *v)
{
    if (v->ptr != NULL) {
        resp_bulk(&c->w, slice_of(v->ptr, v->len));
    } else {
        resp_bulk_int(&c->w, v->number);
    }
}

bool read_hash(struct call *c, size_t i, struct object **o)
{
    struct probe p = call_probe(c, i);
    *o = db_read(&c->db, &p, c->argv[i]);
    return check_type(c, *o, OBJECT_HASH);
}

/* ---- changing ---- */

/* A hash under change: one that is there, or one that is going to be. */
struct hash_edit {
    struct probe p;
    struct object *o;
    bool is_new;
    struct db_edit e;
};

static bool find_hash(struct call *c, struct hash_edit *h)
{
    *h = (struct hash_edit){.p = call_probe(c, 1)};
    h->o = db_find(&c->db, &h->p, c->argv[1]);
    h->is_new = h->o == NULL;
    return check_type(c, h->o, OBJECT_HASH);
}

static void begin(struct call *c, struct hash_edit *h)
{
    if (h->is_new) {
        h->o = hash_new(c->argv[1], OBJECT_NO_EXPIRE);
    } else {
        db_edit_begin(&c->db, &h->p, h->o, &h->e);
    }
}

static void end(struct call *c, struct hash_edit *h, const char *event)
{
    bool gone = false;
    if (h->is_new) {
        db_add(&c->db, &h->p, h->o);
    } else {
        gone = db_edit_end(&c->db, &h->p, &h->e, true);
    }
    notify(&c->db, NOTIFY_HASH, event, c->argv[1]);
    if (gone) {
        notify(&c->db, NOTIFY_GENERIC, "del", c->argv[1]);
    }
}

/* HSET and HMSET: false if the arguments are no pairs. The number of new fields. */
static bool set_pairs(struct call *c, int64_t *created)
{
    struct hash_edit h;
    if (c->argc % 2 == 1) {
        resp_errorf(&c->w, ERR_WRONG_ARGS, c->cmd->full_name);
        return false;
    }
    if (!find_hash(c, &h)) {
        return false;
    }
    begin(c, &h);
    *created = 0;
    for (size_t i = 2; i < c->argc; i += 2) {
        *created += hash_set(h.o, c->argv[i], c->argv[i + 1]);
    }
    c->changes += (c->argc - 2) / 2;
    end(c, &h, "hset");
    return true;
}

void cmd_hset(struct call *c)
{
    int64_t created;
    if (set_pairs(c, &created)) {
        resp_int(&c->w, created);
    }
}

void cmd_hmset(struct call *c)
{
    int64_t created;
    if (set_pairs(c, &created)) {
        resp_ok(&c->w);
    }
}

void cmd_hsetnx(struct call *c)
{
    struct hash_edit h;
    struct listpack_value v;
    if (!find_hash(c, &h)) {
        return;
    }
    if (!h.is_new && hash_get(h.o, c->argv[2], &v)) {
        resp_int(&c->w, 0);
        return;
    }
    begin(c, &h);
    hash_set(h.o, c->argv[2], c->argv[3]);
    c->changes++;
    end(c, &h, "hset");
    resp_int(&c->w, 1);
}

/* One field gets a value that was computed. */
static void set_field(struct call *c, struct hash_edit *h, struct slice value, const char *event)
{
    begin(c, h);
    hash_set(h->o, c->argv[2], value);
    c->changes++;
    end(c, h, event);
}

void cmd_hincrby(struct call *c)
{
    struct hash_edit h;
    struct listpack_value v;
    int64_t by;
    int64_t number = 0;
    if (!arg_int(c, 3, &by) || !find_hash(c, &h)) {
        return;
    }
    if (!h.is_new && hash_get(h.o, c->argv[2], &v)) {
        number = v.number;
        if (v.ptr != NULL && !num_parse_i64(slice_of(v.ptr, v.len), &number)) {
            resp_error(&c->w, "ERR hash value is not an integer");
            return;
        }
    }
    if (__builtin_add_overflow(number, by, &number)) {
        resp_error(&c->w, "ERR increment or decrement would overflow");
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    set_field(c, &h, slice_of(digits, num_print_i64(digits, number)), "hincrby");
    resp_int(&c->w, number);
}

void cmd_hincrbyfloat(struct call *c)
{
    struct hash_edit h;
    struct listpack_value v;
    long double by;
    long double number = 0;
    if (!num_parse_longdouble(c->argv[3], &by)) {
        resp_error(&c->w, ERR_NOT_FLOAT);
        return;
    }
    if (isinf(by)) {
        resp_error(&c->w, "ERR value is NaN or Infinity");
        return;
    }
    if (!find_hash(c, &h)) {
        return;
    }
    if (!h.is_new && hash_get(h.o, c->argv[2], &v)) {
        number = (long double)v.number;
        if (v.ptr != NULL && !num_parse_longdouble(slice_of(v.ptr, v.len), &number)) {
            resp_error(&c->w, "ERR hash value is not a float");
            return;
        }
    }
    number += by;
    if (isnan(number) || isinf(number)) {
        resp_error(&c->w, "ERR increment would produce NaN or Infinity");
        return;
    }
    char *text = mem_alloc(NUM_LD_MAX_LEN);
    struct slice value = slice_of(text, num_print_longdouble(text, number));
    set_field(c, &h, value, "hincrbyfloat");
    /* Copies need not agree on how numbers are added. */
    record_say(c, &h.p, (struct slice[]){SLICE("HSET"), c->argv[1], c->argv[2], value}, 4);
    resp_bulk(&c->w, value);
    mem_free(text);
}

void cmd_hdel(struct call *c)
{
    struct hash_edit h;
    int64_t gone = 0;
    if (!find_hash(c, &h)) {
        return;
    }
    if (!h.is_new) {
        begin(c, &h);
        for (size_t i = 2; i < c->argc && hash_length(h.o) > 0; i++) {
            gone += hash_delete(h.o, c->argv[i]);
        }
        if (gone > 0) {
            end(c, &h, "hdel");
        } else {
            db_edit_end(&c->db, &h.p, &h.e, false);
        }
        c->changes += (uint64_t)gone;
    }
    resp_int(&c->w, gone);
}

/* ---- reading ---- */

void cmd_hget(struct call *c)
{
    struct object *o;
    struct listpack_value v;
    if (!read_hash(c, 1, &o)) {
        return;
    }
    if (o != NULL && hash_get(o, c->argv[2], &v)) {
        reply_hash_value(c, &v);
    } else {
        resp_nil(&c->w);
    }
}

void cmd_hmget(struct call *c)
{
    struct object *o;
    if (!read_hash(c, 1, &o)) {
        return;
    }
    resp_array(&c->w, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        struct listpack_value v;
        if (o != NULL && hash_get(o, c->argv[i], &v)) {
            reply_hash_value(c, &v);
        } else {
            resp_nil(&c->w);
        }
    }
}

void cmd_hexists(struct call *c)
{
    struct object *o;
    struct listpack_value v;
    if (read_hash(c, 1, &o)) {
        resp_int(&c->w, o != NULL && hash_get(o, c->argv[2], &v));
    }
}

void cmd_hstrlen(struct call *c)
{
    struct object *o;
    struct listpack_value v = {.ptr = ""};
    if (!read_hash(c, 1, &o)) {
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    bool found = o != NULL && hash_get(o, c->argv[2], &v);
    resp_int(&c->w, !found          ? 0
                    : v.ptr != NULL ? (int64_t)v.len
                                    : (int64_t)num_print_i64(digits, v.number));
}

void cmd_hlen(struct call *c)
{
    struct object *o;
    if (read_hash(c, 1, &o)) {
        resp_int(&c->w, o == NULL ? 0 : (int64_t)hash_length(o));
    }
}

static void reply_all(struct call *c, bool fields, bool values)
{
    struct object *o;
    if (!read_hash(c, 1, &o)) {
        return;
    }
    size_t n = o == NULL ? 0 : hash_length(o);
    if (fields && values) {
        resp_map(&c->w, n);
    } else {
        resp_array(&c->w, n);
    }
    struct hash_walk w = {0};
    struct hash_pair pair;
    while (n > 0 && hash_next(o, &w, &pair)) {
        if (fields) {
            reply_hash_value(c, &pair.field);
        }
        if (values) {
            reply_hash_value(c, &pair.value);
        }
    }
}

void cmd_hgetall(struct call *c)
{
    reply_all(c, true, true);
}

void cmd_hkeys(struct call *c)
{
    reply_all(c, true, false);
}

void cmd_hvals(struct call *c)
{
    reply_all(c, false, true);
}
