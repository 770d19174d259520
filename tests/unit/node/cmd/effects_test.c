// SPDX-License-Identifier: BSD-3-Clause
/* What commands leave in the log, and that a copy to which it is applied is equal. */
#include "node/cmd/apply.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/guard.h"
#include "node/types/string.h"

#include "common/resp/errors.h"

#include "tests/unit/node/cmd/node_fixture.h"
#include "tests/unit/unit.h"

/* ---- a primary whose entries are written down as text, and applied to a copy ---- */

struct pair {
    struct fixture f;
    struct keyspace *copy; /* with another seed: nothing may depend on the order of keys */
    struct applier applier;
    struct str log;   /* "shard/lane:number 'reply' db WORDS | db WORDS; " */
    struct str frame; /* entries that wait to be applied */
    struct slice ahead;
    bool late; /* they wait */
    uint64_t version;
    uint64_t entries;
    uint64_t touched;
};

static void write_down(struct pair *p, const struct entry *e)
{
    if (p->log.len > 0) {
        str_appendz(&p->log, "; ");
    }
    if (e->lane != 0) {
        str_printf(&p->log, "%llu:%llu ", (unsigned long long)e->lane,
                   (unsigned long long)e->number);
        if (e->flags & ENTRY_REPLY_GONE) {
            str_appendz(&p->log, "gone");
        } else {
            for (size_t i = 0; i < e->reply.len; i++) {
                char c = e->reply.ptr[i];
                if (c != '\n') {
                    str_append_char(&p->log, c);
                }
                if (c == '\r') {
                    p->log.ptr[p->log.len - 1] = i + 2 < e->reply.len ? ' ' : '.';
                }
            }
        }
    }
    struct effects it = effects_of(e);
    struct effect one;
    uint32_t n = 0;
    while (effects_next(&it, &one)) {
        struct slice argv[64];
        assert_true(one.argc <= 64);
        effect_args(&one, argv);
        str_appendz(&p->log, n++ > 0 ? " |" : e->lane != 0 ? " " : "");
        str_printf(&p->log, "%s%d", n > 1 ? " " : "", one.db);
        for (uint32_t i = 0; i < one.argc; i++) {
            str_printf(&p->log, " %.*s", (int)argv[i].len, argv[i].ptr);
        }
    }
    assert_int_equal(n, e->n_effects);
}

static void take_entry(void *arg, struct entry *e)
{
    struct pair *p = arg;
    assert_true(e->n_effects > 0 || e->lane != 0);
    assert_true(e->time_ms <= p->f.now_ms);
    write_down(p, e);
    p->entries++;
    if (p->late) {
        e->term = 1;
        e->version = ++p->version;
        entry_write(str_reserve(&p->frame, entry_size(e)), e);
        p->frame.len += entry_size(e);
    } else if (!apply_entry(&p->applier, p->copy, e)) {
        fail_msg("%s", p->applier.error);
    }
}

/* To look ahead in: some of what waits, with gaps. */
static bool some_ahead(void *arg, struct slice *entries)
{
    struct pair *p = arg;
    struct entry e;
    for (;;) {
        int64_t len = entry_read(p->ahead, &e);
        if (len <= 0) {
            return false;
        }
        *entries = slice_of(p->ahead.ptr, (size_t)len);
        p->ahead = slice_of(p->ahead.ptr + len, p->ahead.len - (size_t)len);
        if (rng_below(&p->f.rng, 5) > 0) {
            return true;
        }
    }
}

/* What waits, as if it came by a link. */
static void apply_late(struct pair *p)
{
    struct slice left = str_slice(&p->frame);
    p->ahead = left;
    apply_ahead(&p->applier, p->copy, some_ahead, p);
    while (left.len > 0) {
        struct entry e;
        int64_t len = entry_read(left, &e);
        assert_true(len > 0);
        if (!apply_entry(&p->applier, p->copy, &e)) {
            fail_msg("%s", p->applier.error);
        }
        left = slice_of(left.ptr + len, left.len - (size_t)len);
    }
    apply_ahead(&p->applier, p->copy, NULL, NULL);
    str_clear(&p->frame);
}

static void take_touch(void *arg, uint32_t shard, uint64_t hash)
{
    (void)shard;
    (void)hash;
    ((struct pair *)arg)->touched++;
}

static void take_touch_all(void *arg, uint32_t shard)
{
    (void)shard;
    ((struct pair *)arg)->touched++;
}

static void pair_open(struct pair *p)
{
    *p = (struct pair){0};
    fixture_open(&p->f);
    struct effect_sink sink = {
        .arg = p, .entry = take_entry, .touched = take_touch, .touched_all = take_touch_all};
    p->f.ks->collector = collector_new(&sink);
    p->copy = keyspace_new(FIXTURE_SHARDS, FIXTURE_DBS, 4711);
    for (int i = 0; i < FIXTURE_SHARDS; i++) {
        keyspace_shard_create(p->copy, i);
        p->copy->shards[i]->passive = true;
    }
    applier_init(&p->applier, &p->f.table);
}

static void pair_close(struct pair *p)
{
    collector_free(&p->f.ks->collector);
    keyspace_free(&p->copy);
    applier_fini(&p->applier);
    str_fini(&p->log);
    str_fini(&p->frame);
    fixture_close(&p->f);
}

