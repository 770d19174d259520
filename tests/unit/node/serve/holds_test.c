// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/holds.h"

#include "node/serve/client.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHARDS  4
#define CLIENTS 8

struct world {
    struct loop *loop;
    struct holds *holds;
    struct client clients[CLIENTS];
    int fds[CLIENTS];
    int closed[CLIENTS];
};

static void on_data(struct stream *st)
{
    inbuf_consume(&st->in, inbuf_unread(&st->in).len);
}

static void on_close(struct stream *st, int err)
{
    struct client *c = st->owner;
    (void)err;
    c->commands++; /* here: how often it was closed */
}

static void setup(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->loop = loop_new();
    w->holds = holds_new(SHARDS);
    for (int i = 0; i < CLIENTS; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        w->clients[i].stream = stream_new(w->loop, fds[0], &w->clients[i], on_data, on_close);
        hold_ring_init(&w->clients[i].holds);
        w->fds[i] = fds[1];
    }
}

static void teardown(struct world *w)
{
    for (int i = 0; i < CLIENTS; i++) {
        holds_forget(w->holds, &w->clients[i]);
        stream_free(&w->clients[i].stream);
        close(w->fds[i]);
    }
    assert_int_equal(holds_count(w->holds), 0);
    holds_free(&w->holds);
    loop_free(&w->loop);
}

static void reply(struct world *w, int client, int shard, uint64_t version, const char *text)
{
    struct client *c = &w->clients[client];
    uint64_t at = stream_end(c->stream);
    outbuf_append(&c->stream->out, text, strlen(text));
    if (version > 0) {
        holds_add(w->holds, c, at, shard, version);
    }
    stream_flush_later(c->stream);
}

static void expect(struct world *w, int client, const char *text)
{
    char got[256];
    loop_turn(w->loop, false);
    ssize_t n = read(w->fds[client], got, sizeof(got));
    n = n < 0 ? 0 : n;
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, (size_t)n);
}

static void test_replies_leave_in_order_as_versions_commit(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    reply(&w, 0, 1, 0, "a");
    reply(&w, 0, 1, 5, "b");
    reply(&w, 0, 1, 0, "c");
    reply(&w, 0, 2, 3, "d");
    reply(&w, 0, 1, 6, "e");
    expect(&w, 0, "a");
    holds_committed(w.holds, 2, 9);
    expect(&w, 0, "");
    holds_committed(w.holds, 1, 5);
    expect(&w, 0, "bcd");
    assert_int_equal(holds_count(w.holds), 1);
    holds_committed(w.holds, 1, 6);
    expect(&w, 0, "e");
    reply(&w, 0, 1, 6, "f"); /* committed already */
    expect(&w, 0, "f");
    assert_int_equal(holds_count(w.holds), 0);
    assert_int_equal(holds_total(w.holds), 3);
    teardown(&w);
}

static void test_a_reply_of_several_shards_waits_for_all(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    uint64_t at = stream_end(w.clients[0].stream);
    reply(&w, 0, 0, 0, "x");
    holds_add(w.holds, &w.clients[0], at, 0, 1);
    holds_add(w.holds, &w.clients[0], at, 1, 1);
    holds_add(w.holds, &w.clients[0], at, 2, 1);
    holds_committed(w.holds, 1, 1);
    expect(&w, 0, "");
    holds_committed(w.holds, 0, 1);
    expect(&w, 0, "");
    holds_committed(w.holds, 2, 1);
    expect(&w, 0, "x");
    teardown(&w);
}

static void test_a_lost_shard_ends_those_who_wait_for_it_only(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    reply(&w, 0, 0, 1, "a");
    reply(&w, 0, 3, 1, "b"); /* behind another shard's */
    reply(&w, 1, 0, 1, "c");
    reply(&w, 2, 3, 1, "d");
    holds_lost(w.holds, 3);
    assert_int_equal(holds_ended(w.holds), 2);
    holds_committed(w.holds, 0, 1);
    expect(&w, 1, "c");
    expect(&w, 0, "");
    expect(&w, 2, "");
    assert_int_equal(w.clients[0].commands, 1);
    assert_int_equal(w.clients[1].commands, 0);
    assert_int_equal(w.clients[2].commands, 1);
    holds_reset(w.holds, 3);
    reply(&w, 1, 3, 1, "again"); /* its versions start anew */
    expect(&w, 1, "");
    holds_committed(w.holds, 3, 1);
    expect(&w, 1, "again");
    teardown(&w);
}

/* Its reply stands behind another shard's when the shard leaves this node. */
static void test_what_is_committed_stays_so_when_its_shard_goes(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    reply(&w, 0, 0, 1, "a");
    reply(&w, 0, 3, 7, "b");
    holds_committed(w.holds, 3, 7);
    holds_lost(w.holds, 3);
    holds_reset(w.holds, 3);
    assert_int_equal(holds_ended(w.holds), 0);
    expect(&w, 0, "");
    reply(&w, 0, 3, 2, "c"); /* it has come back, anew */
    holds_committed(w.holds, 0, 1);
    expect(&w, 0, "ab");
    holds_committed(w.holds, 3, 2);
    expect(&w, 0, "c");
    teardown(&w);
}

/* Any order of replies and commits: a client has got exactly what precedes its first reply that is
 * not committed. */
static void test_chance(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (int run = 0; run < 50; run++) {
        struct world w;
        setup(&w);
        uint64_t version[SHARDS] = {0}, committed[SHARDS] = {0};
        struct {
            int shard;
            uint64_t version;
        } want[CLIENTS][400] = {0};
        int n[CLIENTS] = {0}, sent[CLIENTS] = {0};
        for (int step = 0; step < 600; step++) {
            int s = (int)rng_below(&rng, SHARDS), c = (int)rng_below(&rng, CLIENTS);
            if (rng_below(&rng, 3) > 0 && n[c] < 400) {
                want[c][n[c]].shard = s;
                want[c][n[c]].version = rng_below(&rng, 5) == 0 ? 0 : ++version[s];
                reply(&w, c, s, want[c][n[c]].version, "r");
                n[c]++;
            } else if (committed[s] < version[s]) {
                committed[s] += 1 + rng_below(&rng, version[s] - committed[s]);
                holds_committed(w.holds, s, committed[s]);
            }
            loop_turn(w.loop, false);
            for (int i = 0; i < CLIENTS; i++) {
                char got[512];
                ssize_t more = read(w.fds[i], got, sizeof(got));
                sent[i] += more > 0 ? (int)more : 0;
                int may = 0;
                while (may < n[i] && want[i][may].version <= committed[want[i][may].shard]) {
                    may++;
                }
                assert_int_equal(sent[i], may);
            }
        }
        teardown(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_leave_in_order_as_versions_commit),
        cmocka_unit_test(test_a_reply_of_several_shards_waits_for_all),
        cmocka_unit_test(test_a_lost_shard_ends_those_who_wait_for_it_only),
        cmocka_unit_test(test_what_is_committed_stays_so_when_its_shard_goes),
        cmocka_unit_test(test_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
