// SPDX-License-Identifier: BSD-3-Clause
/* DEBUG: for tests and for looking inside; only with enable-debug-command. */
#include "node/admin/admin_priv.h"
#include "node/serve/durable.h"
#include "node/serve/replicate.h"
#include "node/types/limits.h"

#include "common/app/debug_command.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/cmd/slot.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define QUICKLIST_PACKED_MAX (((uint64_t)4 << 30) - (1 << 20))

static void debug_sleep(struct call *k)
{
    double seconds;
    if (!debug_read_seconds(k->argv[2], &seconds, &k->w)) {
        return;
    }
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&t, NULL);
    loop_update_now(server_of(k)->loop); /* keys may have expired meanwhile */
    resp_ok(&k->w);
}

static void debug_set_active_expire(struct call *k)
{
    k->ks->settings.active_expire = !slice_eq(k->argv[2], SLICE("0"));
    resp_ok(&k->w);
}

static void debug_pause_cron(struct call *k)
{
    server_of(k)->cron_paused = !slice_eq(k->argv[2], SLICE("0"));
    resp_ok(&k->w);
}

static void debug_disable_deny_scripts(struct call *k)
{
    server_of(k)->script_settings.deny_off = !slice_eq(k->argv[2], SLICE("0"));
    resp_ok(&k->w);
}

static void debug_object(struct call *k)
{
    struct probe p = keyspace_probe_key(k->ks, k->argv[2]);
    struct object *o = db_raw(&k->db, &p, k->argv[2]); /* one that has expired, too */
    if (o == NULL) {
        resp_error(&k->w, ERR_NO_KEY);
        return;
    }
    uint32_t clock = (uint32_t)(k->now_ms / 1000) & OBJECT_CLOCK_MASK;
    struct str text = {0};
    str_printf(&text,
               "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u lru_seconds_idle:%u",
               (void *)o, object_encoding_name(o), object_serialized_size(o), (unsigned)o->clock,
               (clock - o->clock) & OBJECT_CLOCK_MASK);
    resp_simple(&k->w, str_cstr(&text));
    str_fini(&text);
}

static void debug_digest(struct call *k)
{
    struct digest d = {0};
    char hex[41];
    keyspace_digest(k->ks, &d, k->now_ms);
    digest_hex(&d, hex);
    resp_simple(&k->w, hex);
}

/* Of every shard held here, served or not, with what has expired and is still there: equal on all
 * copies that have the same version. */
static void debug_digest_shards(struct call *k)
{
    resp_array(&k->w, (size_t)k->ks->held);
    for (int i = 0; i < k->ks->n_shards; i++) {
        if (k->ks->shards[i] != NULL) {
            struct digest d;
            char hex[41];
            char line[128];
            keyspace_digest_shard(k->ks, i, &d);
            digest_hex(&d, hex);
            (void)snprintf(line, sizeof(line), "shard=%d keys=%llu digest=%s", i,
                           (unsigned long long)keyspace_shard_keys(k->ks, i), hex);
            resp_bulkz(&k->w, line);
        }
    }
}

static void debug_digest_value(struct call *k)
{
    resp_array(&k->w, k->argc - 2);
    for (size_t i = 2; i < k->argc; i++) {
        struct digest d = {0};
        char hex[41];
        struct probe p = keyspace_probe_key(k->ks, k->argv[i]);
        /* Of what is served here: a proxy puts the nodes' answers together. */
        const struct object *o =
            keyspace_serves(k->ks, (int)p.shard) ? db_peek(&k->db, &p, k->argv[i]) : NULL;
        if (o != NULL) {
            object_digest_value(o, &d);
        }
        digest_hex(&d, hex);
        resp_simple(&k->w, hex);
    }
}

/* --- POPULATE --- */

/* The digits behind `prefix`, or behind it and ':'. */
static void number_name(struct str *to, struct slice prefix, uint64_t i)
{
    char digits[NUM_I64_MAX_LEN];
    str_clear(to);
    str_append_slice(to, prefix);
    str_append_char(to, ':');
    str_append(to, digits, num_print_u64(digits, i));
}

static bool positive(struct call *k, size_t i, int64_t *v)
{
    if (!num_parse_i64(k->argv[i], v) || *v < 0) {
        resp_error(&k->w, "ERR value is out of range, must be positive");
        return false;
    }
    return true;
}

/* A key that is there stays as it is. */
static void populate_one(struct call *k, struct slice key, struct slice value)
{
    const struct slice words[3] = {SLICE("SETNX"), key, value};
    struct outbuf reply = {0};
    struct call one = *k;
    one.cmd = command_by_id(CMD_SETNX);
    one.argv = words;
    one.argc = ARRAY_LEN(words);
    one.changes = 0;
    one.probe_arg = 0;
    one.wait = (struct call_wait){0};
    one.w = (struct resp_writer){.out = &reply, .proto = 2};
    call_handler(&one);
    k->changes += one.changes;
    outbuf_fini(&reply);
}