/* ---- equality ---- */

struct comparing {
    struct keyspace *with;
    int db;
    uint64_t keys;
};

static void compare_object(void *arg, struct object *o)
{
    struct comparing *c = arg;
    struct slice key = object_key(o);
    struct probe p = keyspace_probe_key(c->with, key);
    struct db db = {.ks = c->with, .index = c->db};
    const struct object *other = db_raw(&db, &p, key);
    assert_non_null(other);
    assert_int_equal(object_expire(o), object_expire(other));
    if (o->type == OBJECT_STRING) {
        char digits[2][NUM_I64_MAX_LEN];
        assert_true(slice_eq(string_bytes(o, digits[0]), string_bytes(other, digits[1])));
    }
    c->keys++;
}

static void assert_equal(struct pair *p)
{
    for (int s = 0; s < FIXTURE_SHARDS; s++) {
        struct digest a;
        struct digest b;
        keyspace_digest_shard(p->f.ks, s, &a);
        keyspace_digest_shard(p->copy, s, &b);
        assert_memory_equal(&a, &b, sizeof(a));
        assert_int_equal(keyspace_shard_keys(p->f.ks, s), keyspace_shard_keys(p->copy, s));
    }
    for (int db = 0; db < FIXTURE_DBS; db++) {
        struct comparing c = {.with = p->copy, .db = db};
        keyspace_each(p->f.ks, db, compare_object, &c);
        assert_int_equal(c.keys, keyspace_keys(p->f.ks, db));
    }
}

static const char *does(struct pair *p, const char *line)
{
    str_clear(&p->log);
    say(&p->f, line);
    return str_cstr(&p->log);
}

static uint64_t lane_number;

/* As number `n` of lane 9. */
static const char *lane_does(struct pair *p, const char *line)
{
    str_clear(&p->log);
    p->f.lane = 9;
    p->f.number = ++lane_number;
    say(&p->f, line);
    p->f.lane = 0;
    return str_cstr(&p->log);
}

#define LEAVES(p, line, text)      assert_string_equal(does(p, line), text)
#define LANE_LEAVES(p, line, text) assert_string_equal(lane_does(p, line), text)

/* ---- words ---- */

static void test_effects_are_deterministic_words(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    p.f.now_ms = 1000000;
    LEAVES(&p, "set a 1", "0 set a 1");
    LEAVES(&p, "SET a 1 ex 10", "0 SET a 1 PXAT 1010000");
    LEAVES(&p, "SET a 1 px 10 get", "0 SET a 1 PXAT 1000010");
    LEAVES(&p, "SET a 1 exat 2000", "0 SET a 1 PXAT 2000000");
    LEAVES(&p, "SET a 2 keepttl", "0 SET a 2 PXAT 2000000");
    LEAVES(&p, "SET a 2 nx", "");
    LEAVES(&p, "SET b 2 xx", "");
    LEAVES(&p, "setex a 10 v", "0 SET a v PXAT 1010000");
    LEAVES(&p, "psetex a 10 v", "0 SET a v PXAT 1000010");
    LEAVES(&p, "setnx a v", "");
    LEAVES(&p, "setnx b v", "0 setnx b v");
    LEAVES(&p, "getset b w", "0 SET b w");
    LEAVES(&p, "getex b", "");
    LEAVES(&p, "getex b ex 7", "0 PEXPIREAT b 1007000");
    LEAVES(&p, "getex b persist", "0 PERSIST b");
    LEAVES(&p, "getex b persist", "");
    LEAVES(&p, "getex b exat 1", "0 DEL b");
    LEAVES(&p, "expire a 100", "0 PEXPIREAT a 1100000");
    LEAVES(&p, "expire a 100 nx", "");
    LEAVES(&p, "pexpireat a 1200000 gt", "0 PEXPIREAT a 1200000");
    LEAVES(&p, "persist a", "0 persist a");
    LEAVES(&p, "expire a -1", "0 DEL a");
    LEAVES(&p, "getdel a", "");
    LEAVES(&p, "incr n", "0 incr n");
    LEAVES(&p, "incrbyfloat n 0.5", "0 SET n 1.5 KEEPTTL");
    LEAVES(&p, "append n x", "0 append n x");
    LEAVES(&p, "incr n", "");
    LEAVES(&p, "getdel n", "0 DEL n");
    LEAVES(&p, "setrange s 3 x", "0 setrange s 3 x");
    LEAVES(&p, "setbit s 1 1", "0 setbit s 1 1");
    LEAVES(&p, "setbit s 1 1", "");
    LEAVES(&p, "bitfield s get u8 0", "");
    LEAVES(&p, "bitfield s set u8 0 7", "0 bitfield s set u8 0 7");
    LEAVES(&p, "pfadd h a b", "0 pfadd h a b");
    LEAVES(&p, "pfadd h a", "");
    assert_non_null(strstr(does(&p, "pfcount h"), "0 SETRANGE h 8 \x02"));
    LEAVES(&p, "pfcount h", "");
    p.f.ks->settings.hll_sparse_max_bytes = 30;
    LEAVES(&p, "pfadd h c d e f", "0 pfadd h c d e f | 0 PFDEBUG TODENSE h");
    LEAVES(&p, "pfmerge {h}m h", "0 pfmerge {h}m h | 0 PFDEBUG TODENSE {h}m");
    LEAVES(&p, "pfmerge {h}m h", "0 pfmerge {h}m h");
    LEAVES(&p, "pfdebug todense h", "");
    LEAVES(&p, "xadd x * f v", "0 XADD x 1000000-0 f v");
    LEAVES(&p, "xadd x 1000001-* f v", "0 XADD x 1000001-0 f v");
    LEAVES(&p, "xadd x 1000002-0 f v", "0 xadd x 1000002-0 f v");
    LEAVES(&p, "xadd x maxlen 2 * f v", "0 XADD x MAXLEN = 2 1000002-1 f v");
    LEAVES(&p, "xadd x maxlen ~ 2 * f v", "0 XADD x 1000002-2 f v");
    LEAVES(&p, "xtrim x maxlen ~ 1", "");
    LEAVES(&p, "xtrim x maxlen 2", "0 xtrim x maxlen 2");
    LEAVES(&p, "xtrim x maxlen ~ 0", "0 XTRIM x MAXLEN = 0");
    LEAVES(&p, "xadd x * f v", "0 XADD x 1000002-3 f v");
    LEAVES(&p, "xadd x minid ~ 2000000 * f v", "0 XADD x MAXLEN = 0 1000002-4 f v");
    LEAVES(&p, "xgroup create x g $", "0 xgroup create x g $");
    LEAVES(&p, "xgroup create x g $", "");
    LEAVES(&p, "xadd x * f v", "0 XADD x 1000002-5 f v");
    LEAVES(&p, "xreadgroup group g c count 9 streams x >",
           "0 XREADGROUP GROUP g c COUNT 1 STREAMS x >");
    LEAVES(&p, "xreadgroup group g d streams x >", "");
    LEAVES(&p, "xreadgroup group g d streams x 0", "0 XGROUP CREATECONSUMER x g d");
    LEAVES(&p, "xreadgroup group g c streams x 0", "0 XREADGROUP GROUP g c COUNT 1 STREAMS x 0");
    LEAVES(&p, "xclaim x g d 10 1000002-5", "");
    p.f.now_ms += 10;
    LEAVES(&p, "xclaim x g d 10 1000002-5", "0 xclaim x g d 10 1000002-5");
    LEAVES(&p, "xautoclaim x g c 0 -", "0 xautoclaim x g c 0 -");
    LEAVES(&p, "xdel x 1000002-5", "0 xdel x 1000002-5");
    LEAVES(&p, "xautoclaim x g c 0 -", "0 xautoclaim x g c 0 -");
    LEAVES(&p, "xack x g 1000002-5", "");
    p.f.now_ms -= 10;
    LEAVES(&p, "select 3", "");
    LEAVES(&p, "set x 1", "3 set x 1");
    LEAVES(&p, "move x 4", "3 move x 4");
    assert_equal(&p);
    pair_close(&p);
}

