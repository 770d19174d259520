// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/record.h"

#include "node/cmd/args.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/feed.h"

#include "common/base/num.h"
#include "common/cmd/keys.h"
#include "common/cmd/slot.h"

/* ---- which shards ---- */

typedef void shard_fn(struct call *c, uint32_t shard);

static inline uint32_t shard_of(const struct call *c, struct slice key)
{
    return (uint32_t)keyspace_shard_of(c->ks, slot_of(key));
}

static bool is_keyless_write(const struct command *cmd)
{
    return cmd->id == CMD_FLUSHALL || cmd->id == CMD_FLUSHDB || cmd->id == CMD_SWAPDB;
}

/* Every shard of a command's keys, some more than once. */
static void each_shard(struct call *c, const struct command *cmd, const struct slice *argv,
                       size_t argc, shard_fn *visit)
{
    if (LIKELY(cmd->key_single != 0)) {
        visit(c, argv == c->argv && cmd->key_single == c->probe_arg
                     ? c->probe.shard
                     : shard_of(c, argv[cmd->key_single]));
        return;
    }
    if (is_keyless_write(cmd) && argv == c->argv && c->only != 0) {
        visit(c, c->only - 1);
        return;
    }
    if (is_keyless_write(cmd)) {
        for (int s = 0; s < c->ks->n_shards; s++) {
            if (keyspace_serves(c->ks, s)) {
                visit(c, (uint32_t)s);
            }
        }
        return;
    }
    struct key_list keys;
    key_list_init(&keys);
    if (keys_find(cmd, argv, argc, &keys) == KEYS_OK) {
        for (uint32_t i = 0; i < keys.count; i++) {
            visit(c, shard_of(c, argv[keys.keys[i].index]));
        }
    }
    key_list_fini(&keys);
}

/* The keys of a command whose words will be run again on copies: what it only reads must be there
 * too. */
static void guard_all(const struct call *c, const struct key_list *keys)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        struct slice key = c->argv[keys->keys[i].index];
        struct probe p = keyspace_probe_key(c->ks, key);
        db_before(&c->db, &p, key);
    }
}

static bool in_one_shard(const struct call *c)
{
    if (LIKELY(c->cmd->key_single != 0)) {
        return true;
    }
    struct key_list keys;
    key_list_init(&keys);
    bool one = keys_find(c->cmd, c->argv, c->argc, &keys) == KEYS_OK && keys.count > 0;
    uint32_t first = one ? shard_of(c, c->argv[keys.keys[0].index]) : 0;
    for (uint32_t i = 1; one && i < keys.count; i++) {
        one = shard_of(c, c->argv[keys.keys[i].index]) == first;
    }
    if (one && c->ks->shards[first] != NULL && c->ks->guards_n != 0) {
        guard_all(c, &keys);
    }
    key_list_fini(&keys);
    return one;
}

/* ---- groups ---- */

/* Whether effects tell whole values: these may be longer than the command's words. */
static bool tells_values(const struct call *c)
{
    if (c->cmd->key_single != 0) {
        return false;
    }
    struct key_list keys;
    key_list_init(&keys);
    bool several = c->cmd->id == CMD_SORT;
    if (keys_find(c->cmd, c->argv, c->argc, &keys) == KEYS_OK && keys.count > 0) {
        uint32_t first = shard_of(c, c->argv[keys.keys[0].index]);
        for (uint32_t i = 1; i < keys.count; i++) {
            several |= shard_of(c, c->argv[keys.keys[i].index]) != first;
        }
    }
    key_list_fini(&keys);
    return several;
}

bool record_has_room(const struct call *c)
{
    const struct collector *e = c->ks->collector;
    if (e == NULL || !command_is_write(c->cmd)) {
        return true;
    }
    size_t bytes = EFFECT_HEAD;
    for (size_t i = 0; i < c->argc; i++) {
        bytes += EFFECT_ARG + c->argv[i].len;
    }
    if (e->longest == 0) {
        return bytes <= EFFECT_ALONE_MAX;
    }
    size_t careful = e->group_max - e->group_max / 4;
    size_t sum = e->longest + bytes;
    return LIKELY(sum <= careful) || (sum <= e->group_max && !tells_values(c));
}

static void answer(struct call *c, uint32_t shard)
{
    if (LIKELY(keyspace_serves(c->ks, (int)shard))) {
        effect_answers(c->ks, shard);
    }
}

/* The shards in which a lane may ask what became of this. */
static void open_answers(struct call *c)
{
    if (command_is_write(c->cmd)) {
        each_shard(c, c->cmd, c->argv, c->argc, answer);
    } else if (c->cmd->id == CMD_EXEC) {
        const struct session *s = c->session;
        for (size_t i = 0; i < s->queued; i++) {
            const struct queued *q = &s->queue[i];
            if (command_is_write(q->cmd)) {
                each_shard(c, q->cmd, q->argv, q->argc, answer);
            }
        }
    }
}

/* What it removes because its time is over has nothing to do with what it does. */
static bool looks_anywhere(const struct command *cmd)
{
    return cmd->id == CMD_SCAN || cmd->id == CMD_RANDOMKEY;
}

void record_open(struct call *c)
{
    effect_open(c->ks, c->now_ms);
    if (UNLIKELY(c->ks->collector->feed != NULL)) {
        c->ks->collector->feed->apart = looks_anywhere(c->cmd);
    }
    if (c->lane != 0) {
        open_answers(c);
    }
}

void record_answers(struct call *c)
{
    if (c->ks->collector != NULL && c->lane != 0) {
        each_shard(c, c->cmd, c->argv, c->argc, answer);
    }
}

