// SPDX-License-Identifier: BSD-3-Clause
/* Clients that track: lanes of their own, what they are told and when. */
#include "proxy/exec/own.h"

#include "common/base/mem.h"

#include "tests/unit/proxy/exec/world.h"

static struct person a, b;
static int redirected;

/* CLIENT TRACKING ON and its flags, in the place of the handler of proxy/admin. */
static enum local_result fake_tracking(struct local_call *c)
{
    uint32_t flags = 0;
    uint64_t redirect = 0;
    for (size_t i = 3; i < c->argc; i++) {
        flags |= slice_is(c->argv[i], "bcast") ? OWN_BCAST : 0;
        flags |= slice_is(c->argv[i], "optin") ? OWN_OPTIN : 0;
        redirect = slice_is(c->argv[i], "redirect") ? 2 : redirect;
    }
    if (slice_is(c->argv[2], "off")) {
        exec_untrack(c->exec, c->session);
        resp_ok(c->w);
        return LOCAL_DONE;
    }
    exec_track(c->exec, c->session, flags, redirect, NULL, 0, c->request);
    return LOCAL_LATER;
}

static void fake_redirect(void *front, struct session *from, uint64_t to, struct slice value)
{
    (void)front;
    (void)from;
    assert_int_equal(to, 2);
    assert_true(exec_invalidate(world.x, &b.session, value));
    redirected++;
}

static void begin(int nodes)
{
    struct exec_port port = fake_port;
    port.redirect = fake_redirect;
    redirected = 0;
    world_begin();
    local_table_set(world.local, CMD_CLIENT_TRACKING, fake_tracking, LOCAL_ORDERED);
    world.x = exec_new(&port, world.local, &world.settings, 42);
    exec_set_now(world.x, world.now_us);
    give_map(map_of(nodes, false));
    person_init(&a);
    person_init(&b);
    a.session.proto = b.session.proto = 3;
    b.session.id = 2;
}

static void end(void)
{
    person_fini(&a);
    person_fini(&b);
    pass_time(100000);
    world_end();
}

static void own_up(int node, const char *words)
{
    SENT(wire_to(node, LANE_OWN), "HELLO 3;%s;", words);
    assert_true(answer(wire_to(node, LANE_OWN), "%0\r\n+OK\r\n"));
}

#define INVALID(key) ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n" key "\r\n"
#define ALL          ">2\r\n$10\r\ninvalidate\r\n_\r\n"

static void test_a_tracking_client_has_lanes_of_its_own(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "CLIENT TRACKING ON");
    HEARD(&a, "+OK\r\n");
    SAY(&a, "GET x");
    own_up(0, "CLIENT TRACKING ON");
    SENT(wire_to(0, LANE_OWN), "GET x;");
    assert_true(answer(wire_to(0, LANE_OWN), "$1\r\n1\r\n" INVALID("x")));
    HEARD(&a, "$1\r\n1\r\n" INVALID("x"));
    /* Others share theirs. */
    SAY(&b, "GET x");
    assert_non_null(find_wire(0, LANE_READ));
    SAY(&a, "CLIENT TRACKING OFF");
    pass_time(100000);
    assert_null(find_wire(0, LANE_OWN));
    end();
}

/* What is invalid is told behind the reply that it is about, also when that has to wait. */
static void test_an_invalidation_stays_behind_its_reply(void **state)
{
    (void)state;
    begin(2);
    const char *zero = key_of(0, 0), *one = key_of(1, 0);
    SAY(&a, "CLIENT TRACKING ON");
    (void)heard(&a);
    SAY(&a, "GET %s", zero);
    SAY(&a, "GET %s", one);
    own_up(0, "CLIENT TRACKING ON");
    own_up(1, "CLIENT TRACKING ON");
    (void)sent(wire_to(0, LANE_OWN));
    (void)sent(wire_to(1, LANE_OWN));
    assert_true(answer(wire_to(1, LANE_OWN), "$1\r\n1\r\n" INVALID("o")));
    HEARD(&a, "%s", "");
    assert_true(answer(wire_to(0, LANE_OWN), "$1\r\n0\r\n"));
    HEARD(&a, "$1\r\n0\r\n$1\r\n1\r\n" INVALID("o"));
    /* The same of a command that was split. */
    SAY(&a, "MGET %s %s", zero, one);
    assert_true(answer(wire_to(1, LANE_OWN), "*1\r\n$1\r\n1\r\n" INVALID("o")));
    HEARD(&a, "%s", "");
    assert_true(answer(wire_to(0, LANE_OWN), "*1\r\n$1\r\n0\r\n"));
    HEARD(&a, "*2\r\n$1\r\n0\r\n$1\r\n1\r\n" INVALID("o"));
    end();
}

