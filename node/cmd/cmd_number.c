// SPDX-License-Identifier: BSD-3-Clause
/* Strings as numbers: INCR and its relatives. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/notify.h"
#include "node/keyspace/table.h"
#include "node/types/string.h"

#include "common/base/num.h"

#include <math.h>

static void add(struct call *c, int64_t by)
{
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    int64_t value = 0;
    if (!check_string(c, o)) {
        return;
    }
    if (o != NULL && !string_get_int(o, &value)) {
        resp_error(&c->w, ERR_NOT_INT);
        return;
    }
    if (__builtin_add_overflow(value, by, &value)) {
        resp_error(&c->w, "ERR increment or decrement would overflow");
        return;
    }
    if (o == NULL) {
        db_add(&c->db, &p, string_new_int(c->argv[1], OBJECT_NO_EXPIRE, value));
    } else {
        struct table_entry was = table_entry_of(o);
        db_before(&c->db, &p, c->argv[1]);
        if (string_set_int(o, value)) {
            db_changed(&c->db, &p, &was, o);
        } else {
            db_replace(&c->db, &p, o, string_new_int(c->argv[1], object_expire(o), value));
        }
    }
    c->changes++;
    notify(&c->db, NOTIFY_STRING, "incrby", c->argv[1]);
    resp_int(&c->w, value);
}

void cmd_incr(struct call *c)
{
    add(c, 1);
}

void cmd_decr(struct call *c)
{
    add(c, -1);
}

void cmd_incrby(struct call *c)
{
    int64_t by;
    if (arg_int(c, 2, &by)) {
        add(c, by);
    }
}

void cmd_decrby(struct call *c)
{
    int64_t by;
    if (!arg_int(c, 2, &by)) {
        return;
    }
    if (by == INT64_MIN) {
        resp_error(&c->w, "ERR decrement would overflow");
        return;
    }
    add(c, -by);
}

void cmd_incrbyfloat(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    if (!check_string(c, o)) {
        return;
    }
    long double value = 0;
    long double by;
    char digits[NUM_I64_MAX_LEN];
    if ((o != NULL && !num_parse_longdouble(string_bytes(o, digits), &value)) ||
        !num_parse_longdouble(c->argv[2], &by)) {
        resp_error(&c->w, ERR_NOT_FLOAT);
        return;
    }
    value += by;
    if (isnan(value) || isinf(value)) {
        resp_error(&c->w, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[NUM_LD_MAX_LEN];
    struct slice result = slice_of(text, num_print_longdouble(text, value));
    if (o == NULL) {
        db_add(&c->db, &p, string_new_bytes(c->argv[1], OBJECT_NO_EXPIRE, result, false));
    } else {
        db_replace(&c->db, &p, o, string_new_bytes(c->argv[1], object_expire(o), result, false));
    }
    c->changes++;
    notify(&c->db, NOTIFY_STRING, "incrbyfloat", c->argv[1]);
    record_say(c, &p, (struct slice[]){SLICE("SET"), c->argv[1], result, SLICE("KEEPTTL")}, 4);
    resp_bulk(&c->w, result);
}
