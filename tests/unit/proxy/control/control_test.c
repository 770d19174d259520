// SPDX-License-Identifier: BSD-3-Clause
/* The control thread over real sockets: a worker's mailbox on this side, nodes played by control
 * links on the other. Waits are for events, with a limit that only a failure reaches. */
#include "proxy/control/control.h"

#include "common/base/mem.h"
#include "common/io/listen.h"
#include "common/io/resp_link.h"
#include "common/wire/version.h"
#include "common/wire/wire.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MS 20000
#define SLOW     "slow.test"

/* The system's, replaced: a name server that does not answer until it is told to. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answers;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)service;
    (void)hints;
    if (strcmp(host, SLOW) != 0) {
        return EAI_NONAME;
    }
    pthread_mutex_lock(&server.lock);
    while (!server.answers) {
        pthread_cond_wait(&server.changed, &server.lock);
    }
    pthread_mutex_unlock(&server.lock);
    struct sockaddr_in *sa = mem_zalloc(sizeof(*sa));
    sa->sin_family = AF_INET;
    sa->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *found = mem_zalloc(sizeof(**found));
    (*found)->ai_addr = (struct sockaddr *)sa;
    (*found)->ai_addrlen = sizeof(*sa);
    return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    mem_free(found->ai_addr);
    mem_free(found);
}

static void set_answers(bool answers)
{
    pthread_mutex_lock(&server.lock);
    server.answers = answers;
    pthread_cond_broadcast(&server.changed);
    pthread_mutex_unlock(&server.lock);
}

struct fixture;

/* A node, as far as the coordinator sees one. */
struct fake_node {
    struct fixture *f;
    struct resp_link *link;
    struct listener *service; /* what a probe finds */
    int port;
    int number;
    const char *host; /* NULL: as the coordinator sees it */
    uint64_t epoch;
    bool welcome;
    bool down;
    struct map *map;
    char asked_to_join[64];
};

struct fixture {
    char dir[64];
    struct loop *loop;
    struct mailbox *mailbox;
    struct control *control;
    struct control_settings settings;
    struct map *map;
    struct str answer;
    uint64_t answered;
    struct fake_node nodes[3];
    struct loop_timer limit;
    struct loop_timer poll;
    bool (*until)(struct fixture *f);
    bool late;
};

static void on_mail(void *arg, struct mail *mail)
{
    struct fixture *f = arg;
    if (mail->kind == CONTROL_MAP) {
        struct control_map_mail *m = container_of(mail, struct control_map_mail, mail);
        map_unref(&f->map);
        f->map = m->map;
        mem_free(m);
    } else if (mail->kind == CONTROL_LOADS || mail->kind == CONTROL_SETTINGS) {
        mem_free(mail);
    } else {
        assert_int_equal(mail->kind, CONTROL_ANSWER);
        struct control_answer_mail *m = container_of(mail, struct control_answer_mail, mail);
        str_fini(&f->answer);
        f->answer = m->reply;
        f->answered = m->request_id;
        mem_free(m);
    }
}

static void on_limit(struct loop_timer *t)
{
    struct fixture *f = t->arg;
    f->late = true;
    loop_stop(f->loop);
}

static void on_poll(struct loop_timer *t)
{
    struct fixture *f = t->arg;
    if (f->until(f)) {
        loop_stop(f->loop);
    }
}

static void wait_until(struct fixture *f, bool (*until)(struct fixture *f))
{
    f->until = until;
    f->late = false;
    loop_timer_start(&f->limit, LIMIT_MS, 0);
    loop_timer_start(&f->poll, 0, 2);
    loop_run(f->loop);
    loop_timer_stop(&f->limit);
    loop_timer_stop(&f->poll);
    assert_false(f->late);
}

static void send_message(struct fake_node *n, const struct wire_message *m)
{
    struct wire_frame frame = {0};
    wire_encode(m, &frame);
    resp_link_send(n->link, frame.argv, frame.argc);
    wire_frame_fini(&frame);
}