/* Who waits has no reply to come that could be about it: BLPOP over several shards. */
static void test_who_waits_is_told_at_once(void **state)
{
    (void)state;
    begin(2);
    const char *zero = key_of(0, 0), *one = key_of(1, 0);
    SAY(&a, "CLIENT TRACKING ON");
    (void)heard(&a);
    SAY(&a, "BLPOP %s %s 0", zero, one);
    own_up(0, "CLIENT TRACKING ON");
    (void)sent(wire_to(0, LANE_OWN));
    assert_true(answer(wire_to(0, LANE_OWN), INVALID("x"))); /* while it is asked whether it has */
    HEARD(&a, INVALID("x"));
    assert_true(answer(wire_to(0, LANE_OWN), "+PARKED\r\n"));
    own_up(1, "CLIENT TRACKING ON");
    (void)sent(wire_to(1, LANE_OWN));
    assert_true(answer(wire_to(1, LANE_OWN), "+PARKED\r\n" INVALID("y")));
    HEARD(&a, INVALID("y"));
    assert_true(answer(wire_to(0, LANE_OWN), ">3\r\n$4\r\npark\r\n:1\r\n+READY\r\n"));
    (void)sent(wire_to(0, LANE_OWN));
    assert_true(answer(wire_to(0, LANE_OWN), "*2\r\n$1\r\nz\r\n$1\r\n1\r\n" INVALID("z")));
    HEARD(&a, "*2\r\n$1\r\nz\r\n$1\r\n1\r\n" INVALID("z"));
    end();
}

/* XREAD keeps what one shard had until the others have answered: that is not overtaken. */
static void test_what_xread_has_in_hand_is_not_overtaken(void **state)
{
    (void)state;
    for (int blocks = 0; blocks <= 1; blocks++) {
        begin(2);
        const char *zero = key_of(0, 0), *one = key_of(1, 0);
        SAY(&a, "CLIENT TRACKING ON");
        (void)heard(&a);
        SAY(&a, "XREAD %sSTREAMS %s %s 0 0", blocks ? "BLOCK 0 " : "", zero, one);
        own_up(0, "CLIENT TRACKING ON");
        (void)sent(wire_to(0, LANE_OWN));
        assert_true(answer(wire_to(0, LANE_OWN), "%1\r\n$1\r\nz\r\n*0\r\n" INVALID("z")));
        HEARD(&a, "%s", "");
        own_up(1, "CLIENT TRACKING ON");
        (void)sent(wire_to(1, LANE_OWN));
        assert_true(answer(wire_to(1, LANE_OWN), "_\r\n"));
        HEARD(&a, "%%1\r\n$1\r\nz\r\n*0\r\n" INVALID("z"));
        end();
    }
    /* That there is nothing is an answer, too, unless it waits for more. */
    begin(2);
    const char *zero = key_of(0, 0), *one = key_of(1, 0);
    SAY(&a, "CLIENT TRACKING ON");
    (void)heard(&a);
    SAY(&a, "XREAD STREAMS %s %s 0 0", zero, one);
    own_up(0, "CLIENT TRACKING ON");
    (void)sent(wire_to(0, LANE_OWN));
    assert_true(answer(wire_to(0, LANE_OWN), "_\r\n" INVALID("z")));
    HEARD(&a, "%s", "");
    own_up(1, "CLIENT TRACKING ON");
    (void)sent(wire_to(1, LANE_OWN));
    assert_true(answer(wire_to(1, LANE_OWN), "_\r\n"));
    HEARD(&a, "_\r\n" INVALID("z"));
    SAY(&a, "XREAD BLOCK 0 STREAMS %s %s 0 0", zero, one);
    for (int i = 0; i < 2; i++) {
        (void)sent(wire_to(i, LANE_OWN));
        assert_true(answer(wire_to(i, LANE_OWN), "+PARKED\r\n" INVALID("z")));
        HEARD(&a, INVALID("z"));
    }
    end();
}