static void test_effects_of_sets(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    LEAVES(&p, "sadd s 1 2 3", "0 sadd s 1 2 3");
    LEAVES(&p, "sadd s 1", "");
    LEAVES(&p, "srem s 4", "");
    LEAVES(&p, "spop s 3", "0 DEL s");
    LEAVES(&p, "spop s", "");
    LEAVES(&p, "sadd s a", "0 sadd s a");
    LEAVES(&p, "spop s", "0 SREM s a");
    LEAVES(&p, "sadd s 1 2 a", "0 sadd s 1 2 a");
    LEAVES(&p, "smove s {s}t 1", "0 smove s {s}t 1");
    LEAVES(&p, "smove s u 9", "");
    does(&p, "smove s a a"); /* of another shard: by value */
    assert_non_null(strstr(str_cstr(&p.log), "RESTORE"));
    LEAVES(&p, "sunionstore {s}u s {s}t", "0 sunionstore {s}u s {s}t");
    LEAVES(&p, "sinterstore {s}u s {s}t", "0 sinterstore {s}u s {s}t");
    LEAVES(&p, "sinterstore {s}u s {s}t", "");
    EXPECT(&p.f, "srandmember s", "$1 2");
    assert_equal(&p);
    say(&p.f, "del s");
    struct str many = {0};
    str_appendz(&many, "sadd s");
    for (int i = 0; i < 58; i++) {
        str_printf(&many, " m%d", i);
    }
    does(&p, str_cstr(&many));
    does(&p, "spop s 57");
    assert_int_equal(strncmp(str_cstr(&p.log), "0 SREM s m", 10), 0);
    assert_equal(&p);
    str_fini(&many);
    pair_close(&p);
}