static void on_node_message(struct resp_link *l, char type, const struct slice *argv, size_t argc)
{
    struct fake_node *n = resp_link_owner(l);
    struct wire_message m;
    assert_int_equal(type, '*');
    assert_null(wire_decode(argv, argc, &m));
    if (m.kind == WIRE_WELCOME) {
        n->welcome = true;
    } else if (m.kind == WIRE_MAP) {
        map_unref(&n->map);
        n->map = map_decode(m.map.map);
        assert_non_null(n->map);
        n->epoch = m.map.epoch;
        struct wire_message c = {.kind = WIRE_CONFIRM};
        c.confirm.epoch = n->epoch;
        send_message(n, &c);
    }
    wire_message_fini(&m);
}

static void on_node_down(struct resp_link *l, int err)
{
    struct fake_node *n = resp_link_owner(l);
    (void)err;
    n->down = true;
    resp_link_free(&n->link);
}

/* What comes to the node's service port: a probe, or SHOAL JOIN. */
static void on_service_message(struct resp_link *l, char type, const struct slice *argv,
                               size_t argc)
{
    struct fake_node *n = resp_link_owner(l);
    assert_int_equal(type, '*');
    assert_int_equal(argc, 4);
    (void)snprintf(n->asked_to_join, sizeof(n->asked_to_join), "%.*s %.*s %.*s:%.*s",
                   (int)argv[0].len, argv[0].ptr, (int)argv[1].len, argv[1].ptr, (int)argv[2].len,
                   argv[2].ptr, (int)argv[3].len, argv[3].ptr);
    resp_link_send_raw(l, SLICE("+OK\r\n"));
}

static void on_service_down(struct resp_link *l, int err)
{
    (void)err;
    resp_link_free(&l);
}

static void on_service(void *arg, int fd)
{
    struct fake_node *n = arg;
    (void)resp_link_accept(n->f->loop, fd, n, on_service_message, on_service_down);
}

static void node_listen(struct fake_node *n)
{
    struct errmsg err;
    n->service = listener_new(n->f->loop, "127.0.0.1", n->port, 16, false, on_service, n, &err);
    assert_non_null(n->service);
    n->port = listener_port(n->service);
}

static void node_register(struct fixture *f, int i)
{
    struct fake_node *n = &f->nodes[i];
    n->f = f;
    n->number = i;
    if (n->service == NULL) {
        node_listen(n);
    }
    n->link = resp_link_connect(f->loop, "127.0.0.1", control_port(f->control), LIMIT_MS, n, NULL,
                                on_node_message, on_node_down);
    assert_non_null(n->link);
    struct wire_message m = {.kind = WIRE_REGISTER};
    m.registration.wire_version = WIRE_VERSION;
    m.registration.incarnation = 1;
    m.registration.port = (uint64_t)n->port;
    m.registration.weight = 100;
    (void)snprintf(m.registration.host, sizeof(m.registration.host), "%s",
                   n->host == NULL ? "" : n->host);
    (void)snprintf(m.registration.id, sizeof(m.registration.id), "%040x", i + 1);
    send_message(n, &m);
}

static void open_control(struct fixture *f)
{
    struct errmsg err = {{0}};
    f->settings.dir = f->dir;
    f->control = control_new(&f->settings, &err);
    if (f->control == NULL) {
        fail_msg("%s", err.text);
    }
    control_subscribe(f->control, f->mailbox);
    control_start(f->control);
}

