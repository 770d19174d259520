// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/control/control.h"

#include "proxy/control/meet.h"
#include "proxy/control/node_link.h"
#include "proxy/control/node_settings.h"
#include "proxy/control/probe.h"
#include "proxy/control/store.h"
#include "proxy/coordinator/coordinator.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/io/resp_link.h"
#include "common/io/thread.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define CONTROL_MAGIC   0x6374726cu
#define AREA            "control"
#define TICK_MS         100
#define LOADS_MAX       256 /* nodes whose load the workers are told */
#define STORE_KEY       "cluster"
#define SETTINGS_KEY    "settings"
#define SEED_NAME       "hash-seed"
#define RECORD_AGAIN_MS 1000 /* after the store failed */

enum { IN_REFUSED = 1, IN_ADMIN, IN_SET, IN_STOP };

struct refused_mail {
    struct mail mail;
    char id[NODE_ID_LEN + 1];
    char answer[TURNED_AWAY_MAX];
};

struct admin_mail {
    struct mail mail;
    struct mailbox *reply_to;
    uint64_t request_id;
    int proto;
    size_t argc;
    struct slice *argv; /* owned, the bytes behind it too */
};

struct set_mail {
    struct mail mail;
    struct coordinator_settings settings;
    char *password; /* settings.password: the mail's own */
};

/* An admin request that the core has not answered yet. */
struct pending {
    uint64_t request; /* our number for it */
    struct mailbox *reply_to;
    uint64_t request_id; /* the asker's */
};

struct control {
    uint32_t magic;
    /* set before the thread starts, then unchanged */
    struct loop *loop;
    struct mailbox *mailbox;
    struct mailbox **workers;
    int64_t loads_ms; /* when the workers were last told of loads */
    int64_t heartbeat_interval_ms;
    size_t n_workers;
    struct thread thread;
    bool started;
    /* the control thread's */
    struct node_links *links;
    struct probes *probes;
    struct meets *meets;
    struct store *store;
    struct coordinator *core;
    struct loop_timer tick;
    struct loop_timer record_again;
    struct loop_task record_task; /* writes `record` at the end of the turn */
    struct str record;            /* the decision to be made durable */
    uint64_t record_revision;     /* the core's number for it; 0: none */
    uint64_t store_revision;
    struct node_settings settings; /* what CONFIG SET has given to all nodes */
    uint64_t settings_version;     /* grows with each change, over restarts too */
    uint64_t settings_revision;    /* the store's */
    struct pending *pending;
    size_t n_pending;
    uint64_t request_last;
};

/* ---- the core's effects ---- */

static void effect_send(void *arg, uint64_t link, const struct wire_message *m)
{
    struct control *c = arg;
    node_links_send(c->links, link, m);
}

static void effect_close(void *arg, uint64_t link)
{
    struct control *c = arg;
    node_links_close(c->links, link);
}

static void effect_record(void *arg, uint64_t revision, struct slice bytes)
{
    struct control *c = arg;
    INVARIANT(c->record_revision == 0);
    c->record_revision = revision;
    str_clear(&c->record);
    str_append_slice(&c->record, bytes);
    loop_defer(c->loop, &c->record_task);
}

static void mail_map(struct mailbox *worker, struct map *m)
{
    struct control_map_mail *mail = mem_zalloc(sizeof(*mail));
    mail->mail.kind = CONTROL_MAP;
    mail->map = map_ref(m);
    mailbox_send(worker, &mail->mail);
}

static void effect_publish(void *arg, struct map *m)
{
    struct control *c = arg;
    for (size_t i = 0; i < c->n_workers; i++) {
        mail_map(c->workers[i], m);
    }
}

static void effect_probe(void *arg, const char *id, const char *host, int port)
{
    struct control *c = arg;
    probes_start(c->probes, id, host, port);
}

static void effect_answer(void *arg, uint64_t request, struct slice reply)
{
    struct control *c = arg;
    for (size_t i = 0; i < c->n_pending; i++) {
        if (c->pending[i].request == request) {
            struct control_answer_mail *mail = mem_zalloc(sizeof(*mail));
            mail->mail.kind = CONTROL_ANSWER;
            mail->request_id = c->pending[i].request_id;
            str_append_slice(&mail->reply, reply);
            mailbox_send(c->pending[i].reply_to, &mail->mail);
            c->pending[i] = c->pending[--c->n_pending];
            return;
        }
    }
    INVARIANT(!"answered once");
}