static void test_effects_of_lists(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    LEAVES(&p, "rpush l a b c a d", "0 rpush l a b c a d");
    LEAVES(&p, "lpushx m x", "");
    LEAVES(&p, "linsert l before b 7", "0 linsert l before b 7");
    LEAVES(&p, "linsert l before x 7", "");
    LEAVES(&p, "lset l -1 e", "0 lset l -1 e");
    LEAVES(&p, "lset l 99 e", "");
    LEAVES(&p, "lrem l 1 a", "0 lrem l 1 a");
    LEAVES(&p, "lrem l 1 x", "");
    LEAVES(&p, "ltrim l 0 -1", "");
    LEAVES(&p, "ltrim l 1 -1", "0 ltrim l 1 -1");
    LEAVES(&p, "lpop l", "0 lpop l");
    LEAVES(&p, "lpop l 0", "");
    LEAVES(&p, "rpush l 1 2 3 4 5 6 7", "0 rpush l 1 2 3 4 5 6 7");
    LEAVES(&p, "rpop l 2", "0 rpop l 2");
    LEAVES(&p, "lmpop 1 l left count 2", "0 LPOP l 2");
    LEAVES(&p, "blmpop 0 1 l right", "0 RPOP l 1");
    LEAVES(&p, "blpop nothere l {l}x 0", "0 LPOP l");
    LEAVES(&p, "brpop nothere l 0", "0 RPOP l");
    LEAVES(&p, "rpush l 8 9", "0 rpush l 8 9");
    LEAVES(&p, "lmove l {l}x left right", "0 LPOP l | 0 RPUSH {l}x 1");
    LEAVES(&p, "lmove l far right left", "0 RPOP l; 0 LPUSH far 9");
    LEAVES(&p, "blmove l l left right 0", "0 RPUSH l 2 | 0 LPOP l");
    LEAVES(&p, "rpoplpush l far", "0 RPOP l; 0 LPUSH far 2");
    LEAVES(&p, "brpoplpush l far 0", "0 RPOP l; 0 LPUSH far 8");
    LEAVES(&p, "lmove l {l}x right right", "0 RPOP l | 0 RPUSH {l}x 3");
    EXPECT(&p.f, "exists l", ":0");
    EXPECT(&p.f, "lrange far 0 -1", "*3 $1 8 $1 2 $1 9");
    LEAVES(&p, "brpoplpush l far 0", "");
    assert_equal(&p);
    pair_close(&p);
}

static void test_effects_of_hashes(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    LEAVES(&p, "hset h a 1 b 2", "0 hset h a 1 b 2");
    LEAVES(&p, "hmset h c x", "0 hmset h c x");
    LEAVES(&p, "hsetnx h c y", "");
    LEAVES(&p, "hsetnx h d y", "0 hsetnx h d y");
    LEAVES(&p, "hincrby h a 5", "0 hincrby h a 5");
    LEAVES(&p, "hincrby h c 5", "");
    LEAVES(&p, "hincrbyfloat h a 0.25", "0 HSET h a 6.25");
    LEAVES(&p, "hincrbyfloat h new 1e2", "0 HSET h new 100");
    LEAVES(&p, "hdel h nothere", "");
    LEAVES(&p, "hdel h a nothere new", "0 hdel h a nothere new");
    LEAVES(&p, "hdel h b c d e", "0 hdel h b c d e");
    EXPECT(&p.f, "exists h", ":0");
    LEAVES(&p, "hdel h b", "");
    assert_equal(&p);
    pair_close(&p);
}

static void test_effects_of_sorted_sets(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    LEAVES(&p, "zadd z 1 a 2 b 3 c", "0 zadd z 1 a 2 b 3 c");
    LEAVES(&p, "zadd z nx 1 a", "");
    LEAVES(&p, "zadd z gt ch 5 a 1 b", "0 zadd z gt ch 5 a 1 b");
    LEAVES(&p, "zincrby z 1.5 a", "0 zincrby z 1.5 a");
    LEAVES(&p, "zincrby z 0 a", "");
    LEAVES(&p, "zrem z nothing", "");
    LEAVES(&p, "zpopmin z", "0 zpopmin z");
    LEAVES(&p, "zmpop 2 y z max", "0 ZPOPMAX z 1");
    LEAVES(&p, "zmpop 2 y z max count 5", "0 ZPOPMAX z 1");
    LEAVES(&p, "bzpopmin y z 0", "");
    LEAVES(&p, "zadd z 1 a 2 b 3 c", "0 zadd z 1 a 2 b 3 c");
    LEAVES(&p, "bzpopmax y z 0", "0 ZPOPMAX z");
    LEAVES(&p, "bzmpop 0 2 y z min count 7", "0 ZPOPMIN z 2");
    LEAVES(&p, "zrangestore {z}x z 0 -1", "");
    LEAVES(&p, "zadd z 1 a 2 b", "0 zadd z 1 a 2 b");
    LEAVES(&p, "zrangestore {z}x z 0 -1", "0 zrangestore {z}x z 0 -1");
    LEAVES(&p, "zremrangebyscore z 5 6", "");
    LEAVES(&p, "zremrangebyrank z 0 0", "0 zremrangebyrank z 0 0");
    does(&p, "zunionstore a 2 z {z}x");
    assert_int_equal(strncmp(str_cstr(&p.log), "0 RESTORE a", 11), 0);
    assert_equal(&p);
    pair_close(&p);
}