static int start(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    *state = f;
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/shoal-control-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->loop = loop_new();
    f->mailbox = mailbox_new(f->loop, on_mail, f);
    loop_timer_init(&f->limit, f->loop, on_limit, f);
    loop_timer_init(&f->poll, f->loop, on_poll, f);
    f->settings = (struct control_settings){.host = "127.0.0.1",
                                            .shards = 16,
                                            .replication_factor = 2,
                                            .heartbeat_interval_ms = 60000,
                                            .unhealthy_missed = 3,
                                            .dead_missed = 6,
                                            .rebalance_on_join = true,
                                            .rebalance_concurrency = 4};
    open_control(f);
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    set_answers(true); /* where a test failed somebody may wait for it */
    control_free(&f->control);
    for (int i = 0; i < 3; i++) {
        if (f->nodes[i].link != NULL) {
            resp_link_free(&f->nodes[i].link);
        }
        listener_free(&f->nodes[i].service);
        map_unref(&f->nodes[i].map);
    }
    mailbox_free(&f->mailbox);
    loop_timer_fini(&f->limit);
    loop_timer_fini(&f->poll);
    loop_free(&f->loop);
    map_unref(&f->map);
    str_fini(&f->answer);
    const char *const names[] = {"coordinator.db", "coordinator.db-wal", "coordinator.db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(f->dir);
    mem_free(f);
    return 0;
}

static bool assigned(struct fixture *f)
{
    return f->map != NULL && f->map->assigned && f->nodes[0].map != NULL &&
           f->nodes[0].map->assigned && f->nodes[1].map != NULL && f->nodes[1].map->assigned;
}

static bool second_is_dead(struct fixture *f)
{
    int node = map_node_by_id(f->map, "0000000000000000000000000000000000000002");
    return node != NODE_NONE && f->map->nodes[node].state == NODE_DEAD;
}

/* A probe that ran into its limit meanwhile tells nothing: then there is another one. */
static bool second_is_found_dead(struct fixture *f)
{
    control_report_refused(f->control, "0000000000000000000000000000000000000002", "");
    return second_is_dead(f);
}

static bool third_is_welcome(struct fixture *f)
{
    return f->nodes[2].welcome;
}

static bool second_is_back(struct fixture *f)
{
    return f->nodes[1].welcome && !second_is_dead(f);
}

static bool is_answered(struct fixture *f)
{
    return f->answered != 0;
}

static bool node_is_down(struct fixture *f)
{
    return f->nodes[0].down;
}

static bool has_map(struct fixture *f)
{
    return f->map != NULL && f->map->epoch > 0;
}

static const char *ask(struct fixture *f, const char *a, const char *b, const char *c,
                       const char *d)
{
    struct slice argv[4] = {slice_str(a), slice_str(b)};
    size_t argc = 2;
    if (c != NULL) {
        argv[argc++] = slice_str(c);
    }
    if (d != NULL) {
        argv[argc++] = slice_str(d);
    }
    f->answered = 0;
    control_admin(f->control, f->mailbox, 77, 2, argv, argc);
    wait_until(f, is_answered);
    assert_int_equal(f->answered, 77);
    return str_cstr(&f->answer);
}

static void test_nodes_register_and_all_see_the_assignment(void **state)
{
    struct fixture *f = *state;
    node_register(f, 0);
    node_register(f, 1);
    wait_until(f, assigned);
    assert_int_equal(map_node_primaries(f->map, 0), 8);
    assert_int_equal(map_node_primaries(f->map, 1), 8);
    assert_true(f->nodes[0].welcome);
    assert_non_null(strstr(ask(f, "PROXY", "NODES", NULL, NULL), "state=healthy"));
    assert_non_null(strstr(ask(f, "cluster", "drain", "nonsense", NULL), "-ERR Unknown node"));
}

static void test_a_killed_node_is_known_dead_at_once_and_its_return_too(void **state)
{
    struct fixture *f = *state;
    node_register(f, 0);
    node_register(f, 1);
    wait_until(f, assigned);
    listener_free(&f->nodes[1].service);
    resp_link_free(&f->nodes[1].link); /* heartbeats are a minute apart: it can't be those */
    wait_until(f, second_is_dead);
    f->nodes[1].welcome = false;
    node_register(f, 1);
    wait_until(f, second_is_back);
    assert_int_equal(map_node_primaries(f->map, map_node_by_id(f->map, f->map->nodes[1].id)), 8);
}

static void test_a_workers_report_is_enough(void **state)
{
    struct fixture *f = *state;
    node_register(f, 0);
    node_register(f, 1);
    wait_until(f, assigned);
    listener_free(&f->nodes[1].service); /* its link stays up */
    control_report_refused(f->control, "0000000000000000000000000000000000000002", "");
    wait_until(f, second_is_dead);
}

static void test_the_assignment_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    node_register(f, 0);
    node_register(f, 1);
    wait_until(f, assigned);
    struct map *before = map_ref(f->map);
    control_free(&f->control);
    map_unref(&f->map);
    open_control(f);
    wait_until(f, has_map);
    assert_string_equal(f->map->cluster_id, before->cluster_id);
    assert_true(f->map->epoch >= before->epoch);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(map_shard_home(&f->map->shards[i]), before->shards[i].primary);
    }
    map_unref(&before);
}