/* ---- recording ---- */

static void on_record(struct loop_task *t)
{
    struct control *c = container_of(t, struct control, record_task);
    struct errmsg err;
    uint64_t revision = c->record_revision;
    enum store_result r =
        store_put(c->store, STORE_KEY, c->store_revision, str_slice(&c->record), &err);
    if (r != STORE_OK) {
        /* Nothing is acted upon until it is durable: the cluster stays as it is meanwhile. */
        log_event(LOG_WARNING, AREA, "decision cannot be recorded: %s", err.text);
        loop_timer_start(&c->record_again, RECORD_AGAIN_MS, 0);
        return;
    }
    c->store_revision++;
    c->record_revision = 0;
    coordinator_recorded(c->core, loop_now_ms(c->loop), revision);
}

static void on_record_again(struct loop_timer *t)
{
    struct control *c = t->arg;
    loop_defer(c->loop, &c->record_task);
}

/* ---- what CONFIG SET gives to all nodes ---- */

static void mail_settings(const struct control *c, struct mailbox *worker)
{
    struct control_settings_mail *m = mem_zalloc(sizeof(*m));
    m->mail.kind = CONTROL_SETTINGS;
    m->version = c->settings_version;
    mailbox_send(worker, &m->mail);
}

/* Everything, to the core, and the version to the workers. */
static void give_settings(struct control *c)
{
    struct str all = {0};
    node_settings_encode(&c->settings, false, &all);
    coordinator_keep(c->core, c->settings_version, str_slice(&all));
    str_fini(&all);
    for (size_t i = 0; i < c->n_workers; i++) {
        mail_settings(c, c->workers[i]);
    }
}

/* Makes what lasts durable, as the next version. */
static bool store_settings(struct control *c, struct errmsg *err)
{
    struct str bytes = {0};
    /* The version first: what is stored is never older than what nodes were told. */
    str_printf(&bytes, "%llu\n", (unsigned long long)c->settings_version + 1);
    node_settings_encode(&c->settings, true, &bytes);
    bool good =
        store_put(c->store, SETTINGS_KEY, c->settings_revision, str_slice(&bytes), err) == STORE_OK;
    c->settings_revision += good;
    c->settings_version++;
    str_fini(&bytes);
    return good;
}

/* SETTINGS reply (KEEP|LEND name value) ...: without any, nodes that may have taken half of a
 * change hear what is in force. Answers with `reply`. */
static void take_settings(struct control *c, uint64_t request, const struct slice *argv,
                          size_t argc)
{
    struct str reply = {0};
    struct errmsg err;
    for (size_t i = 2; i + 2 < argc; i += 3) {
        node_settings_set(&c->settings, argv[i + 1], argv[i + 2], slice_is(argv[i], "keep"));
    }
    if (store_settings(c, &err)) {
        str_append_slice(&reply, argv[1]);
    } else {
        log_event(LOG_WARNING, AREA, "settings cannot be recorded: %s", err.text);
        str_printf(&reply, "-ERR set, but not recorded: %s\r\n", err.text);
    }
    give_settings(c);
    effect_answer(c, request, str_slice(&reply));
    str_fini(&reply);
}

/* The seed of all nodes' tables: a cursor of SCAN and its kin is a place in the order of hashes,
 * and must mean the same at the next primary. A secret, as it is of a node alone. */
static bool have_seed(struct control *c, struct errmsg *err)
{
    uint64_t seed;
    char digits[NUM_I64_MAX_LEN];
    if (node_settings_get(&c->settings, SEED_NAME) != NULL) {
        return true;
    }
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        errmsg_set(err, "getrandom: %s", strerror(errno));
        return false;
    }
    node_settings_set(&c->settings, SLICE(SEED_NAME), slice_of(digits, num_print_u64(digits, seed)),
                      true);
    return store_settings(c, err);
}

