// SPDX-License-Identifier: BSD-3-Clause
/* Scripts of strangers, and bytes of strangers given to the libraries that scripts have: whatever
 * these are, there is one whole reply, and all memory comes back. The first byte says what the rest
 * is: a script, a library of functions, a payload of them, or what one of the functions reads. */
#include "node/script/script.h"

#include "common/base/mem.h"
#include "common/resp/skip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHARDS = 2, MEMORY_MAX = 64 << 20, DEPTH = 24 };

struct world {
    struct keyspace *ks;
    struct call_table table;
    struct session session;
    struct script_settings settings;
    struct scripts *scripts;
    struct rng rng;
    struct outbuf out;
    struct str reply;
    int64_t now_us;
};

/* Each look at the clock is a while later: what does not end is soon slow, and killed. */
static int64_t now_us(void *arg)
{
    struct world *w = arg;
    w->now_us += 40 * 1000;
    return w->now_us;
}

static unsigned began(void *arg, struct call *c)
{
    (void)arg;
    (void)c;
    return DEPTH;
}

static void ended(void *arg)
{
    (void)arg;
}

static bool may_call(void *arg, const struct call *c, const struct call *inner, struct str *why)
{
    (void)arg;
    (void)c;
    (void)inner;
    (void)why;
    return true;
}

static bool may_write(void *arg, const struct call *c, struct str *why)
{
    return may_call(arg, c, NULL, why);
}

static void rejected(void *arg, const struct command *cmd, const char *code)
{
    (void)arg;
    (void)cmd;
    (void)code;
}

static bool marks_errors(void *arg, const struct call *c)
{
    (void)arg;
    (void)c;
    return false;
}

static void alive(void *arg)
{
    (void)arg;
}

static void busy(void *arg)
{
    scripts_abort(((struct world *)arg)->scripts);
}

static void script_log(void *arg, int level, struct slice text)
{
    (void)arg;
    (void)level;
    (void)text;
}

static bool libraries_changed(void *arg, struct str *why)
{
    (void)arg;
    (void)why;
    return true;
}

static void check_reply(struct world *w)
{
    str_clear(&w->reply);
    while (w->out.bytes > 0) {
        struct iovec iov;
        outbuf_iovec(&w->out, &iov, 1);
        str_append(&w->reply, iov.iov_base, iov.iov_len);
        outbuf_consume(&w->out, iov.iov_len);
    }
    struct resp_skip skip;
    size_t end;
    resp_skip_init(&skip);
    INVARIANT(resp_skip(&skip, str_slice(&w->reply), &end) == SKIP_OK);
    INVARIANT(end == w->reply.len);
}

static void say(struct world *w, const struct slice *argv, size_t argc)
{
    struct call c = {.cmd = command_find(argv, argc),
                     .argv = argv,
                     .argc = argc,
                     .w = {.out = &w->out},
                     .session = &w->session,
                     .ks = w->ks,
                     .rng = &w->rng,
                     .now_ms = 1700000000000};
    call_run(&w->table, &c);
    check_reply(w);
}

static void open_world(struct world *w)
{
    const struct script_port port = {.arg = w,
                                     .now_us = now_us,
                                     .began = began,
                                     .ended = ended,
                                     .marks_errors = marks_errors,
                                     .may_call = may_call,
                                     .may_write = may_write,
                                     .rejected = rejected,
                                     .alive = alive,
                                     .busy = busy,
                                     .log = script_log,
                                     .libraries_changed = libraries_changed};
    w->ks = keyspace_new(SHARDS, 2, 1);
    for (int i = 0; i < SHARDS; i++) {
        keyspace_shard_create(w->ks, i);
    }
    w->settings = (struct script_settings){.busy_threshold_ms = 100, .memory_max = MEMORY_MAX};
    call_table_data(&w->table);
    rng_init(&w->rng, 1);
    session_init(&w->session);
    w->scripts = scripts_new(&port, &w->settings, 1);
    scripts_handlers(&w->table, w->scripts);
}

static void close_world(struct world *w)
{
    scripts_free(&w->scripts);
    session_fini(&w->session, w->ks);
    keyspace_free(&w->ks);
    outbuf_fini(&w->out);
    str_fini(&w->reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const readers[] = {
        "return cjson.decode(ARGV[1])",
        "return cjson.encode(cjson.decode(ARGV[1]))",
        "return cmsgpack.unpack(ARGV[1])",
        "return {cmsgpack.unpack_limit(ARGV[1], 3, #ARGV[1] % 5)}",
        "return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))",
        "return struct.unpack(ARGV[1]:sub(1, 9), ARGV[1]:sub(10))",
        "return struct.pack(ARGV[1]:sub(1, 9), 1, 'two', 3, ARGV[1])",
        "return struct.size(ARGV[1])",
        "return {ARGV[1]:find(ARGV[1]:sub(1, 20)), ARGV[1]:gsub('%w', ARGV[1])}",
        "return loadstring(ARGV[1]) and loadstring(ARGV[1])()",
        "return redis.call(ARGV[1], KEYS[1], ARGV[1], 1, 2)",
        "return string.format(ARGV[1], 1, 2, 3)",
    };
    if (size == 0) {
        return 0;
    }
    struct world w = {0};
    struct slice rest = slice_of((const char *)data + 1, size - 1);
    open_world(&w);
    w.session.proto = 2 + data[0] / 128;
    unsigned what = data[0] % (3 + ARRAY_LEN(readers));
    if (what == 0) {
        say(&w, (struct slice[]){SLICE("EVAL"), rest, SLICE("1"), SLICE("k"), SLICE("v")}, 5);
    } else if (what == 1) {
        say(&w, (struct slice[]){SLICE("FUNCTION"), SLICE("LOAD"), rest}, 3);
        say(&w, (struct slice[]){SLICE("FCALL"), SLICE("f"), SLICE("1"), SLICE("k")}, 4);
    } else if (what == 2) {
        say(&w, (struct slice[]){SLICE("FUNCTION"), SLICE("RESTORE"), rest}, 3);
    } else {
        struct slice script = slice_str(readers[what - 3]);
        say(&w, (struct slice[]){SLICE("EVAL"), script, SLICE("1"), SLICE("k"), rest}, 5);
    }
    close_world(&w);
    return 0;
}