static void test_commands_of_several_shards_are_told_by_value(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    p.f.now_ms = 1000000;
    /* a, b and c are of different shards, {a}x is of a's. */
    LEAVES(&p, "mset a 1 {a}x 2", "0 mset a 1 {a}x 2");
    LEAVES(&p, "mset a 1 b 2", "0 SET a 1; 0 SET b 2");
    LEAVES(&p, "msetnx a 1 c 2", "");
    LEAVES(&p, "msetnx c 1 d 2", "0 SET c 1; 0 SET d 2");
    LEAVES(&p, "del a nothere d", "0 DEL a; 0 DEL d");
    LEAVES(&p, "del b", "0 del b");
    LEAVES(&p, "unlink b", "");
    LEAVES(&p, "rename c {c}y", "0 rename c {c}y");
    LEAVES(&p, "pexpireat {c}y 2000000", "0 PEXPIREAT {c}y 2000000");
    LEAVES(&p, "rename {c}y a", "0 DEL {c}y; 0 SET a 1 PXAT 2000000");
    LEAVES(&p, "copy a b", "0 SET b 1 PXAT 2000000");
    LEAVES(&p, "copy a b", "");
    LEAVES(&p, "copy a {a}z db 3", "0 copy a {a}z db 3");
    LEAVES(&p, "copy a b db 3", "3 SET b 1 PXAT 2000000");
    LEAVES(&p, "bitop not b a", "0 SET b \xce");
    LEAVES(&p, "bitop not b nothere", "0 DEL b");
    LEAVES(&p, "bitop not {a}b a", "0 bitop not {a}b a");
    assert_equal(&p);
    pair_close(&p);
}

static void test_whole_databases_in_every_shard_that_has_something(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    say(&p.f, "mset a 1 b 2");
    LEAVES(&p, "swapdb 0 1", "0 SWAPDB 0 1; 0 SWAPDB 0 1");
    assert_equal(&p);
    LEAVES(&p, "flushdb", "");
    say(&p.f, "set a 5");
    LEAVES(&p, "flushdb", "0 FLUSHDB");
    assert_equal(&p);
    LEAVES(&p, "flushall", "0 FLUSHALL; 0 FLUSHALL");
    LEAVES(&p, "flushall", "");
    assert_equal(&p);
    /* Shards that another node serves are not concerned. */
    say(&p.f, "mset a 1 b 2");
    struct probe a = keyspace_probe_key(p.f.ks, SLICE("a"));
    p.f.ks->shards[a.shard]->passive = true;
    EXPECT(&p.f, "dbsize", ":1");
    EXPECT(&p.f, "keys *", "*1 $1 b");
    LEAVES(&p, "flushall", "0 FLUSHALL");
    p.f.ks->shards[a.shard]->passive = false;
    EXPECT(&p.f, "get a", "$1 1");
    assert_equal(&p);
    pair_close(&p);
}

static void test_expiry_is_del(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    say(&p.f, "set a 1 px 10");
    say(&p.f, "set {a}b 1 px 10");
    say(&p.f, "set c 1 px 10");
    p.f.now_ms += 11;
    LEAVES(&p, "get a", "0 DEL a");
    LEAVES(&p, "incr {a}b", "0 DEL {a}b | 0 incr {a}b");
    assert_equal(&p);
    str_clear(&p.log);
    keyspace_expire_cycle(p.f.ks, p.f.now_ms, 1000);
    assert_string_equal(str_cstr(&p.log), "0 DEL c");
    assert_equal(&p);
    /* While nothing expires, what is written over is removed first. */
    say(&p.f, "set a 1 px 10");
    p.f.ks->settings.expires_keys = false;
    p.f.now_ms += 11;
    LEAVES(&p, "get a", "");
    LEAVES(&p, "setnx a 2", "0 DEL a | 0 setnx a 2");
    p.f.ks->settings.expires_keys = true;
    EXPECT(&p.f, "getdel a", "$1 2");
    EXPECT(&p.f, "get a", "$-1");
    assert_equal(&p);
    /* Nobody removes anything where the shard is not served. */
    say(&p.f, "set c 1 px 10");
    struct probe c = keyspace_probe_key(p.f.ks, SLICE("c"));
    struct db db = {.ks = p.f.ks, .now_ms = p.f.now_ms + 11};
    assert_false(db_hides(&db, (int)c.slot, SLICE("c")));
    p.f.ks->shards[c.shard]->passive = true;
    assert_true(db_hides(&db, (int)c.slot, SLICE("c")));
    assert_false(db_hides(&db, (int)c.slot, SLICE("d")));
    db.now_ms = p.f.now_ms;
    assert_false(db_hides(&db, (int)c.slot, SLICE("c")));
    p.f.now_ms += 11;
    LEAVES(&p, "get c", "");
    EXPECT(&p.f, "exists c", ":0");
    keyspace_expire_cycle(p.f.ks, p.f.now_ms, 1000);
    assert_int_equal(keyspace_shard_keys(p.f.ks, (int)c.shard), 1);
    p.f.ks->shards[c.shard]->passive = false;
    keyspace_expire_cycle(p.f.ks, p.f.now_ms, 1000);
    assert_string_equal(str_cstr(&p.log), "0 DEL c");
    assert_equal(&p);
    pair_close(&p);
}

static void test_a_transaction_is_one_entry_a_shard(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    say(&p.f, "multi");
    LEAVES(&p, "set a 1", "");
    say(&p.f, "incr a");
    say(&p.f, "get a");
    say(&p.f, "incr b");
    say(&p.f, "select 1");
    say(&p.f, "set a x");
    say(&p.f, "incr a");
    LEAVES(&p, "exec", "0 set a 1 | 0 incr a | 1 set a x; 0 incr b");
    assert_equal(&p);
    pair_close(&p);
}