static void test_a_flush_is_told_once(void **state)
{
    (void)state;
    begin(2);
    SAY(&a, "CLIENT TRACKING ON BCAST");
    HEARD(&a, "%s", ""); /* until all nodes know */
    own_up(0, "CLIENT TRACKING ON BCAST PREFIX ");
    HEARD(&a, "%s", "");
    own_up(1, "CLIENT TRACKING ON BCAST PREFIX ");
    HEARD(&a, "+OK\r\n");
    assert_true(answer(wire_to(0, LANE_OWN), ALL));
    assert_true(answer(wire_to(1, LANE_OWN), ALL));
    HEARD(&a, ALL);
    pass_time(400000); /* who reads what is not known: once more behind the last */
    HEARD(&a, ALL);
    SAY(&a, "CLIENT TRACKING OFF");
    SAY(&a, "CLIENT TRACKING ON");
    (void)heard(&a);
    SAY(&a, "GET %s", key_of(1, 0));
    for (int i = 0; i < 1; i++) {
        own_up(1, "CLIENT TRACKING ON");
        (void)sent(wire_to(1, LANE_OWN));
        assert_true(answer(wire_to(1, LANE_OWN), "$1\r\n1\r\n" ALL ALL));
    }
    HEARD(&a, "$1\r\n1\r\n" ALL);
    end();
}

static void test_a_broken_lane_is_told(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "CLIENT TRACKING ON");
    SAY(&a, "GET x");
    own_up(0, "CLIENT TRACKING ON");
    (void)sent(wire_to(0, LANE_OWN));
    assert_true(answer(wire_to(0, LANE_OWN), "$1\r\n1\r\n"));
    HEARD(&a, "+OK\r\n$1\r\n1\r\n");
    snap(wire_to(0, LANE_OWN), LANE_BROKEN);
    HEARD(&a, ALL);
    end();
}

static void test_who_is_told_instead(void **state)
{
    (void)state;
    begin(1);
    b.session.proto = 3;
    SAY(&a, "CLIENT TRACKING ON REDIRECT 2");
    SAY(&a, "GET x");
    own_up(0, "CLIENT TRACKING ON");
    (void)sent(wire_to(0, LANE_OWN));
    assert_true(answer(wire_to(0, LANE_OWN), "$1\r\n1\r\n" INVALID("x")));
    HEARD(&a, "+OK\r\n$1\r\n1\r\n");
    HEARD(&b, INVALID("x"));
    exec_redirect_broken(world.x, &a.session);
    HEARD(&a, ">2\r\n$21\r\ntracking-redir-broken\r\n:2\r\n");
    assert_true(exec_tracking(&a.session).broken);
    b.session.proto = 2;
    assert_false(exec_invalidate(world.x, &b.session, SLICE("_\r\n")));
    end();
}

static void test_caching_is_of_the_next_command(void **state)
{
    (void)state;
    begin(2);
    const char *one = key_of(1, 0);
    SAY(&a, "CLIENT TRACKING ON OPTIN");
    exec_set_caching(&a.session);
    SAY(&a, "GET %s", one);
    SAY(&a, "GET %s", one);
    own_up(1, "CLIENT TRACKING ON OPTIN");
    SENT(wire_to(1, LANE_OWN), "CLIENT CACHING YES;GET %s;GET %s;", one, one);
    assert_true(answer(wire_to(1, LANE_OWN), "+OK\r\n$1\r\n1\r\n$1\r\n2\r\n"));
    HEARD(&a, "+OK\r\n$1\r\n1\r\n$1\r\n2\r\n");
    exec_set_caching(&a.session);
    SAY(&a, "MULTI");
    SAY(&a, "GET %s", one);
    SAY(&a, "EXEC");
    SENT(wire_to(1, LANE_OWN), "CLIENT CACHING YES;MULTI;GET %s;EXEC;", one);
    assert_true(answer(wire_to(1, LANE_OWN), "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n1\r\n"));
    assert_false(exec_tracking(&a.session).caching);
    end();
}

static void test_another_protocol(void **state)
{
    (void)state;
    begin(1);
    SAY(&a, "CLIENT TRACKING ON");
    SAY(&a, "WATCH x");
    own_up(0, "CLIENT TRACKING ON");
    SENT(wire_to(0, LANE_OWN), "WATCH x;"); /* by the same connection: what EXEC reads is tracked */
    assert_true(answer(wire_to(0, LANE_OWN), "+OK\r\n"));
    SAY(&a, "UNWATCH");
    (void)sent(wire_to(0, LANE_OWN));
    assert_true(answer(wire_to(0, LANE_OWN), "+OK\r\n"));
    a.session.proto = 2;
    SAY(&a, "GET x");
    SENT(wire_to(0, LANE_OWN), "HELLO 2;GET x;");
    end();
}

/* --- another primary --- */

/* Shard 0 belongs to node 1 from now on. */
static void move_shard(void)
{
    struct map *m = map_of(2, false);
    assert_true(map_build_add_member(&m->shards[0], 1));
    map_build_set_primary(&m->shards[0], 1);
    m->epoch = 2;
    give_map(m);
}

