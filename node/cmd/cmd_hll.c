// SPDX-License-Identifier: BSD-3-Clause
/* HyperLogLogs: PFADD, PFCOUNT, PFMERGE and what tests look into them with. */
#include "node/cmd/args.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/notify.h"
#include "node/keyspace/table.h"
#include "node/types/hll.h"
#include "node/types/string.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#define ERR_BROKEN "INVALIDOBJ Corrupted HLL object detected"

/* An object that may be missing (NULL): false if it is something else. */
static bool check_hll(struct call *c, const struct object *o)
{
    if (o == NULL) {
        return true;
    }
    if (!check_string(c, o)) {
        return false;
    }
    if (hll_is(o)) {
        return true;
    }
    resp_error(&c->w, "WRONGTYPE Key is not a valid HyperLogLog string value.");
    return false;
}

static struct slice value_of(const struct object *o)
{
    char digits[NUM_I64_MAX_LEN];
    return string_bytes(o, digits); /* no number: check_hll looked */
}

/* ---- one that is changed in its place, or made ---- */

struct edit {
    struct probe p;
    struct slice key;
    struct object *o;
    struct table_entry was;
    bool made;
    bool was_dense;
};

/* `o` is what the key holds; NULL: nothing. */
static void edit_begin(struct call *c, struct edit *e, size_t key, struct object *o)
{
    *e = (struct edit){.p = call_probe(c, key), .key = c->argv[key], .o = o, .made = o == NULL};
    if (e->made) {
        e->o = hll_new(e->key, OBJECT_NO_EXPIRE);
    } else {
        e->was = table_entry_of(o);
        e->was_dense = hll_is_dense(value_of(o));
        db_before(&c->db, &e->p, e->key);
    }
}

static void edit_end(struct call *c, struct edit *e, bool changed)
{
    if (e->made) {
        db_add(&c->db, &e->p, e->o);
    } else if (changed) {
        db_changed(&c->db, &e->p, &e->was, e->o);
    }
}

/* What a copy shall do that may have other limits: the words, and that it became dense. */
static void say_edit(struct call *c, const struct edit *e)
{
    if (!record_wanted(c)) {
        return;
    }
    if (!e->was_dense && hll_is_dense(value_of(e->o))) {
        record_say_log(c, &e->p, c->argv, c->argc);
        record_say_log(c, &e->p, (struct slice[]){SLICE("PFDEBUG"), SLICE("TODENSE"), e->key}, 3);
    }
}

/* It broke on the way: a copy shall have what came of it, without an error. */
static void fail_edit(struct call *c, struct edit *e, bool changed)
{
    if (changed) {
        hll_forget_count(&e->o);
    }
    edit_end(c, e, changed);
    if (changed) {
        record_say_set(c, &e->p, e->key, value_of(e->o), object_expire(e->o));
        c->changes++;
    }
    resp_error(&c->w, ERR_BROKEN);
}

/* Bytes from which on it becomes dense. What became so where it was written, a copy is told. */
static size_t sparse_max(const struct call *c)
{
    return c->db.applying ? HLL_SPARSE_ANY : c->ks->settings.hll_sparse_max_bytes;
}

/* ---- commands ---- */

void cmd_pfadd(struct call *c)
{
    struct probe p = call_probe(c, 1);
    struct object *o = db_find(&c->db, &p, c->argv[1]);
    if (!check_hll(c, o)) {
        return;
    }
    struct edit e;
    edit_begin(c, &e, 1, o);
    uint64_t changes = e.made;
    for (size_t i = 2; i < c->argc; i++) {
        enum hll_result r = hll_add(&e.o, c->argv[i], sparse_max(c));
        if (r == HLL_BROKEN) {
            fail_edit(c, &e, changes > 0);
            return;
        }
        changes += r == HLL_CHANGED;
    }
    if (changes > 0) {
        hll_forget_count(&e.o);
    }
    edit_end(c, &e, changes > 0);
    if (changes > 0) {
        notify(&c->db, NOTIFY_STRING, "pfadd", e.key);
        say_edit(c, &e);
        c->changes += changes;
    }
    resp_int(&c->w, changes > 0);
}