/* ---- lanes ---- */

static void test_a_lane_learns_of_every_write_that_ran(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    lane_number = 0;
    LANE_LEAVES(&p, "set a 1", "9:1 +OK. 0 set a 1");
    LANE_LEAVES(&p, "get a", "");
    LANE_LEAVES(&p, "incr a", "9:3 :2. 0 incr a");
    LANE_LEAVES(&p, "setnx a 1", "9:4 :0.");
    LANE_LEAVES(&p, "del b", "9:5 :0.");
    LANE_LEAVES(&p, "del a b {a}x", "9:6 :1. 0 DEL a; 9:6 :0.");
    LANE_LEAVES(&p, "mset a 1 b 2", "9:7 +OK. 0 SET a 1; 9:7 +OK. 0 SET b 2");
    LANE_LEAVES(&p, "append a xxxxxxxxxx", "9:8 :11. 0 append a xxxxxxxxxx");
    LANE_LEAVES(&p, "getset a 1xxxxxxxxxx", "9:9 $11 1xxxxxxxxxx. 0 SET a 1xxxxxxxxxx");
    LANE_LEAVES(&p, "incr a", "9:10 -ERR value is not an integer or out of range.");
    LANE_LEAVES(&p, "setrange a 80 x", "9:11 :81. 0 setrange a 80 x");
    LANE_LEAVES(&p, "getdel a", "9:12 gone 0 DEL a");
    /* Refused before they ran. */
    LANE_LEAVES(&p, "set a", "");
    p.f.ks->settings.maxmemory = 1;
    LANE_LEAVES(&p, "set a 1", "");
    p.f.ks->settings.maxmemory = 0;
    /* Read with an expiry on the way: nobody's. */
    lane_does(&p, "set e 1 px 1");
    p.f.now_ms += 2;
    LANE_LEAVES(&p, "get e", "0 DEL e");
    /* A transaction has EXEC's number. */
    LANE_LEAVES(&p, "multi", "");
    LANE_LEAVES(&p, "set a 1", "");
    LANE_LEAVES(&p, "get b", "");
    lane_number = 99;
    LANE_LEAVES(&p, "exec", "9:100 *2 +OK $1 2. 0 set a 1");
    /* One that a watched key stopped, too. */
    lane_does(&p, "watch a");
    say_as(&p.f, &p.f.other, "set a 2");
    lane_does(&p, "multi");
    lane_does(&p, "set a 1");
    lane_number = 199;
    LANE_LEAVES(&p, "exec", "9:200 *-1.");
    LANE_LEAVES(&p, "exec", ""); /* no transaction: no key, no shard */
    assert_equal(&p);
    str_clear(&p.log);
    lane_does(&p, "flushall");
    assert_int_equal(p.applier.entries, p.entries);
    assert_non_null(strstr(str_cstr(&p.log), "+OK. 0 FLUSHALL"));
    pair_close(&p);
}

/* ---- random ones ---- */

/* Of a kind: the letter behind its name; now and then of any. */
static void random_key(struct pair *p, char kind, struct str *to)
{
    static const char *const keys[] = {"a", "b", "{a}c", "{a}d", "{b}e", "f", "{a}g", "{f}h", "i"};
    static const char kinds[] = "klhsxz";
    if (rng_below(&p->f.rng, 10) == 0) {
        kind = kinds[rng_below(&p->f.rng, sizeof(kinds) - 1)];
    }
    str_append_char(to, ' ');
    str_appendz(to, keys[rng_below(&p->f.rng, ARRAY_LEN(keys))]);
    if (kind != 'k') {
        str_append_char(to, kind);
    }
}

/* k a key, l that of a list, h of a hash, s of a set, z of a sorted set, v a value, n a number, t a
 * short time from now, T a time on the clock, d a database */
