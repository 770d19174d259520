// SPDX-License-Identifier: BSD-3-Clause
/* Every write exactly once: exec against model nodes whose shards have a log with a committed
 * prefix, from a seed. Nodes are killed, freeze and come back; shards move; connections are cut at
 * any byte while the node still runs what it got; backlogs are trimmed. Each client knows of its
 * own keys exactly how often they were written, from what it was answered.
 *
 * With plain arguments: `once_test SEED [PLANT]` runs that seed alone; `once_test 0 0 N` N seeds.
 * Planted mistakes, of the proxy and of the nodes, must all be found. */
#include "tests/unit/proxy/exec/once_nodes.h"

/* As they are, but for what is planted. */
#include "proxy/exec/fate.c" // NOLINT(bugprone-suspicious-include)
#include "proxy/exec/lane.c" // NOLINT(bugprone-suspicious-include)

/* --- faults --- */

static void publish(void)
{
    struct map *m = map_of(NODES, false);
    for (int i = 0; i < SHARDS; i++) {
        struct map_shard *s = &m->shards[i];
        int owner = once.shards[i].primary;
        once.shards[i].told = true;
        if (owner < 0) {
            lose_shard(m, i);
            continue;
        }
        int replica = (owner + 1) % NODES;
        HOLDS(map_build_add_member(s, owner));
        map_build_set_primary(s, owner);
        HOLDS(map_build_add_member(s, replica));
        s->members[map_shard_member(s, replica)].state = REPLICA_ACTIVE;
        s->members[map_shard_member(s, replica)].in_sync = true;
        for (int k = s->n_members - 1; k >= 0; k--) {
            if (s->members[k].node != owner && s->members[k].node != replica) {
                map_build_drop_member(s, s->members[k].node);
            }
        }
    }
    for (int i = 0; i < NODES; i++) {
        m->nodes[i].state = once.nodes[i].dead ? NODE_DEAD : NODE_HEALTHY;
    }
    give_map(m);
}

static void kill_node(int node)
{
    once.nodes[node].dead = true;
    once.nodes[node].back_us = world.now_us + 20000 + dice(150000);
    for (int i = 0; i < world.n_wires; i++) {
        if (once.ends[i].open && once.ends[i].node == node) {
            end_close(&once.ends[i]);
        }
    }
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &once.shards[i];
        if (s->primary == node) {
            s->primary = -1;
            undo_to(s, s->committed + dice(s->n - s->committed + 1));
        }
    }
}

/* A node may be made primary: it is there, has what it needs, and has read what its connections
 * held before: a command that came under an earlier primary term is not run under the new one. */
static bool can_lead(int node)
{
    for (int i = 0; i < world.n_wires; i++) {
        once.ends[i].cut |= world.wires[i].lane == NULL; /* exec may have ended it by itself */
    }
    if (is_away(node) || world.now_us < once.nodes[node].synced_us) {
        return false;
    }
    for (int i = 0; i < world.n_wires; i++) {
        struct end *e = &once.ends[i];
        for (int k = 0; k < 100 && e->open && e->cut && e->node == node && e->pipe.len > 0; k++) {
            serve_some(e, 1000);
        }
        if (e->open && e->cut && e->node == node) {
            serve_some(e, 1000);
        }
    }
    return true;
}

/* Elects, restarts, commits, trims: what goes on by itself. */
static void nodes_go_on(bool calm)
{
    for (int i = 0; i < NODES; i++) {
        struct node *n = &once.nodes[i];
        if (n->dead && world.now_us >= n->back_us) {
            n->dead = false;
            n->synced_us = world.now_us + 50000;
        }
    }
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &once.shards[i];
        if (s->primary < 0 && dice(10) == 0 && world.now_us - s->moved_us > 200000) {
            int to = dice(NODES);
            if (can_lead(to)) {
                s->primary = to;
                s->told = false;
                s->serves_us = world.now_us + dice(30000);
            }
        }
        if (s->primary >= 0 && (calm || dice(once.lazy ? 15 : 3) == 0) && serves(s->primary, i)) {
            s->committed += dice(s->n - s->committed + 1);
            if (calm) {
                s->committed = s->n;
            }
        }
        if (once.trims && s->committed > s->trimmed && dice(100) == 0) {
            s->trimmed += dice(s->committed - s->trimmed + 1);
        }
    }
}

static void move_shard(int shard)
{
    struct shard *s = &once.shards[shard];
    int to = dice(NODES);
    if (s->primary >= 0 && serves(s->primary, shard) && to != s->primary && s->told &&
        world.now_us - s->moved_us > 200000 && can_lead(to)) {
        s->moved_us = world.now_us;
        s->committed = s->n;
        s->primary = to;
        s->told = false;
        s->serves_us = world.now_us + dice(10000);
    }
}