#define TRACK(key)       ">5\r\n$5\r\ntrack\r\n:0\r\n:3\r\n:70\r\n$2\r\n" key "\r\n"
#define UNTRACK          ">4\r\n$7\r\nuntrack\r\n:0\r\n:3\r\n:75\r\n"
#define TOLD(n, version) ">4\r\n$4\r\ntold\r\n:" n "\r\n:3\r\n:" version "\r\n"
#define INVALID2(key)    ">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\n" key "\r\n"

/* The client has read k2 and k6, both of shard 0, from node 0. */
static void read_two(void)
{
    begin(2);
    assert_string_equal(key_of(0, 0), "k2");
    assert_string_equal(key_of(0, 1), "k6");
    SAY(&a, "CLIENT TRACKING ON");
    SAY(&a, "GET k2");
    SAY(&a, "GET k6");
    own_up(0, "CLIENT TRACKING ON");
    (void)sent(wire_to(0, LANE_OWN));
    assert_true(answer(wire_to(0, LANE_OWN), "$1\r\n1\r\n" TRACK("k2") "$1\r\n2\r\n" TRACK("k6")));
    HEARD(&a, "+OK\r\n$1\r\n1\r\n$1\r\n2\r\n");
}

/* What its node said it remembers the shard's next primary is asked for: only what may have changed
 * is told. */
static void test_the_next_primary_goes_on(void **state)
{
    (void)state;
    for (int planned = 0; planned <= 1; planned++) {
        read_two();
        if (planned) {
            assert_true(answer(wire_to(0, LANE_OWN), UNTRACK));
        } else {
            snap(wire_to(0, LANE_OWN), LANE_BROKEN);
        }
        move_shard();
        pass_time(100000);
        own_up(1, "CLIENT TRACKING ON");
        SENT(wire_to(1, LANE_OWN), "SHOAL TRACK 0 3 %d k2 k6;", planned ? 75 : 70);
        HEARD(&a, "%s", "");
        assert_true(answer(wire_to(1, LANE_OWN), "*3\r\n:4\r\n:80\r\n*1\r\n$2\r\nk6\r\n"));
        HEARD(&a, INVALID2("k6"));
        assert_true(answer(wire_to(1, LANE_OWN), INVALID2("k2")));
        HEARD(&a, INVALID2("k2"));
        pass_time(100000);
        SENT(wire_to(1, LANE_OWN), "%s", "");
        end();
    }
}

static void test_the_next_primary_is_asked_until_it_serves(void **state)
{
    (void)state;
    read_two();
    assert_true(answer(wire_to(0, LANE_OWN), INVALID2("k6") UNTRACK));
    HEARD(&a, INVALID2("k6")); /* it is not asked for any more */
    pass_time(60000);
    SENT(wire_to(0, LANE_OWN), "SHOAL TRACK 0 3 75 k2;"); /* the map does not know yet */
    assert_true(answer(wire_to(0, LANE_OWN), "-TRYAGAIN no\r\n"));
    move_shard();
    pass_time(60000);
    own_up(1, "CLIENT TRACKING ON");
    SENT(wire_to(1, LANE_OWN), "SHOAL TRACK 0 3 75 k2;");
    snap(wire_to(1, LANE_OWN), LANE_BROKEN);
    pass_time(500000);
    own_up(1, "CLIENT TRACKING ON");
    SENT(wire_to(1, LANE_OWN), "SHOAL TRACK 0 3 75 k2;");
    HEARD(&a, "%s", "");
    /* What was read again is the other one's already. */
    SAY(&a, "GET k2");
    (void)sent(wire_to(1, LANE_OWN));
    assert_true(answer(wire_to(1, LANE_OWN), "*3\r\n:4\r\n:80\r\n*1\r\n$2\r\nk2\r\n"
                                             "$1\r\n1\r\n" TRACK("k2")));
    HEARD(&a, INVALID2("k2") "$1\r\n1\r\n");
    end();
}

static void test_nobody_serves_it_for_too_long(void **state)
{
    (void)state;
    read_two();
    snap(wire_to(0, LANE_OWN), LANE_BROKEN);
    struct map *m = map_of(2, false);
    lose_shard(m, 0);
    m->epoch = 2;
    give_map(m);
    pass_time(world.settings.failover_hold_us - 1000);
    HEARD(&a, "%s", "");
    pass_time(2000);
    HEARD(&a, INVALID2("k2") INVALID2("k6"));
    end();
}