static const char *const random_commands[] = {
    "set k v",
    "set k v",
    "set k v px t",
    "set k v ex t nx",
    "set k v pxat T xx get",
    "set k v keepttl",
    "setnx k v",
    "psetex k t v",
    "getset k v",
    "getdel k",
    "getex k px t",
    "getex k persist",
    "mset k v k v k v",
    "msetnx k v k v",
    "append k v",
    "setrange k n v",
    "pfadd k v v",
    "pfadd k",
    "pfcount k",
    "pfcount k k",
    "pfmerge k k k",
    "pfdebug todense k",
    "hset h v v",
    "hset h v v n v",
    "hmset h v v",
    "hsetnx h n v",
    "hincrby h n n",
    "hincrbyfloat h n n",
    "hdel h v n n",
    "hrandfield h n withvalues",
    "hscan h 0",
    "lpush l v v",
    "rpush l v v v",
    "rpushx l v",
    "linsert l before v v",
    "lset l n v",
    "lrem l 1 v",
    "lrem l 0 v",
    "ltrim l 0 n",
    "lpop l",
    "rpop l n",
    "lmpop 2 l l left count 2",
    "blpop l l 0",
    "lmove l l left right",
    "lmove l l left left",
    "rpoplpush l l",
    "brpoplpush l l 0",
    "rpush one 1",
    "expire one 1000",
    "rpoplpush one one",
    "lmove one one left left",
    "blmove one one left right 0",
    "rename l l",
    "copy l l replace",
    "pexpire l t",
    "incr k",
    "decrby k n",
    "incrbyfloat k n",
    "setbit k n 1",
    "setbit k n 0",
    "bitop and k k k",
    "bitop not k k",
    "bitfield k set u8 #1 n incrby i5 3 n",
    "bitfield k overflow fail incrby u4 0 n",
    "del k k k",
    "unlink k",
    "rename k k",
    "renamenx k k",
    "copy k k",
    "copy k k db d replace",
    "move k d",
    "pexpire k t",
    "pexpire k t gt",
    "pexpireat k T",
    "expire k -1",
    "persist k",
    "select d",
    "get k",
    "mget k k k",
    "exists k k",
    "scan 0",
    "randomkey",
    "swapdb d d",
    "flushdb",
    "multi",
    "exec",
    "exec",
    "discard",
    "touch k k",
    "keys *",
    "strlen k",
    "xadd x * f v",
    "xadd x * f v g v",
    "xadd x * f v",
    "xadd x * g v",
    "xadd x i-* f v",
    "xadd x nomkstream maxlen 5 * f v",
    "xadd x maxlen ~ 5 * f v",
    "xadd x minid ~ i * f v",
    "xadd x minid i * f v",
    "xadd x maxlen ~ 2 limit 4 * f v",
    "xtrim x maxlen ~ 3",
    "xtrim x maxlen 6",
    "xtrim x minid ~ i",
    "xdel x i i i i",
    "xsetid x i",
    "xgroup create x g1 0 mkstream",
    "xgroup create x g2 $",
    "xgroup setid x g1 i",
    "xgroup destroy x g2",
    "xgroup createconsumer x g1 c1",
    "xgroup delconsumer x g1 c1",
    "xreadgroup group g1 c1 count 2 streams x >",
    "xreadgroup group g1 c2 streams x x > >",
    "xreadgroup group g1 c3 noack streams x >",
    "xreadgroup group g1 c1 block 0 streams x >",
    "xreadgroup group g1 c1 count 2 streams x 0",
    "xreadgroup group g1 c4 streams x x i 0",
    "xread block 0 streams x $",
    "xack x g1 i i i",
    "xclaim x g1 c2 5 i i i i",
    "xclaim x g1 c5 0 i i force retrycount 3 idle 4",
    "xclaim x g1 c1 0 i lastid i justid force",
    "xautoclaim x g1 c1 3 - count 3",
    "xautoclaim x g1 c6 10 i justid",
    "copy x x replace",
    "rename x x",
    "sadd s v v v",
    "sadd s n n",
    "srem s v n",
    "spop s",
    "spop s n",
    "smove s s n",
    "smove s s v",
    "sunionstore s s s",
    "sinterstore s s s",
    "sdiffstore s s s",
    "sscan s 0",
    "srandmember s n",
    "zadd z n v n v n v",
    "zadd z n v n v n v",
    "zadd z nx ch n v",
    "zadd z gt n v",
    "zincrby z n v",
    "zrem z v v",
    "zpopmin z",
    "zpopmax z n",
    "zmpop 2 z z max count 2",
    "bzpopmin z z 0",
    "bzmpop 0 1 z min",
    "zremrangebyrank z n n",
    "zremrangebyscore z n +inf",
    "zunionstore z 2 z s weights 2 n",
    "zinterstore z 2 z z",
    "zdiffstore z 2 z z",
    "zrangestore z z n n",
    "zrandmember z n",
    "geoadd z 13.4 38.1 v 15 37.5 v",
    "geosearchstore z z fromlonlat 15 37 byradius 2000 km asc count 3",
    "georadius z 15 37 200 km storedist z",
    "set k v",
    "set k v px t",
};

static void random_line(struct pair *p, struct str *to)
{
    const char *t = random_commands[rng_below(&p->f.rng, ARRAY_LEN(random_commands))];
    if (strcmp(t, "flushdb") == 0 && rng_below(&p->f.rng, 4) != 0) {
        t = "get k";
    }
    str_clear(to);
    for (const char *c = t; *c != '\0'; c++) {
        bool lone = (c == t || c[-1] == ' ') && (c[1] == '\0' || c[1] == ' ');
        if (!lone) {
            str_append_char(to, *c);
            continue;
        }
        to->len--; /* the space: random_key has its own */
        switch (*c) {
        case 'k':
        case 'l':
        case 'h':
        case 's':
        case 'x':
        case 'z':
            random_key(p, *c, to);
            break;
        case 'v':
            if (rng_below(&p->f.rng, 2) == 0) {
                str_printf(to, " %d", (int)rng_below(&p->f.rng, 300));
            } else {
                str_printf(to, " v%0*d", (int)rng_below(&p->f.rng, 90) + 1, 7);
            }
            break;
        case 'n':
            str_printf(to, " %d", (int)rng_below(&p->f.rng, 200));
            break;
        case 't':
            str_printf(to, " %d", (int)rng_below(&p->f.rng, 40) + 1);
            break;
        case 'T':
            str_printf(to, " %lld",
                       (long long)(p->f.now_ms + (int64_t)rng_below(&p->f.rng, 60) - 20));
            break;
        case 'i':
            str_printf(to, " %lld", (long long)(p->f.now_ms - (int64_t)rng_below(&p->f.rng, 20)));
            break;
        case 'd':
            str_printf(to, " %d", (int)rng_below(&p->f.rng, 3));
            break;
        default:
            str_append_char(to, ' ');
            str_append_char(to, *c);
            break;
        }
    }
}