static void some_fault(void)
{
    int alive = 0;
    for (int i = 0; i < NODES; i++) {
        alive += !once.nodes[i].dead && world.now_us >= once.nodes[i].synced_us;
    }
    switch (dice(once.freezes ? 4 : 3)) {
    case 0:
        if (alive == NODES) {
            kill_node(dice(NODES));
        }
        break;
    case 1:
        each_wire(cut_wire, 2);
        if (alive == NODES && dice(2) == 0) {
            once.kill_soon = 1 + dice(12); /* while the proxy finds out what became of its writes */
        }
        break;
    case 2:
        move_shard(dice(SHARDS));
        break;
    default:
        once.nodes[dice(NODES)].frozen_us = world.now_us + dice(500000);
    }
}

/* --- clients --- */

static void be_born(struct life *l)
{
    *l = (struct life){.id = once.next_id++};
    person_init(&l->person);
}

static void utter(struct life *l, const char *text, const struct said *s)
{
    if (say(&l->person, text) == EXEC_TAKEN) {
        HOLDS(l->count < EXPECT_MAX);
        l->expected[(l->first + l->count++) % EXPECT_MAX] = *s;
        l->again[0] = '\0';
    } else if (l->again != text) {
        snprintf(l->again, sizeof(l->again), "%s", text);
        l->again_said = *s;
    }
}

static void script(struct life *l, enum kind kind, bool watched, int key, const char *text)
{
    l->script[l->scripted] = (struct said){.kind = kind, .watched = watched, .keys = {key, -1}};
    snprintf(l->script_text[l->scripted++], sizeof(l->script_text[0]), "%s", text);
}

static void plan_transaction(struct life *l, const char *tag, int key)
{
    char name[32], text[64];
    bool watched = dice(3) == 0;
    snprintf(name, sizeof(name), "{%s}%d", tag, l->id);
    l->scripted = l->script_at = 0;
    if (watched) {
        snprintf(text, sizeof(text), "WATCH %s", name);
        script(l, WATCH, true, key, text);
    }
    script(l, MULTI, watched, key, "MULTI");
    snprintf(text, sizeof(text), "INCR %s", name);
    script(l, QUEUED, watched, key, text);
    script(l, EXEC, watched, key, "EXEC");
}

static void say_something(struct life *l)
{
    char text[96];
    if (l->script_at < l->scripted) {
        int at = l->script_at++;
        utter(l, l->script_text[at], &l->script[at]);
        return;
    }
    int db = dice(4) == 0 ? dice(DBS) : l->person.session.db;
    int a = dice(SHARDS), b = dice(SHARDS);
    int who = dice(4) == 0 ? SHARED : l->id;
    l->person.session.db = db;
    struct said s = {.keys = {key_id(a, who, db), -1}};
    switch (dice(8)) {
    case 0:
    case 1:
        s.kind = READ;
        s.keys[0] = key_id(a, l->id, db);
        snprintf(text, sizeof(text), "STRLEN {%s}%d", once.tags[a], l->id);
        break;
    case 2:
        s.kind = DEL;
        s.keys[0] = key_id(a, l->id, db);
        s.keys[1] = key_id(b, l->id, db);
        snprintf(text, sizeof(text), "DEL {%s}%d {%s}%d", once.tags[a], l->id, once.tags[b], l->id);
        break;
    case 3:
        plan_transaction(l, once.tags[a], key_id(a, l->id, db));
        return;
    default:
        s.kind = INCR;
        snprintf(text, sizeof(text), "INCR {%s}%d", once.tags[a], who);
    }
    utter(l, text, &s);
}

static bool is_shared(int key)
{
    return key / DBS % (LIVES + 1) == SHARED;
}

static void maybe(int key)
{
    if (key < 0) {
        return;
    }
    once.hi[key]++;
    once.unsure[key]++;
}

static void hear_error(const struct said *s, const char *text)
{
    if (only_seed != 0) {
        print_message("kind %d: %s", s->kind, text);
    }
    once.n_errors++;
    if (strncmp(text, "-UNKNOWNOUTCOME", 15) == 0) {
        once.n_unknown++;
        HOLDS(s->kind != READ);
        HOLDS(once.trims || once.freezes || once.large);
        maybe(s->keys[0]);
        maybe(s->keys[1]);
        return;
    }
    HOLDS(strncmp(text, "-CLUSTERDOWN", 12) == 0 || strncmp(text, "-TRYAGAIN", 9) == 0 ||
          strncmp(text, "-LOADING", 8) == 0);
    if (!once.flaps && !once.freezes && !once.trims && !once.large) {
        /* Only what stood before a write of the same key: a lost read, and a command over two
         * shards that was refused for one of them. */
        HOLDS(s->kind == READ || s->kind == DEL);
        HOLDS(strncmp(text, "-" ERR_OVERTAKEN, 20) == 0);
    }
    if (s->kind == DEL) {
        maybe(s->keys[0]); /* one part may have been done */
        maybe(s->keys[1]);
    }
}