static void count_all(struct call *c)
{
    struct hll_registers *r = mem_zalloc(sizeof(*r));
    struct probes w = {.step = 1};
    for (size_t i = 1; i < c->argc; i++) {
        const struct object *o = db_read(&c->db, probes_at(c, &w, i), c->argv[i]);
        if (!check_hll(c, o)) {
            goto out;
        }
        if (o != NULL && !hll_read(value_of(o), r)) {
            resp_error(&c->w, ERR_BROKEN);
            goto out;
        }
    }
    resp_int(&c->w, (int64_t)hll_count_registers(r));
out:
    mem_free(r);
}

/* The count stays with the value, so that it need not be made again. To copies this is a write of
 * eight bytes; where this node serves copies itself, it writes nothing. */
static void keep_count(struct call *c, const struct probe *p, struct object *o, uint64_t count)
{
    struct slice key = c->argv[1];
    if (c->ks->shards[p->shard]->passive || c->db.applying) {
        return;
    }
    record_in_words(c);
    struct table_entry was = table_entry_of(o);
    db_before(&c->db, p, key);
    hll_keep_count(&o, count);
    db_changed(&c->db, p, &was, o);
    if (record_wanted(c)) {
        char bytes[sizeof(count)];
        char digits[NUM_I64_MAX_LEN];
        put_le64(bytes, count);
        struct slice at = slice_of(digits, num_print_i64(digits, HLL_CACHE_AT));
        record_say_log(
            c, p, (struct slice[]){SLICE("SETRANGE"), key, at, slice_of(bytes, sizeof(bytes))}, 4);
    }
    c->changes++;
}

void cmd_pfcount(struct call *c)
{
    if (c->argc > 2) {
        count_all(c);
        return;
    }
    struct probe p = call_probe(c, 1);
    struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (!check_hll(c, o)) {
        return;
    }
    uint64_t count = 0;
    if (o != NULL && !hll_kept_count(value_of(o), &count)) {
        if (!hll_count(value_of(o), &count)) {
            resp_error(&c->w, ERR_BROKEN);
            return;
        }
        keep_count(c, &p, o, count);
    }
    resp_int(&c->w, (int64_t)count);
}

/* All registers of the sources and of what is there, in *r. False: the error is written. */
static bool read_sources(struct call *c, struct hll_registers *r, bool *dense)
{
    for (size_t i = 1; i < c->argc; i++) {
        struct probe p = call_probe(c, i);
        const struct object *o = db_read(&c->db, &p, c->argv[i]);
        if (!check_hll(c, o)) {
            return false;
        }
        if (o == NULL) {
            continue;
        }
        *dense |= hll_is_dense(value_of(o));
        if (!hll_read(value_of(o), r)) {
            resp_error(&c->w, ERR_BROKEN);
            return false;
        }
    }
    return true;
}

void cmd_pfmerge(struct call *c)
{
    struct hll_registers *r = mem_zalloc(sizeof(*r));
    bool dense = false;
    if (!read_sources(c, r, &dense)) {
        mem_free(r);
        return;
    }
    struct probe p = call_probe(c, 1);
    struct edit e;
    edit_begin(c, &e, 1, db_find(&c->db, &p, c->argv[1]));
    enum hll_result result = dense ? hll_make_dense(&e.o) : HLL_SAME;
    if (result != HLL_BROKEN) {
        result = hll_raise(&e.o, r, sparse_max(c));
    }
    INVARIANT(result != HLL_BROKEN); /* it was read, and what is here are whole registers */
    mem_free(r);
    hll_forget_count(&e.o);
    edit_end(c, &e, true);
    notify(&c->db, NOTIFY_STRING, "pfadd", e.key);
    say_edit(c, &e);
    c->changes++;
    resp_ok(&c->w);
}

/* ---- PFDEBUG ---- */

/* False: it is broken, and the error is written. */
static bool make_dense(struct call *c, struct object *o, bool *was_sparse)
{
    struct edit e;
    edit_begin(c, &e, 2, o);
    enum hll_result result = hll_make_dense(&e.o);
    *was_sparse = result == HLL_CHANGED;
    if (result == HLL_BROKEN) {
        fail_edit(c, &e, false);
        return false;
    }
    edit_end(c, &e, *was_sparse);
    c->changes += *was_sparse;
    return true;
}

static void debug_registers(struct call *c, struct object *o)
{
    bool was_sparse;
    if (!make_dense(c, o, &was_sparse)) {
        return;
    }
    struct probe p = call_probe(c, 2);
    struct hll_registers *r = mem_zalloc(sizeof(*r));
    bool whole = hll_read(value_of(db_peek(&c->db, &p, c->argv[2])), r);
    INVARIANT(whole);
    resp_array(&c->w, HLL_REGISTERS);
    for (size_t i = 0; i < HLL_REGISTERS; i++) {
        resp_int(&c->w, r->of[i]);
    }
    mem_free(r);
}

