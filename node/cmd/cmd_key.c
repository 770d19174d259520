// SPDX-License-Identifier: BSD-3-Clause
/* Keys as such: DEL, EXISTS, RENAME, COPY, MOVE, OBJECT and their relatives. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/evict.h"
#include "node/keyspace/notify.h"

/* ---- many keys ---- */

static void remove_keys(struct call *c, bool lazily)
{
    int64_t removed = 0;
    struct probes w = {.step = 1};
    for (size_t i = 1; i < c->argc; i++) {
        const struct probe *p = probes_at(c, &w, i);
        struct object *o = db_peek(&c->db, p, c->argv[i]);
        if (o != NULL) {
            db_remove(&c->db, p, o, lazily);
            notify(&c->db, NOTIFY_GENERIC, "del", c->argv[i]);
            removed++;
        }
        record_share(c, p, o != NULL);
    }
    c->changes += (uint64_t)removed;
    resp_int(&c->w, removed);
}

void cmd_del(struct call *c)
{
    remove_keys(c, c->ks->settings.lazy_user_del);
}

void cmd_unlink(struct call *c)
{
    remove_keys(c, true);
}

void cmd_exists(struct call *c)
{
    int64_t found = 0;
    struct probes w = {.step = 1};
    for (size_t i = 1; i < c->argc; i++) {
        const struct probe *p = probes_at(c, &w, i);
        found += db_look(&c->db, p, c->argv[i]) != NULL;
    }
    resp_int(&c->w, found);
}

void cmd_touch(struct call *c)
{
    int64_t found = 0;
    struct probes w = {.step = 1};
    struct db db = c->db;
    db.no_touch = false;
    for (size_t i = 1; i < c->argc; i++) {
        const struct probe *p = probes_at(c, &w, i);
        found += db_read(&db, p, c->argv[i]) != NULL;
    }
    resp_int(&c->w, found);
}

void cmd_type(struct call *c)
{
    struct probe p = call_probe(c, 1);
    const struct object *o = db_look(&c->db, &p, c->argv[1]);
    resp_simple(&c->w, o == NULL ? "none" : object_type_name(o));
}

/* ---- to another key ---- */

static void rename_key(struct call *c, bool if_absent)
{
    struct probe from = call_probe(c, 1);
    struct probe to = call_probe(c, 2);
    /* The destination first: finding it may remove it, if it is over, but nothing else. */
    struct object *old = db_find(&c->db, &to, c->argv[2]);
    struct object *o = db_find(&c->db, &from, c->argv[1]);
    if (o == NULL) {
        resp_error(&c->w, ERR_NO_KEY);
        return;
    }
    bool moves = o != old && !(if_absent && old != NULL);
    if (moves) {
        if (old != NULL) {
            db_remove(&c->db, &to, old, c->ks->settings.lazy_server_del);
        }
        o = db_take(&c->db, &from, o);
        db_add(&c->db, &to, object_rekey(o, c->argv[2], object_expire(o)));
        notify(&c->db, NOTIFY_GENERIC, "rename_from", c->argv[1]);
        notify(&c->db, NOTIFY_GENERIC, "rename_to", c->argv[2]);
        c->changes++;
    }
    if (if_absent) {
        resp_int(&c->w, moves);
    } else {
        resp_ok(&c->w);
    }
}

void cmd_rename(struct call *c)
{
    rename_key(c, false);
}

void cmd_renamenx(struct call *c)
{
    rename_key(c, true);
}

static bool check_db(struct call *c, int index)
{
    if (index >= 0 && index < c->ks->n_dbs) {
        return true;
    }
    resp_error(&c->w, ERR_DB_INDEX);
    return false;
}