static void hear_value(int key, int v, bool wrote)
{
    if (is_shared(key)) {
        HOLDS(v > 0 && v < LOG_MAX && !once.seen[key][v]);
        once.seen[key][v % LOG_MAX] = 1;
        once.acked[key]++;
        return;
    }
    HOLDS(v >= once.lo[key] + wrote);
    HOLDS(v <= once.hi[key] + wrote);
    once.lo[key] = once.hi[key] = v;
}

static void hear(const struct said *s, const char *text)
{
    int v = 0;
    if (*text == '-') {
        hear_error(s, text);
        return;
    }
    once.n_acked++;
    switch (s->kind) {
    case INCR:
    case READ:
        HOLDS(sscanf(text, ":%d\r\n", &v) == 1);
        hear_value(s->keys[0], v, s->kind == INCR);
        break;
    case DEL:
        HOLDS(strcmp(text, ":2\r\n") == 0);
        for (int i = 0; i < 2; i++) {
            once.lo[s->keys[i]]++;
            once.hi[s->keys[i]]++;
        }
        break;
    case EXEC:
        if (s->watched && strcmp(text, "*-1\r\n") == 0) {
            break;
        }
        HOLDS(sscanf(text, "*1\r\n:%d\r\n", &v) == 1);
        hear_value(s->keys[0], v, true);
        break;
    case MULTI:
    case WATCH:
        HOLDS(strcmp(text, "+OK\r\n") == 0);
        break;
    case QUEUED:
        HOLDS(strcmp(text, "+QUEUED\r\n") == 0);
        break;
    }
}

static void listen_to(struct life *l)
{
    struct resp_skip skip;
    struct str text = {0};
    str_appendz(&text, heard(&l->person));
    size_t at = 0;
    resp_skip_init(&skip);
    while (at < text.len && once.failure[0] == '\0') {
        size_t end = 0;
        char reply[256];
        HOLDS(resp_skip(&skip, slice_of(text.ptr + at, text.len - at), &end) == SKIP_OK);
        HOLDS(l->count > 0);
        snprintf(reply, sizeof(reply), "%.*s", (int)end, text.ptr + at);
        const struct said s = l->expected[l->first];
        l->first = (l->first + 1) % EXPECT_MAX;
        l->count--;
        hear(&s, reply);
        at += end;
    }
    str_fini(&text);
}

/* Who leaves does not know what became of what it had under way. */
static void leave(struct life *l)
{
    for (int i = 0; i < l->count; i++) {
        const struct said *s = &l->expected[(l->first + i) % EXPECT_MAX];
        if (s->kind == INCR || s->kind == EXEC || s->kind == DEL) {
            maybe(s->keys[0]);
            maybe(s->keys[1]);
        }
    }
    person_fini(&l->person);
}

/* --- a run --- */

static bool too_many_wires(void)
{
    return world.n_wires > LANES_MAX - 40;
}

static void step(bool calm)
{
    for (int i = 0; i < PEOPLE; i++) {
        struct life *l = &once.lives[i];
        if (l->again[0] != '\0') {
            utter(l, l->again, &l->again_said);
        } else if ((!calm || l->script_at < l->scripted) && l->count < 24 && dice(2) == 0) {
            say_something(l);
        }
    }
    each_wire(take_some, 2);
    int n = world.n_wires;
    for (int i = 0; i < n; i++) {
        if (dice(2) == 0) {
            serve_some(&once.ends[i], 1 + dice(4));
        }
        release_replies(&once.ends[i]);
    }
    each_wire(hear_some, 2);
    nodes_go_on(calm);
    if (!calm && !too_many_wires() && dice(40) == 0) {
        some_fault();
    }
    if (once.kill_soon > 0 && --once.kill_soon == 0) {
        kill_node(dice(NODES));
    }
    if (dice(15) == 0 || (calm && dice(4) == 0)) {
        publish();
    }
    if (!calm && once.next_id < LIVES && dice(200) == 0) {
        struct life *l = &once.lives[dice(PEOPLE)];
        leave(l);
        be_born(l);
    }
    pass_time(dice(3000));
    for (int i = 0; i < PEOPLE; i++) {
        listen_to(&once.lives[i]);
    }
}

