// SPDX-License-Identifier: BSD-3-Clause
/* DEBUG: for tests and for looking inside; only with enable-debug-command. */
#include "node/admin/admin_priv.h"
#include "node/serve/durable.h"
#include "node/types/limits.h"

#include "common/app/debug_command.h"
#include "common/base/log.h"
#include "common/base/num.h"

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
        "OBJECT <key>",
        "    Show how a value is kept.",
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