static void test_meet_tells_a_node_where_to_register(void **state)
{
    struct fixture *f = *state;
    char port[16];
    char expected[64];
    f->nodes[2].f = f;
    node_listen(&f->nodes[2]);
    (void)snprintf(port, sizeof(port), "%d", f->nodes[2].port);
    assert_string_equal(ask(f, "CLUSTER", "MEET", "127.0.0.1", port), "+OK\r\n");
    (void)snprintf(expected, sizeof(expected), "SHOAL JOIN 127.0.0.1:%d", control_port(f->control));
    assert_string_equal(f->nodes[2].asked_to_join, expected);
    listener_free(&f->nodes[2].service);
    assert_non_null(strstr(ask(f, "CLUSTER", "MEET", "127.0.0.1", port), "-ERR Can't reach"));
    assert_non_null(strstr(ask(f, "CLUSTER", "MEET", "127.0.0.1", "x"), "-ERR Invalid"));
    assert_non_null(strstr(ask(f, "CLUSTER", "MEET", NULL, NULL), "-ERR wrong number"));
}

static void test_a_name_server_that_does_not_answer_keeps_nobody(void **state)
{
    struct fixture *f = *state;
    set_answers(false);
    f->nodes[1].host = SLOW;
    node_register(f, 0);
    node_register(f, 1);
    wait_until(f, assigned);
    listener_free(&f->nodes[1].service);
    control_report_refused(f->control, "0000000000000000000000000000000000000002", "");
    assert_non_null(strstr(ask(f, "PROXY", "NODES", NULL, NULL), "state=healthy"));
    struct slice meet[] = {SLICE("CLUSTER"), SLICE("MEET"), SLICE(SLOW), SLICE("1")};
    f->answered = 0;
    control_admin(f->control, f->mailbox, 77, 2, meet, ARRAY_LEN(meet));
    node_register(f, 2);
    wait_until(f, third_is_welcome);
    assert_false(second_is_dead(f));
    set_answers(true);
    wait_until(f, is_answered);
    wait_until(f, second_is_found_dead);
    assert_string_equal(ask(f, "CLUSTER", "MEET", "no.such.test", "7000"),
                        "-ERR Invalid node address specified\r\n");
}

static void test_nonsense_on_the_control_port_is_answered_and_closed(void **state)
{
    struct fixture *f = *state;
    struct fake_node *n = &f->nodes[0];
    n->link = resp_link_connect(f->loop, "127.0.0.1", control_port(f->control), LIMIT_MS, n, NULL,
                                on_node_message, on_node_down);
    struct wire_message m = {.kind = WIRE_HEARTBEAT}; /* before registering */
    send_message(n, &m);
    wait_until(f, node_is_down);
}

static void test_a_second_control_on_the_directory_is_refused(void **state)
{
    struct fixture *f = *state;
    struct errmsg err = {{0}};
    assert_null(control_new(&f->settings, &err));
    assert_true(strlen(err.text) > 0);
}

#define RUN(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(test_nodes_register_and_all_see_the_assignment),
        RUN(test_a_killed_node_is_known_dead_at_once_and_its_return_too),
        RUN(test_a_workers_report_is_enough),
        RUN(test_the_assignment_is_there_after_a_restart),
        RUN(test_meet_tells_a_node_where_to_register),
        RUN(test_a_name_server_that_does_not_answer_keeps_nobody),
        RUN(test_nonsense_on_the_control_port_is_answered_and_closed),
        RUN(test_a_second_control_on_the_directory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
