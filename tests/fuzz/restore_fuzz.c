// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes as the payload of RESTORE, of any type. What is taken is then used by commands of
 * every type, dumped and restored again: it must mean the same, and the tables hold what they
 * must. */
#include "node/cmd/call.h"
#include "node/keyspace/table.h"
#include "node/types/rdb.h"

#include "common/base/bytes.h"
#include "common/base/crc.h"
#include "common/base/str.h"
#include "common/resp/skip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHARDS = 2, WORDS_MAX = 12 };

struct world {
    struct keyspace *ks;
    struct call_table table;
    struct session session;
    struct rng rng;
    struct outbuf out;
    struct str reply;
};

/* One whole reply. */
static struct slice run_words(struct world *w, const struct slice *argv, size_t argc)
{
    char error[COMMAND_ERROR_MAX];
    struct call c = {.cmd = command_resolve(argv, argc, error),
                     .argv = argv,
                     .argc = argc,
                     .w = {.out = &w->out, .proto = w->session.proto},
                     .session = &w->session,
                     .ks = w->ks,
                     .rng = &w->rng,
                     .now_ms = 1700000000000};
    INVARIANT(c.cmd != NULL);
    call_run(&w->table, &c);
    str_clear(&w->reply);
    while (w->out.bytes > 0) {
        struct iovec iov;
        outbuf_iovec(&w->out, &iov, 1);
        str_append(&w->reply, iov.iov_base, iov.iov_len);
        outbuf_consume(&w->out, iov.iov_len);
    }
    struct resp_skip skip;
    resp_skip_init(&skip);
    size_t end;
    INVARIANT(resp_skip(&skip, str_slice(&w->reply), &end) == SKIP_OK);
    INVARIANT(end == w->reply.len);
    return str_slice(&w->reply);
}

/* Words parted by blanks. */
static struct slice run(struct world *w, const char *line)
{
    struct slice argv[WORDS_MAX];
    size_t argc = 0;
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        INVARIANT(argc < WORDS_MAX);
        argv[argc++] = slice_of(line, len);
        line += len + (line[len] == ' ');
    }
    return run_words(w, argv, argc);
}

static const char *const reads[] = {
    "type k",
    "object encoding k",
    "get k",
    "getrange k 1 -2",
    "bitcount k",
    "pfcount k",
    "pfdebug encoding k",
    "pfdebug decode k",
    "lrange k 0 -1",
    "lindex k -2",
    "lpos k a rank -1",
    "hgetall k",
    "hget k a",
    "hstrlen k 7",
    "hrandfield k 5 withvalues",
    "hscan k 0 count 100",
    "smembers k",
    "sismember k 7",
    "sinter k k",
    "srandmember k -5",
    "sscan k 0 count 100",
    "zrange k 0 -1 withscores",
    "zrangebyscore k (1 +inf limit 1 3",
    "zrangebylex k [a (z",
    "zrevrank k a",
    "zcount k -inf 5",
    "zscan k 0 count 100",
    "xrange k - +",
    "xrevrange k + - count 3",
    "xread count 2 streams k 1",
    "xinfo stream k full count 0",
    "xinfo groups k",
    "xpending k g",
    "xpending k g - + 10",
    "sort_ro k alpha",
};

static const char *const writes[] = {
    "append k x",
    "setrange k 3 abc",
    "pfadd k a b c d e",
    "pfmerge k k",
    "lpush k a 5",
    "rpush k b 123456789012",
    "linsert k before a x",
    "lset k 1 long-long-long-long-long-long-long-long-long-long-long-long-long-long-long",
    "lrem k 0 a",
    "lpop k",
    "rpop k 2",
    "ltrim k 1 -2",
    "hset k a 1 bb 22",
    "hincrby k a 5",
    "hset k long long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-l",
    "hdel k bb 7",
    "sadd k a 7 70000 5000000000",
    "srem k 7 b",
    "spop k 2",
    "zadd k 1 a 2.5 b -inf c",
    "zincrby k 3 a",
    "zrem k b",
    "zpopmin k 2",
    "zremrangebyrank k 0 1",
    "xadd k * f v",
    "xadd k * a 1 b 2",
    "xgroup create k g 0",
    "xreadgroup group g me count 5 streams k >",
    "xreadgroup group g me streams k 0",
    "xautoclaim k g other 0 - count 3",
    "xack k g 1-1 2-0",
    "xdel k 1-1 1-2 2-0",
    "xtrim k maxlen 3",
    "xgroup delconsumer k g me",
    "persist k",
    "copy k {k}3 replace",
    "rename {k}3 {k}4",
    "del {k}4",
};

static struct object *object_at(struct world *w, struct slice key)
{
    struct probe p = keyspace_probe_key(w->ks, key);
    struct db db = {.ks = w->ks};
    return db_raw(&db, &p, key);
}

/* What is dumped is restored to the same. */
static void check_again(struct world *w)
{
    const struct object *o = object_at(w, SLICE("k"));
    if (o == NULL) {
        return;
    }
    struct str payload = {0};
    rdb_write_payload(&payload, o, true);
    struct slice words[] = {SLICE("restore"), SLICE("{k}2"), SLICE("0"), str_slice(&payload),
                            SLICE("replace")};
    struct slice reply = run_words(w, words, ARRAY_LEN(words));
    INVARIANT(slice_eq(reply, SLICE("+OK\r\n")));
    struct digest was;
    struct digest is;
    object_digest_value(object_at(w, SLICE("k")), &was);
    object_digest_value(object_at(w, SLICE("{k}2")), &is);
    INVARIANT(memcmp(&was, &is, sizeof(was)) == 0);
    str_fini(&payload);
}

/* The bytes, with the tail that a payload has. */
static bool restore(struct world *w, const uint8_t *data, size_t size)
{
    struct str payload = {0};
    str_append(&payload, data, size);
    char tail[2];
    put_le16(tail, RDB_VERSION);
    str_append(&payload, tail, sizeof(tail));
    char crc[8];
    put_le64(crc, crc64(0, payload.ptr, payload.len));
    str_append(&payload, crc, sizeof(crc));
    struct slice words[] = {SLICE("restore"), SLICE("k"), SLICE("0"), str_slice(&payload)};
    bool taken = run_words(w, words, ARRAY_LEN(words)).ptr[0] == '+';
    str_fini(&payload);
    return taken;
}

static void check_tables(const struct keyspace *ks)
{
    for (int s = 0; ks->dbs[0].tables != NULL && s < SHARDS; s++) {
        if (ks->dbs[0].tables[s] != NULL) {
            table_check(ks->dbs[0].tables[s]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.ks = keyspace_new(SHARDS, 1, 1)};
    for (int i = 0; i < SHARDS; i++) {
        keyspace_shard_create(w.ks, i);
    }
    call_table_data(&w.table);
    rng_init(&w.rng, 1);
    session_init(&w.session);
    w.session.proto = size % 2 == 0 ? 2 : 3;
    if (restore(&w, data, size)) {
        for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
            run(&w, reads[i]);
        }
        check_again(&w);
        for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
            run(&w, writes[i]);
            check_tables(w.ks);
        }
        check_again(&w);
    }
    session_fini(&w.session, w.ks);
    keyspace_free(&w.ks);
    outbuf_fini(&w.out);
    str_fini(&w.reply);
    return 0;
}