/* A script may have written to shards whose keys it did not name: one log may keep what another
 * loses, so none of them has a reply to give. One that names no keys can be asked for in any shard:
 * each that it wrote to tells of it. True: several shards. */
static bool note_script(const struct call *c)
{
    int64_t n_keys;
    if (c->argc > 2 && num_parse_i64(c->argv[2], &n_keys) && n_keys == 0) {
        effect_answers_all(c->ks);
    }
    return effect_entries(c->ks) > 1;
}

void record_close(struct call *c, size_t before)
{
    if (c->wait.asked) {
        effect_answers_none(c->ks);
    }
    if (c->ks->collector->n == 0 || c->lane == 0 || c->wait.asked) {
        effect_close(c->ks, NULL);
        return;
    }
    bool several = UNLIKELY(command_is_script(c->cmd)) && note_script(c);
    char reply[ENTRY_REPLY_MAX];
    size_t len = c->w.out->bytes - before;
    struct effect_origin o = {.lane = c->lane, .number = c->number, .reply = SLICE("")};
    if (len <= sizeof(reply) && !several) {
        outbuf_copy_last(c->w.out, reply, len);
        o.reply = slice_of(reply, len);
    } else {
        o.reply_gone = true;
    }
    effect_close(c->ks, &o);
}

/* ---- commands ---- */

/* Not by changes of keys: what it does is told whatever came of it. */
static bool is_always_told(const struct command *cmd)
{
    switch (cmd->id) {
    case CMD_FLUSHALL:
    case CMD_FLUSHDB:
    case CMD_SWAPDB:
    case CMD_PUBLISH:
    case CMD_SPUBLISH:
    case CMD_FUNCTION_DELETE:
    case CMD_FUNCTION_FLUSH:
    case CMD_FUNCTION_LOAD:
    case CMD_FUNCTION_RESTORE:
        return true;
    default:
        return false;
    }
}

static bool is_told(const struct command *cmd)
{
    return command_is_write(cmd) || cmd->id == CMD_PFCOUNT;
}

static void begin_feed(const struct call *c, struct feed *f)
{
    f->said = false;
    f->errors = c->w.errors;
    f->values = !is_told(c->cmd);
}

static void end_feed(const struct call *c, struct feed *f)
{
    f->values = false;
    bool told = is_always_told(c->cmd) ? c->w.errors == f->errors
                                       : c->ks->collector->changed && is_told(c->cmd);
    if (told && c->only != 0 && f->broke != NULL) {
        f->broke(f->arg); /* of one shard only */
    } else if (told && !f->said) {
        feed_put(f, c->db.index, c->argv, c->argc);
    }
}

void record_begin(struct call *c)
{
    struct collector *e = c->ks->collector;
    e->changed = false;
    e->said = false;
    e->by_value = !command_is_write(c->cmd) || !in_one_shard(c);
    if (UNLIKELY(e->feed != NULL)) {
        begin_feed(c, e->feed);
    }
}

void record_end(struct call *c)
{
    const struct collector *e = c->ks->collector;
    /* EXEC's commands have spoken for themselves. */
    if (e->changed && !e->said && !e->by_value && command_is_write(c->cmd)) {
        effect_put(c->ks, e->changed_shard, c->db.index, c->argv, c->argc);
    }
    if (UNLIKELY(e->feed != NULL)) {
        end_feed(c, e->feed);
    }
}

/* ---- said by handlers ---- */

void record_say_log(struct call *c, const struct probe *p, const struct slice *words, size_t n)
{
    if (record_wanted(c) && !c->ks->collector->by_value) {
        c->ks->collector->said = true;
        effect_put(c->ks, p->shard, c->db.index, words, n);
    }
}

void record_say_feed(struct call *c, const struct slice *words, size_t n)
{
    if (record_followed(c)) {
        c->ks->collector->feed->said = true;
        feed_put(c->ks->collector->feed, c->db.index, words, n);
    }
}

void record_hide_feed(struct call *c)
{
    if (record_followed(c)) {
        c->ks->collector->feed->said = true;
    }
}

void record_say(struct call *c, const struct probe *p, const struct slice *words, size_t n)
{
    record_say_log(c, p, words, n);
    record_say_feed(c, words, n);
}

void record_by_key(struct call *c)
{
    if (record_wanted(c)) {
        c->ks->collector->by_value = false;
    }
}

void record_by_value(struct call *c)
{
    if (record_wanted(c)) {
        c->ks->collector->by_value = true;
    }
}

void record_say_set(struct call *c, const struct probe *p, struct slice key, struct slice value,
                    int64_t at_ms)
{
    if (record_wanted(c)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice at = slice_of(digits, num_print_i64(digits, at_ms));
        record_say(c, p, (struct slice[]){SLICE("SET"), key, value, SLICE("PXAT"), at},
                   at_ms == OBJECT_NO_EXPIRE ? 3 : 5);
    }
}

void record_say_expire(struct call *c, const struct probe *p, struct slice key, int64_t at_ms)
{
    if (record_wanted(c)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice at = slice_of(digits, num_print_i64(digits, at_ms));
        record_say(c, p, (struct slice[]){SLICE("PEXPIREAT"), key, at}, 3);
    }
}

void record_say_del(struct call *c, const struct probe *p, struct slice key, bool lazily)
{
    record_say_log(c, p, (struct slice[]){SLICE("DEL"), key}, 2);
    record_say_feed(c, (struct slice[]){lazily ? SLICE("UNLINK") : SLICE("DEL"), key}, 2);
}

void record_share(struct call *c, const struct probe *p, int64_t n)
{
    if (record_wanted(c) && c->lane != 0 && c->ks->collector->by_value && !c->session->in_exec) {
        effect_share(c->ks, p->shard, n);
    }
}