static bool read_settings(struct control *c, struct errmsg *err)
{
    struct str bytes = {0};
    bool good = store_get(c->store, SETTINGS_KEY, &bytes, &c->settings_revision, err);
    if (good && c->settings_revision > 0) {
        struct slice line = str_slice(&bytes);
        const char *end = memchr(line.ptr, '\n', line.len);
        size_t head = end == NULL ? 0 : (size_t)(end - line.ptr);
        good = end != NULL && num_parse_u64(slice_of(line.ptr, head), &c->settings_version) &&
               node_settings_decode(&c->settings, slice_of(end + 1, line.len - head - 1));
        if (!good) {
            errmsg_set(err, "the record of settings is damaged");
        }
    }
    str_fini(&bytes);
    return good;
}

/* ---- the world's events ---- */

static void on_node_message(void *arg, uint64_t link, const char *peer_ip,
                            const struct wire_message *m)
{
    struct control *c = arg;
    coordinator_message(c->core, loop_now_ms(c->loop), link, peer_ip, m);
}

static void on_node_down(void *arg, uint64_t link)
{
    struct control *c = arg;
    coordinator_link_down(c->core, loop_now_ms(c->loop), link);
}

static void on_probed(void *arg, const char *id, enum probe_result result)
{
    struct control *c = arg;
    coordinator_probed(c->core, loop_now_ms(c->loop), id, result);
}

static void mail_loads(struct control *c)
{
    struct coordinator_load loads[LOADS_MAX];
    size_t n = coordinator_loads(c->core, loads, LOADS_MAX);
    for (size_t i = 0; i < c->n_workers; i++) {
        struct control_loads_mail *m = mem_zalloc(sizeof(*m) + n * sizeof(m->loads[0]));
        m->mail.kind = CONTROL_LOADS;
        m->count = n;
        for (size_t k = 0; k < n; k++) {
            memcpy(m->loads[k].id, loads[k].id, sizeof(m->loads[k].id));
            m->loads[k].percent = loads[k].percent;
            m->loads[k].short_of_memory = loads[k].short_of_memory;
        }
        mailbox_send(c->workers[i], &m->mail);
    }
}

static void on_tick(struct loop_timer *t)
{
    struct control *c = t->arg;
    int64_t now_ms = loop_now_ms(c->loop);
    node_links_tick(c->links, now_ms);
    coordinator_tick(c->core, now_ms);
    if (now_ms - c->loads_ms >= c->heartbeat_interval_ms) {
        c->loads_ms = now_ms;
        mail_loads(c);
    }
}

/* ---- mail ---- */

static void free_admin_mail(struct admin_mail *m)
{
    for (size_t i = 0; i < m->argc; i++) {
        mem_free((void *)(uintptr_t)m->argv[i].ptr);
    }
    mem_free(m->argv);
    mem_free(m);
}

static void take_admin(struct control *c, struct admin_mail *m)
{
    c->pending = mem_realloc(c->pending, sizeof(*c->pending) * (c->n_pending + 1));
    struct pending *p = &c->pending[c->n_pending++];
    *p = (struct pending){
        .request = ++c->request_last, .reply_to = m->reply_to, .request_id = m->request_id};
    uint64_t request = p->request;
    bool meet = m->argc >= 2 && slice_is(m->argv[0], "cluster") && slice_is(m->argv[1], "meet");
    if (m->argc >= 2 && slice_is(m->argv[0], "settings")) {
        take_settings(c, request, m->argv, m->argc);
    } else if (meet) {
        meets_start(c->meets, request, m->argv, m->argc);
    } else {
        coordinator_admin(c->core, loop_now_ms(c->loop), request, m->proto, m->argv, m->argc);
    }
    free_admin_mail(m);
}