/* Behind a reply what is remembered of it may have been lost; behind the next answer it can't. */
static void test_a_reply_that_came_last(void **state)
{
    (void)state;
    for (int asked = 0; asked <= 1; asked++) {
        read_two();
        SAY(&a, "GET k2");
        (void)sent(wire_to(0, LANE_OWN));
        assert_true(answer(wire_to(0, LANE_OWN), "$1\r\n1\r\n"));
        (void)heard(&a);
        if (asked) {
            pass_time(60000);
            SENT(wire_to(0, LANE_OWN), "PING;");
            assert_true(answer(wire_to(0, LANE_OWN), "+PONG\r\n"));
        }
        snap(wire_to(0, LANE_OWN), LANE_BROKEN);
        HEARD(&a, asked ? "%s" : ALL "%s", "");
        end();
    }
}

/* A client of broadcasts at both nodes; shard 0 is at entry 70. */
static void listen_to_both(void)
{
    begin(2);
    SAY(&a, "CLIENT TRACKING ON BCAST");
    for (int node = 0; node < 2; node++) {
        SENT(wire_to(node, LANE_OWN), "HELLO 3;CLIENT TRACKING ON BCAST PREFIX ;");
    }
    assert_true(answer(wire_to(0, LANE_OWN), "%0\r\n+OK\r\n" TOLD("0", "70")));
    assert_true(answer(wire_to(1, LANE_OWN), "%0\r\n+OK\r\n"));
    HEARD(&a, "+OK\r\n");
    assert_true(answer(wire_to(0, LANE_OWN), INVALID2("k2") TOLD("0", "71")));
    HEARD(&a, INVALID2("k2"));
}

static void test_broadcasts_go_on_where_they_ended(void **state)
{
    (void)state;
    static const char *const begins[] = {TOLD("0", "71"), TOLD("0", "72")};
    for (int missed = 0; missed <= 1; missed++) {
        for (int early = 0; early <= 1; early++) { /* the next one is heard first */
            listen_to_both();
            if (early) {
                assert_true(answer(wire_to(1, LANE_OWN), begins[missed]));
                assert_true(answer(wire_to(1, LANE_OWN), INVALID2("k6") TOLD("0", "90")));
                HEARD(&a, INVALID2("k6"));
            }
            snap(wire_to(0, LANE_OWN), LANE_BROKEN);
            if (!early) {
                HEARD(&a, "%s", "");
                assert_true(answer(wire_to(1, LANE_OWN), begins[missed]));
            }
            HEARD(&a, missed ? ALL "%s" : "%s", "");
            end();
        }
    }
}

static void test_a_shard_that_nobody_broadcasts(void **state)
{
    (void)state;
    listen_to_both();
    snap(wire_to(0, LANE_OWN), LANE_BROKEN);
    pass_time(world.settings.failover_hold_us + 1000);
    HEARD(&a, ALL);
    end();
}

/* Its node may have served a shard before it listened there. */
static void test_a_late_listener(void **state)
{
    (void)state;
    for (int late = 0; late <= 1; late++) {
        listen_to_both();
        if (late) {
            snap(wire_to(1, LANE_OWN), LANE_BROKEN);
            pass_time(500000);
            SENT(wire_to(1, LANE_OWN), "HELLO 3;CLIENT TRACKING ON BCAST PREFIX ;");
            assert_true(answer(wire_to(1, LANE_OWN), "%0\r\n+OK\r\n"));
        }
        assert_true(answer(wire_to(1, LANE_OWN), TOLD("1", "5")));
        HEARD(&a, late ? ALL "%s" : "%s", "");
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tracking_client_has_lanes_of_its_own),
        cmocka_unit_test(test_an_invalidation_stays_behind_its_reply),
        cmocka_unit_test(test_who_waits_is_told_at_once),
        cmocka_unit_test(test_what_xread_has_in_hand_is_not_overtaken),
        cmocka_unit_test(test_a_flush_is_told_once),
        cmocka_unit_test(test_a_broken_lane_is_told),
        cmocka_unit_test(test_who_is_told_instead),
        cmocka_unit_test(test_caching_is_of_the_next_command),
        cmocka_unit_test(test_another_protocol),
        cmocka_unit_test(test_the_next_primary_goes_on),
        cmocka_unit_test(test_the_next_primary_is_asked_until_it_serves),
        cmocka_unit_test(test_nobody_serves_it_for_too_long),
        cmocka_unit_test(test_a_reply_that_came_last),
        cmocka_unit_test(test_broadcasts_go_on_where_they_ended),
        cmocka_unit_test(test_a_shard_that_nobody_broadcasts),
        cmocka_unit_test(test_a_late_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