/* Every `batch` commands entries are applied and the copy looked at. */
static void compare_at_random(int batch)
{
    struct pair p;
    pair_open(&p);
    p.late = batch > 1;
    p.f.ks->settings.hll_sparse_max_bytes = 40; /* the copy has its own */
    p.f.ks->settings.stream_node_max_entries = 4;
    struct str line = {0};
    for (int i = 0; i < RANDOM_ROUNDS(30000); i++) {
        p.f.now_ms += (int64_t)rng_below(&p.f.rng, 4);
        if (rng_below(&p.f.rng, 50) == 0) {
            keyspace_expire_cycle(p.f.ks, p.f.now_ms, 100);
        } else {
            random_line(&p, &line);
            str_clear(&p.log);
            p.f.lane = rng_below(&p.f.rng, 2) * 5;
            p.f.number = (uint64_t)i;
            say(&p.f, str_cstr(&line));
        }
        if (i % batch == 0) {
            apply_late(&p);
            assert_equal(&p);
        }
    }
    assert_true(p.entries > RANDOM_ROUNDS(5000));
    assert_true(p.f.ks->stats.expired_keys > RANDOM_ROUNDS(500));
    assert_int_equal(p.copy->stats.expired_keys, 0);
    assert_int_equal(p.copy->stats.hits + p.copy->stats.misses, 0);
    str_fini(&line);
    pair_close(&p);
}

static void test_a_copy_is_equal_after_every_command(void **state)
{
    (void)state;
    compare_at_random(1);
}

static void test_a_copy_that_lags_is_equal_when_it_has_caught_up(void **state)
{
    (void)state;
    compare_at_random(3);
    compare_at_random(50);
}

static void test_what_has_no_room_in_an_entry_is_refused(void **state)
{
    (void)state;
    struct pair p;
    char value[401];
    struct str line = {0};
    pair_open(&p);
    p.f.ks->collector->group_max = 1000;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    str_printf(&line, "set {k}b %s", value);
    /* Alone it is not bound by that. */
    str_printf(&line, "%s%s%s", value, value, value);
    say(&p.f, str_cstr(&line));
    assert_int_equal(p.entries, 1);
    say(&p.f, "multi");
    str_clear(&line);
    str_printf(&line, "set {k}a %s", value);
    for (int i = 0; i < 4; i++) {
        say(&p.f, str_cstr(&line));
    }
    say(&p.f, "incr {k}n");
    say(&p.f, "rename {k}a a"); /* by value, which may be longer than its words */
    say(&p.f, "get {k}n");
    EXPECT(&p.f, "exec", "*7 +OK +OK -" ERR_ENTRY " -" ERR_ENTRY " :1 -" ERR_ENTRY " $1 1");
    assert_int_equal(p.entries, 2);
    EXPECT(&p.f, "rename {k}a a", "+OK");
    EXPECT(&p.f, "exists {k}a a", ":1");
    assert_equal(&p);
    str_fini(&line);
    pair_close(&p);
}

static void test_what_is_no_effect_is_refused(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct probe a = keyspace_probe_key(p.copy, SLICE("a"));
    static const char *const bad[] = {"get a",        "nonsense a", "set a",    "set b 1",
                                      "mset a 1 b 2", "eval x 0",   "incr a x", "shutdown"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice argv[8];
        char *copy = mem_strdup(bad[i]);
        size_t argc = split_words(copy, argv);
        struct str bytes = {0};
        effects_add(&bytes, 0, argv, argc);
        struct entry e = {.shard = (int)a.shard, .n_effects = 1, .effects = str_slice(&bytes)};
        assert_false(apply_entry(&p.applier, p.copy, &e));
        assert_true(strlen(p.applier.error) > 0);
        str_fini(&bytes);
        mem_free(copy);
    }
    assert_int_equal(keyspace_shard_keys(p.copy, (int)a.shard), 0);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_effects_are_deterministic_words),
        cmocka_unit_test(test_effects_of_sets),
        cmocka_unit_test(test_effects_of_sorted_sets),
        cmocka_unit_test(test_effects_of_lists),
        cmocka_unit_test(test_effects_of_hashes),
        cmocka_unit_test(test_commands_of_several_shards_are_told_by_value),
        cmocka_unit_test(test_whole_databases_in_every_shard_that_has_something),
        cmocka_unit_test(test_expiry_is_del),
        cmocka_unit_test(test_a_transaction_is_one_entry_a_shard),
        cmocka_unit_test(test_a_lane_learns_of_every_write_that_ran),
        cmocka_unit_test(test_a_copy_is_equal_after_every_command),
        cmocka_unit_test(test_a_copy_that_lags_is_equal_when_it_has_caught_up),
        cmocka_unit_test(test_what_has_no_room_in_an_entry_is_refused),
        cmocka_unit_test(test_what_is_no_effect_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