static void begin(uint64_t seed)
{
    memset(&once, 0, sizeof(once));
    once.seed = seed;
    rng_init(&once.rng, seed);
    once.flaps = seed % 4 == 1;
    once.trims = seed % 4 == 2 || seed % 16 == 7;
    once.freezes = seed % 4 == 3;
    once.large = seed % 8 == 4;
    once.lazy = seed % 3 == 0;
    world_begin();
    world.settings.read_from = READ_ROUND_ROBIN;
    world.settings.lanes_announced = true;
    world.settings.retry_max_attempts = 1000;
    world.settings.retry_initial_delay_us = 2000;
    world.settings.request_timeout_us = once.freezes ? 300000 : 5000000;
    world.settings.failover_hold_us = HOLD_US;
    world.settings.client_max_pending = 4 + dice(40);
    world.settings.pinned_max = 100;
    world_start(NODES);
    for (int i = 0; i < SHARDS; i++) {
        snprintf(once.tags[i], sizeof(once.tags[i]), "%s", key_of(i, 0));
        once.shards[i].primary = i % NODES;
    }
    publish();
    for (int i = 0; i < PEOPLE; i++) {
        be_born(&once.lives[i]);
    }
}

static void check_counts(void)
{
    for (int i = 0; i < KEYS; i++) {
        if (is_shared(i)) {
            HOLDS(once.count[i] >= once.acked[i]);
            HOLDS(once.count[i] <= once.acked[i] + once.unsure[i]);
        } else {
            HOLDS(once.count[i] >= once.lo[i]);
            HOLDS(once.count[i] <= once.hi[i]);
        }
    }
}

static void finish_run(void)
{
    bool good = once.failure[0] == '\0';
    for (int i = 0; good && i < PEOPLE; i++) {
        const struct life *l = &once.lives[i];
        HOLDS(l->count == 0);
        HOLDS(l->person.session.held == 0);
        HOLDS(l->person.session.writes_open == 0);
        HOLDS(l->person.session.reads_open == 0);
    }
    if (good) {
        HOLDS(exec_open_requests(world.x) == 0);
        HOLDS(exec_held_requests(world.x) == 0);
        check_counts();
    }
    for (int i = 0; i < PEOPLE; i++) {
        person_fini(&once.lives[i].person);
    }
    world_end();
    for (int i = 0; i < LANES_MAX; i++) {
        str_fini(&once.ends[i].pipe);
        str_fini(&once.ends[i].inbox);
        str_fini(&once.ends[i].outbox);
    }
}

/* Somebody is in the midst of a transaction, or was stopped. */
static bool is_speaking(void)
{
    for (int i = 0; i < PEOPLE; i++) {
        const struct life *l = &once.lives[i];
        if (l->script_at < l->scripted || l->again[0] != '\0') {
            return true;
        }
    }
    return false;
}

/* True: all held; else once.failure tells. */
static bool run_seed(uint64_t seed)
{
    begin(seed);
    for (int i = 0; i < STEPS && once.failure[0] == '\0'; i++) {
        step(too_many_wires() && i % 4 != 0);
    }
    for (int i = 0;
         i < 20000 && (exec_open_requests(world.x) > 0 || is_speaking()) && once.failure[0] == '\0';
         i++) {
        step(true);
    }
    for (int i = 0; i < 100 && once.failure[0] == '\0'; i++) {
        step(true); /* what still lies in cut connections runs */
    }
    finish_run();
    return once.failure[0] == '\0';
}

static uint64_t n_seeds = RANDOM_ROUNDS(400);

static void test_every_write_happens_once(void **state)
{
    (void)state;
    int acked = 0, unknown = 0, replied = 0, resent = 0;
    plant = only_seed != 0 ? plant : PLANT_NOT;
    for (uint64_t seed = 1; seed <= n_seeds; seed++) {
        if (!run_seed(only_seed != 0 ? only_seed : seed)) {
            fail_msg("%s", once.failure);
        }
        acked += once.n_acked;
        unknown += once.n_unknown;
        if (only_seed != 0) {
            return;
        }
    }
    (void)replied;
    (void)resent;
    print_message("acknowledged=%d unknown=%d\n", acked, unknown);
    assert_true(acked > 100 * (int)n_seeds); /* it was no dead calm */
}

static void test_planted_mistakes_are_found(void **state)
{
    (void)state;
    if (only_seed != 0) {
        return;
    }
    for (int p = PLANT_RESEND; p < PLANTS; p++) {
        uint64_t seed = 1;
        plant = p;
        while (seed < 300 && run_seed(seed)) {
            seed++;
        }
        plant = PLANT_NOT;
        print_message("planted %d: %s\n", p, once.failure);
        assert_true(once.failure[0] != '\0');
    }
}

int main(int argc, char **argv)
{
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    plant = argc > 2 ? atoi(argv[2]) : PLANT_NOT;
    n_seeds = argc > 3 ? strtoull(argv[3], NULL, 10) : n_seeds;
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_write_happens_once),
        cmocka_unit_test(test_planted_mistakes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