static void on_mail(void *arg, struct mail *mail)
{
    struct control *c = arg;
    switch (mail->kind) {
    case IN_REFUSED: {
        struct refused_mail *m = container_of(mail, struct refused_mail, mail);
        if (c->started) {
            coordinator_turned_away(c->core, loop_now_ms(c->loop), m->id, m->answer);
            coordinator_suspect(c->core, loop_now_ms(c->loop), m->id);
        }
        mem_free(m);
        break;
    }
    case IN_ADMIN: {
        struct admin_mail *m = container_of(mail, struct admin_mail, mail);
        if (c->started) {
            take_admin(c, m);
        } else {
            free_admin_mail(m);
        }
        break;
    }
    case IN_SET: {
        struct set_mail *m = container_of(mail, struct set_mail, mail);
        if (c->started) {
            coordinator_set(c->core, loop_now_ms(c->loop), &m->settings);
            c->heartbeat_interval_ms = m->settings.heartbeat_interval_ms;
        }
        mem_free(m->password);
        mem_free(m);
        break;
    }
    case IN_STOP:
        mem_free(mail);
        loop_stop(c->loop);
        break;
    default:
        INVARIANT(!"mail of a kind that nobody sends here");
    }
}

/* ---- life ---- */

static struct coordinator_settings core_settings(const struct control_settings *s)
{
    return (struct coordinator_settings){.shards = s->shards,
                                         .replication_factor = s->replication_factor,
                                         .nodes_min = s->min_nodes,
                                         .assignment_delay_ms = s->assignment_delay_ms,
                                         .heartbeat_interval_ms = s->heartbeat_interval_ms,
                                         .unhealthy_missed = s->unhealthy_missed,
                                         .dead_missed = s->dead_missed,
                                         .rebalance_on_join = s->rebalance_on_join,
                                         .rebalance_concurrency = s->rebalance_concurrency,
                                         .replace_delay_ms = s->replace_delay_ms,
                                         .sync = s->sync,
                                         .strong = s->strong,
                                         .min_in_sync = s->min_in_sync,
                                         .lease_ms = s->lease_ms,
                                         .rebalance_bandwidth = s->rebalance_bandwidth,
                                         .password = s->password};
}

static bool random_id(char to[NODE_ID_LEN + 1], struct errmsg *err)
{
    unsigned char bytes[NODE_ID_LEN / 2];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        errmsg_set(err, "getrandom: %s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(to + 2 * i, 3, "%02x", bytes[i]);
    }
    return true;
}

static bool open_core(struct control *c, const struct control_settings *s, struct errmsg *err)
{
    char cluster_id[NODE_ID_LEN + 1];
    struct str stored = {0};
    c->store = store_sqlite_open(s->dir, err);
    if (c->store == NULL || !random_id(cluster_id, err) ||
        !store_get(c->store, STORE_KEY, &stored, &c->store_revision, err) ||
        !read_settings(c, err) || !have_seed(c, err)) {
        str_fini(&stored);
        return false;
    }
    struct coordinator_settings settings = core_settings(s);
    c->heartbeat_interval_ms = settings.heartbeat_interval_ms;
    struct coordinator_env env = {.arg = c,
                                  .send = effect_send,
                                  .close = effect_close,
                                  .record = effect_record,
                                  .publish = effect_publish,
                                  .probe = effect_probe,
                                  .answer = effect_answer};
    c->core =
        coordinator_new(&settings, &env, str_slice(&stored), cluster_id, loop_now_ms(c->loop), err);
    str_fini(&stored);
    if (c->core == NULL) {
        errmsg_wrap(err, "%s/coordinator.db", s->dir);
        return false;
    }
    return true;
}

struct control *control_new(const struct control_settings *s, struct errmsg *err)
{
    struct control *c = mem_zalloc(sizeof(*c));
    c->magic = CONTROL_MAGIC;
    c->loop = loop_new();
    c->mailbox = mailbox_new(c->loop, on_mail, c);
    loop_timer_init(&c->tick, c->loop, on_tick, c);
    loop_timer_init(&c->record_again, c->loop, on_record_again, c);
    loop_task_init(&c->record_task, on_record);
    struct node_links_port port = {.arg = c, .message = on_node_message, .down = on_node_down};
    if (open_core(c, s, err)) {
        c->links = node_links_new(c->loop, s->host, s->port, &port, err);
    }
    if (c->links == NULL) {
        control_free(&c);
        return NULL;
    }
    c->probes = probes_new(c->loop, on_probed, c);
    c->meets = meets_new(c->loop, s->host, node_links_listening(c->links), effect_answer, c);
    return c;
}

int control_port(const struct control *c)
{
    CHECK_OBJ(c, CONTROL_MAGIC);
    return node_links_listening(c->links);
}