/* In a cluster those keys whose shards this node is primary of: a proxy sends it to all nodes. */
static void debug_populate(struct call *k)
{
    struct server *s = server_of(k);
    int64_t count, size = 0;
    struct slice prefix = k->argc > 3 ? k->argv[3] : SLICE("key");
    struct str key = {0}, value = {0};
    if (!positive(k, 2, &count) || (k->argc > 4 && !positive(k, 4, &size))) {
        return;
    }
    if ((uint64_t)size > (uint64_t)s->settings->proto_max_bulk_len) {
        resp_error(&k->w, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    if (s->repl != NULL) {
        replicate_exec(s, -1);
    }
    for (int64_t i = 0; i < count; i++) {
        number_name(&key, prefix, (uint64_t)i);
        int shard = keyspace_shard_of(k->ks, (int)slot_of(str_slice(&key)));
        if (s->repl != NULL) {
            if (replicate_may(s, client_of(k), shard, true) != REPL_YES) {
                continue;
            }
            replicate_exec(s, shard);
        }
        number_name(&value, SLICE("value"), (uint64_t)i);
        while (value.len < (size_t)size) {
            str_append_char(&value, '\0');
        }
        value.len = size > 0 ? (size_t)size : value.len;
        populate_one(k, str_slice(&key), str_slice(&value));
    }
    str_fini(&key);
    str_fini(&value);
    resp_ok(&k->w);
}

/* --- how values are kept --- */

/* Redis prints a value's structure with its elements; values are never in our logs, so it is the
 * size here. */
static void tell_structure(struct call *k, const char *encoding, const char *name)
{
    struct probe p = keyspace_probe_key(k->ks, k->argv[2]);
    const struct object *o = db_raw(&k->db, &p, k->argv[2]);
    if (o == NULL) {
        resp_error(&k->w, ERR_NO_KEY);
    } else if (strcmp(object_encoding_name(o), encoding) != 0) {
        resp_errorf(&k->w, "ERR Not a %s encoded object.", encoding);
    } else {
        log_event(LOG_NOTICE, "debug", "structure encoding=%s bytes=%zu", encoding,
                  object_memory(o));
        resp_simple(&k->w, name);
    }
}

static void debug_listpack(struct call *k)
{
    tell_structure(k, "listpack", "Listpack structure printed on stdout");
}

static void debug_quicklist(struct call *k)
{
    tell_structure(k, "quicklist", "Quicklist structure printed on stdout");
}

/* Our tables have no chains that could be long: how many keys there are is all that there is. */
static void debug_htstats(struct call *k)
{
    int64_t db;
    struct str text = {0};
    if (!num_parse_i64(k->argv[2], &db)) {
        resp_error(&k->w, ERR_NOT_INT);
        return;
    }
    if (db < 0 || db >= k->ks->n_dbs) {
        resp_error(&k->w, "ERR Out of range database");
        return;
    }
    unsigned long long keys = keyspace_keys(k->ks, (int)db);
    str_printf(&text, "[Dictionary HT]\nHash table 0 stats (main hash table):\n");
    if (keys == 0) {
        str_appendz(&text, "No stats available for empty dictionaries\n");
    } else {
        str_printf(&text, " number of elements: %llu\n", keys);
    }
    resp_verbatim(&k->w, "txt", str_slice(&text));
    str_fini(&text);
}

static void debug_segfault(struct call *k)
{
    (void)k;
    log_event(LOG_WARNING, "debug", "DEBUG SEGFAULT: ending on request");
    (void)raise(SIGSEGV);
}

static void debug_quicklist_threshold(struct call *k)
{
    uint64_t bytes;
    if (!num_parse_memory(k->argv[2], &bytes) || bytes > QUICKLIST_PACKED_MAX) {
        resp_error(&k->w, "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        return;
    }
    struct type_limits limits = *type_limits();
    limits.list_plain = bytes == 0 ? LIST_PLAIN_DEFAULT : bytes;
    type_limits_set(&limits);
    resp_ok(&k->w);
}

/* Replies gather in chunks that are given back when they are sent: there is no buffer that grows
 * with what it saw, so nothing to hold or to shrink. */
static void debug_replybuffer(struct call *k)
{
    int64_t ms;
    bool never = slice_is(k->argv[3], "never") || slice_is(k->argv[3], "reset");
    if (slice_is(k->argv[2], "peak-reset-time")) {
        if (!never && !num_parse_i64(k->argv[3], &ms)) {
            resp_error(&k->w, ERR_NOT_INT);
            return;
        }
    } else if (!slice_is(k->argv[2], "resizing")) {
        resp_errorf(&k->w,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG "
                    "HELP.",
                    ARG_PRINT(k->argv[1]));
        return;
    }
    resp_ok(&k->w);
}

static void reload(struct call *k, bool save, bool flush, bool merge)
{
    struct errmsg err = {0};
    switch (durable_reload(server_of(k), save, flush, merge, &err)) {
    case DURABLE_OK:
        resp_ok(&k->w);
        break;
    case DURABLE_BUSY:
        resp_error(&k->w, "ERR Background save already in progress");
        break;
    case DURABLE_FAILED:
    case DURABLE_NOTHING:
        log_event(LOG_WARNING, "debug", "DEBUG RELOAD failed: %s", err.text);
        resp_error(&k->w, "ERR Error trying to load the RDB dump, check server logs.");
        break;
    }
}

static void debug_reload(struct call *k)
{
    bool save = true, flush = true, merge = false;
    for (size_t i = 2; i < k->argc; i++) {
        if (slice_is(k->argv[i], "nosave")) {
            save = false;
        } else if (slice_is(k->argv[i], "noflush")) {
            flush = false;
        } else if (slice_is(k->argv[i], "merge")) {
            merge = true;
        } else {
            resp_error(&k->w, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE "
                              "options.");
            return;
        }
    }
    reload(k, save, flush, merge);
}

static void debug_loadaof(struct call *k)
{
    reload(k, true, true, false);
}

static void debug_help(struct call *k)
{
    static const char *const lines[] = {
        "DIGEST",
        "    Return a digest of all keys and values.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Return a digest of each value.",
        "DIGEST-SHARDS",
        "    Return a digest of each shard held here, of copies too.",
        "HTSTATS <dbid>",
        "    How many keys a database has.",
        "LISTPACK <key>, QUICKLIST <key>",
        "    Whether the value is kept so.",
        "OBJECT <key>",
        "    Show how a value is kept.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Make string keys named key:<number> where there are none.",
        "PAUSE-CRON <0|1>",
        "    Stop the periodic work, or go on with it.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    Bytes from which elements of lists are kept apart; 0: as always.",
        "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|milliseconds>",
        "    Has no effect: replies wait in chunks.",
        "REPLYBUFFER RESIZING <0|1>",
        "    Has no effect: replies wait in chunks.",
        "SEGFAULT",
        "    Crash.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Look for expired keys in the background, or not.",
        "SET-DISABLE-DENY-SCRIPTS <0|1>",
        "    Let scripts call what they may not, or no more.",
        "SLEEP <seconds>",
        "    Do nothing for so long, and let everybody wait.",
        NULL};
    debug_help_reply(lines, &k->w);
}

static const struct {
    const char *name;
    size_t argc_min;
    size_t argc_max; /* 0: no upper limit */
    call_fn fn;
} handlers[] = {
    {"sleep", 3, 3, debug_sleep},
    {"set-active-expire", 3, 3, debug_set_active_expire},
    {"pause-cron", 3, 3, debug_pause_cron},
    {"set-disable-deny-scripts", 3, 3, debug_disable_deny_scripts},
    {"object", 3, 4, debug_object},
    {"populate", 3, 5, debug_populate},
    {"listpack", 3, 3, debug_listpack},
    {"ziplist", 3, 3, debug_listpack},
    {"quicklist", 3, 4, debug_quicklist},
    {"htstats", 3, 4, debug_htstats},
    {"digest", 2, 2, debug_digest},
    {"digest-shards", 2, 2, debug_digest_shards},
    {"digest-value", 2, 0, debug_digest_value},
    {"segfault", 2, 2, debug_segfault},
    {"reload", 2, 0, debug_reload},
    {"loadaof", 2, 2, debug_loadaof},
    {"quicklist-packed-threshold", 3, 3, debug_quicklist_threshold},
    {"replybuffer", 4, 4, debug_replybuffer},
    {"help", 2, 2, debug_help},
};

static void do_debug(struct call *k)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        bool fits = k->argc >= handlers[i].argc_min &&
                    (handlers[i].argc_max == 0 || k->argc <= handlers[i].argc_max);
        if (fits && slice_is(k->argv[1], handlers[i].name)) {
            handlers[i].fn(k);
            return;
        }
    }
    if (debug_common(k->argv, k->argc, &k->w)) {
        return;
    }
    resp_errorf(&k->w,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG HELP.",
                ARG_PRINT(k->argv[1]));
}

void admin_debug(struct call_table *t)
{
    t->fn[CMD_DEBUG] = do_debug;
}