static void debug_decode(struct call *c, const struct object *o)
{
    struct slice v = value_of(o);
    if (hll_is_dense(v)) {
        resp_error(&c->w, "ERR HLL encoding is not sparse");
        return;
    }
    struct str text = {0};
    struct hll_run run;
    size_t at = 0;
    while (hll_run_next(v, &at, &run)) {
        str_appendz(&text, text.len > 0 ? " " : "");
        if (run.value > 0) {
            str_printf(&text, "v:%u,%u", run.value, run.len);
        } else {
            str_printf(&text, "%c:%u", run.wide ? 'Z' : 'z', run.len);
        }
    }
    resp_bulk(&c->w, str_slice(&text));
    str_fini(&text);
}

void cmd_pfdebug(struct call *c)
{
    struct probe p = call_probe(c, 2);
    struct object *o = db_find(&c->db, &p, c->argv[2]);
    bool was_sparse;
    if (o == NULL) {
        resp_error(&c->w, "ERR The specified key does not exist");
    } else if (!check_hll(c, o)) {
        return;
    } else if (arg_is(c, 1, "GETREG")) {
        debug_registers(c, o);
    } else if (arg_is(c, 1, "DECODE")) {
        debug_decode(c, o);
    } else if (arg_is(c, 1, "ENCODING")) {
        resp_simple(&c->w, hll_is_dense(value_of(o)) ? "dense" : "sparse");
    } else if (arg_is(c, 1, "TODENSE")) {
        if (make_dense(c, o, &was_sparse)) {
            resp_int(&c->w, was_sparse);
        }
    } else {
        resp_errorf(&c->w, "ERR Unknown PFDEBUG subcommand '%.*s'", ARG_PRINT(c->argv[1]));
    }
}

/* ---- PFSELFTEST ---- */

/* Adds `n` random elements to a sparse one that may grow and to a dense one: both must have the
 * same registers, and counts near `n`. NULL: they do; else what is wrong. */
static const char *compare_forms(struct rng *rng, uint64_t n, size_t max)
{
    const char *wrong = NULL;
    struct object *sparse = hll_new(SLICE("a"), OBJECT_NO_EXPIRE);
    struct object *dense = hll_new(SLICE("b"), OBJECT_NO_EXPIRE);
    struct hll_registers *r[2] = {mem_zalloc(sizeof(*r[0])), mem_zalloc(sizeof(*r[1]))};
    bool fine = hll_make_dense(&dense) == HLL_CHANGED;
    for (uint64_t i = 0; i < n && fine; i++) {
        uint64_t element = rng_next(rng);
        struct slice v = slice_of((const char *)&element, sizeof(element));
        fine = hll_add(&sparse, v, max) == hll_add(&dense, v, max);
    }
    uint64_t counts[2] = {0};
    if (!fine) {
        wrong = "TESTFAILED sparse and dense disagree on what is new";
    } else if (!hll_read(value_of(sparse), r[0]) || !hll_read(value_of(dense), r[1]) ||
               memcmp(r[0], r[1], sizeof(*r[0])) != 0) {
        wrong = "TESTFAILED sparse and dense have other registers";
    } else if (!hll_count(value_of(sparse), &counts[0]) ||
               !hll_count(value_of(dense), &counts[1]) || counts[0] != counts[1] ||
               counts[0] != hll_count_registers(r[0])) {
        wrong = "TESTFAILED sparse and dense count otherwise";
    } else if (counts[0] * 20 < n * 19 || counts[0] * 20 > n * 21) {
        wrong = "TESTFAILED the count is too far off"; /* 5 %: six standard errors */
    }
    mem_free(r[0]);
    mem_free(r[1]);
    object_free(&sparse);
    object_free(&dense);
    return wrong;
}

void cmd_pfselftest(struct call *c)
{
    static const uint64_t sizes[] = {100, 1000, 10000, 100000};
    const char *wrong = NULL;
    for (size_t i = 0; i < ARRAY_LEN(sizes) && wrong == NULL; i++) {
        wrong = compare_forms(c->rng, sizes[i], i % 2 == 0 ? HLL_SPARSE_ANY : 3000);
    }
    if (wrong == NULL) {
        resp_ok(&c->w);
    } else {
        resp_error(&c->w, wrong);
    }
}