bool control_setting(const struct control *c, const char *name, struct str *to)
{
    CHECK_OBJ(c, CONTROL_MAGIC);
    INVARIANT(!c->started);
    const struct str *value = node_settings_get(&c->settings, name);
    if (value != NULL) {
        str_append_slice(to, str_slice(value));
    }
    return value != NULL;
}

void control_subscribe(struct control *c, struct mailbox *worker)
{
    CHECK_OBJ(c, CONTROL_MAGIC);
    INVARIANT(!c->started);
    c->workers = mem_realloc(c->workers, sizeof(struct mailbox *) * (c->n_workers + 1));
    c->workers[c->n_workers++] = worker;
    mail_map(worker, coordinator_map(c->core));
    mail_settings(c, worker);
}

static void run_thread(void *arg)
{
    struct control *c = arg;
    loop_update_now(c->loop);
    loop_timer_start(&c->tick, TICK_MS, TICK_MS);
    if (c->settings_version > 0) {
        give_settings(c);
    }
    coordinator_start(c->core, loop_now_ms(c->loop));
    loop_run(c->loop);
    mem_publish();
}

void control_start(struct control *c)
{
    CHECK_OBJ(c, CONTROL_MAGIC);
    INVARIANT(!c->started);
    c->started = true;
    thread_start(&c->thread, "control", run_thread, c);
}

void control_stop(struct control *c)
{
    CHECK_OBJ(c, CONTROL_MAGIC);
    if (!c->started) {
        return;
    }
    struct mail *stop = mem_zalloc(sizeof(*stop));
    stop->kind = IN_STOP;
    mailbox_send(c->mailbox, stop);
    thread_join(&c->thread);
    c->started = false;
}

void control_free(struct control **cp)
{
    struct control *c = *cp;
    if (c == NULL) {
        return;
    }
    CHECK_OBJ(c, CONTROL_MAGIC);
    *cp = NULL;
    control_stop(c);
    if (c->meets != NULL) {
        meets_free(&c->meets);
        probes_free(&c->probes);
    }
    node_links_free(&c->links);
    mailbox_free(&c->mailbox);
    loop_timer_fini(&c->tick);
    loop_timer_fini(&c->record_again);
    loop_undefer(&c->record_task);
    coordinator_free(&c->core);
    store_free(&c->store);
    loop_free(&c->loop);
    str_fini(&c->record);
    node_settings_fini(&c->settings);
    mem_free(c->pending);
    mem_free(c->workers);
    c->magic = 0;
    mem_free(c);
}

/* ---- doors for other threads ---- */

void control_report_refused(struct control *c, const char *node_id, const char *answer)
{
    INVARIANT(strlen(node_id) == NODE_ID_LEN);
    struct refused_mail *m = mem_zalloc(sizeof(*m));
    m->mail.kind = IN_REFUSED;
    memcpy(m->id, node_id, sizeof(m->id));
    (void)snprintf(m->answer, sizeof(m->answer), "%s", answer);
    mailbox_send(c->mailbox, &m->mail);
}

void control_admin(struct control *c, struct mailbox *reply_to, uint64_t request_id, int proto,
                   const struct slice *argv, size_t argc)
{
    struct admin_mail *m = mem_zalloc(sizeof(*m));
    m->mail.kind = IN_ADMIN;
    m->reply_to = reply_to;
    m->request_id = request_id;
    m->proto = proto;
    m->argc = argc;
    m->argv = mem_alloc(sizeof(*m->argv) * MAX(argc, (size_t)1));
    for (size_t i = 0; i < argc; i++) {
        m->argv[i] = slice_of(mem_memdup(argv[i].len > 0 ? argv[i].ptr : "", MAX(argv[i].len, 1UL)),
                              argv[i].len);
    }
    mailbox_send(c->mailbox, &m->mail);
}

void control_set(struct control *c, const struct control_settings *s)
{
    struct set_mail *m = mem_zalloc(sizeof(*m));
    m->mail.kind = IN_SET;
    m->settings = core_settings(s);
    m->password = mem_strdup(s->password == NULL ? "" : s->password);
    m->settings.password = m->password;
    mailbox_send(c->mailbox, &m->mail);
}