void cmd_copy(struct call *c)
{
    bool replace = false;
    struct db to_db = c->db;
    for (size_t i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "REPLACE")) {
            replace = true;
        } else if (arg_is(c, i, "DB") && i + 1 < c->argc) {
            if (!arg_small(c, ++i, &to_db.index) || !check_db(c, to_db.index)) {
                return;
            }
        } else {
            arg_syntax_error(c);
            return;
        }
    }
    if (to_db.index == c->db.index && slice_eq(c->argv[1], c->argv[2])) {
        resp_error(&c->w, "ERR source and destination objects are the same");
        return;
    }
    struct probe from = call_probe(c, 1);
    struct probe to = call_probe(c, 2);
    struct object *old = db_find(&to_db, &to, c->argv[2]);
    const struct object *o = db_read(&c->db, &from, c->argv[1]);
    if (o == NULL || (old != NULL && !replace)) {
        resp_int(&c->w, 0);
        return;
    }
    struct object *copy = object_copy(o, c->argv[2], object_expire(o));
    if (old != NULL) {
        db_remove(&to_db, &to, old, c->ks->settings.lazy_server_del);
    }
    db_add(&to_db, &to, copy);
    notify(&to_db, NOTIFY_GENERIC, "copy_to", c->argv[2]);
    c->changes++;
    resp_int(&c->w, 1);
}

void cmd_move(struct call *c)
{
    struct db to_db = c->db;
    if (!arg_small(c, 2, &to_db.index) || !check_db(c, to_db.index)) {
        return;
    }
    if (to_db.index == c->db.index) {
        resp_error(&c->w, "ERR source and destination objects are the same");
        return;
    }
    struct probe p = call_probe(c, 1);
    const struct object *there = db_find(&to_db, &p, c->argv[1]);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    if (o == NULL || there != NULL) {
        resp_int(&c->w, 0);
        return;
    }
    db_add(&to_db, &p, db_take(&c->db, &p, o));
    notify(&c->db, NOTIFY_GENERIC, "move_from", c->argv[1]);
    notify(&to_db, NOTIFY_GENERIC, "move_to", c->argv[1]);
    c->changes++;
    resp_int(&c->w, 1);
}

/* ---- OBJECT ---- */

/* NULL: it is missing, and the reply is written. */
static const struct object *object_or_nil(struct call *c)
{
    struct probe p = call_probe(c, 2);
    const struct object *o = db_look(&c->db, &p, c->argv[2]);
    if (o == NULL) {
        resp_nil(&c->w);
    }
    return o;
}

void cmd_object_encoding(struct call *c)
{
    const struct object *o = object_or_nil(c);
    if (o != NULL) {
        resp_bulkz(&c->w, object_encoding_name(o));
    }
}

void cmd_object_refcount(struct call *c)
{
    const struct object *o = object_or_nil(c);
    if (o != NULL) {
        const struct keyspace_settings *k = &c->ks->settings;
        bool apart = k->maxmemory != 0 && evict_keeps_clocks(k->maxmemory_policy);
        resp_int(&c->w, apart ? 1 : object_refcount(o));
    }
}

#define POLICY_SWITCH                                                                              \
    " Please note that when switching between policies at runtime LRU and LFU data will take "     \
    "some time to adjust."

void cmd_object_idletime(struct call *c)
{
    const struct object *o = object_or_nil(c);
    if (o == NULL) {
        return;
    }
    if (c->ks->settings.lfu) {
        resp_error(&c->w,
                   "ERR An LFU maxmemory policy is selected, idle time not tracked." POLICY_SWITCH);
        return;
    }
    resp_int(&c->w, db_idle_s(&c->db, o));
}

void cmd_object_freq(struct call *c)
{
    const struct object *o = object_or_nil(c);
    if (o == NULL) {
        return;
    }
    if (!c->ks->settings.lfu) {
        resp_error(&c->w, "ERR An LFU maxmemory policy is not selected, access frequency not "
                          "tracked." POLICY_SWITCH);
        return;
    }
    resp_int(&c->w, db_frequency(&c->db, o));
}

void cmd_object_help(struct call *c)
{
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value of the key is kept.",
        "FREQ <key>",
        "    Its access frequency counter, under an LFU policy.",
        "IDLETIME <key>",
        "    Seconds since it was last used.",
        "REFCOUNT <key>",
        "    1, or for small integers, which cost no memory of their own, a very big number.",
        "HELP",
        "    This text.",
    };
    resp_array(&c->w, ARRAY_LEN(lines));
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        resp_simple(&c->w, lines[i]);
    }
}
