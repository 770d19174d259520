// SPDX-License-Identifier: BSD-3-Clause
#include "node/link/link.h"

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/rng.h"
#include "common/io/addr.h"
#include "common/resp/write.h"

#include <errno.h>
#include <stdio.h>

#define AREA         "link"
#define CONNECT_MS   2000
#define GREET_MS     2000
#define RETRY_MS_MIN 20
#define RETRY_MS_MAX 1000
#define SILENCE_S    10 /* a peer whose machine is gone is found out, whoever has something to say */
#define ANSWER_MAX   512

enum link_state {
    LINK_DOWN,       /* waits: for its retry, or for the other to connect */
    LINK_CONNECTING, /* ours */
    LINK_GREETING,   /* ours: said who we are, waits for the answers */
    LINK_UP,
};

struct link {
    struct list all; /* links->all */
    struct links *links;
    char id[NODE_ID_LEN + 1];
    char host[NODE_HOST_MAX];
    int port;
    int node;
    bool wanted;   /* seen in the present links_want */
    bool outgoing; /* we connect */
    enum link_state state;
    uint64_t incarnation;
    struct stream *stream;
    int answers;               /* +OK still missing */
    struct loop_timer timer;   /* the retry, or the deadline of greeting */
    struct loop_task announce; /* up(), from the loop */
    bool announced;            /* up() was told */
    bool cut;                  /* by us, for `why`: nothing more is taken from it */
    int64_t retry_ms;
    struct link_stats stats;
    uint64_t bytes_in; /* of former sessions */
    uint64_t bytes_out;
    char why[160];
};

struct links {
    struct loop *loop;
    struct links_settings settings;
    char *password; /* settings.password */
    struct links_port port;
    struct list all;
    struct rng rng; /* jitter */
};

static void connect_now(struct link *l);

/* --- ends --- */

static void drop_stream(struct link *l)
{
    if (l->stream != NULL) {
        l->bytes_in += l->stream->bytes_in;
        l->bytes_out += l->stream->bytes_out;
        stream_free(&l->stream);
    }
    loop_timer_stop(&l->timer);
    loop_undefer(&l->announce);
    l->cut = false;
}

static void plan_retry(struct link *l)
{
    if (!l->outgoing || !l->wanted) {
        return;
    }
    int64_t wait_ms = l->retry_ms / 2 + (int64_t)rng_below(&l->links->rng, (uint64_t)l->retry_ms);
    l->retry_ms = MIN(l->retry_ms * 2, RETRY_MS_MAX);
    loop_timer_start(&l->timer, MAX(wait_ms, 1), 0);
}

static void note_why(struct link *l, const char *why)
{
    if (strcmp(l->why, why) == 0) {
        return; /* told once */
    }
    (void)snprintf(l->why, sizeof(l->why), "%s", why);
    log_event(LOG_NOTICE, AREA, "down peer=%s addr=%s:%d why=\"%s\"", l->id, l->host, l->port,
              l->why);
}

static void fall(struct link *l, const char *why)
{
    struct links *all = l->links;
    bool told = l->announced;
    l->announced = false;
    note_why(l, why);
    drop_stream(l);
    l->state = LINK_DOWN;
    plan_retry(l);
    if (told) {
        all->port.down(all->port.arg, l);
    }
}

static void on_close(struct stream *st, int err)
{
    struct link *l = st->owner;
    if (l->cut) {
        fall(l, l->why);
    } else {
        fall(l, err == 0 ? "closed by the peer" : strerror(err));
    }
}

void link_cut(struct link *l, const char *why)
{
    if (l->stream != NULL && !l->cut) {
        note_why(l, why);
        l->cut = true;
        stream_fail(l->stream, ECONNABORTED);
    }
}

/* --- up --- */

static void go_up(struct link *l)
{
    loop_timer_stop(&l->timer);
    l->state = LINK_UP;
    l->retry_ms = RETRY_MS_MIN;
    l->why[0] = '\0';
    l->stats.sessions++;
    l->stats.since_ms = loop_now_ms(l->links->loop);
    l->stats.outgoing = l->outgoing;
    stream_keepalive(l->stream, SILENCE_S);
    stream_write_limit(l->stream, SILENCE_S);
    log_event(LOG_NOTICE, AREA, "up peer=%s addr=%s:%d", l->id, l->host, l->port);
    loop_defer(l->links->loop, &l->announce);
}

static void on_announce(struct loop_task *t)
{
    struct link *l = container_of(t, struct link, announce);
    if (l->state == LINK_UP && !l->announced) {
        l->announced = true;
        l->links->port.up(l->links->port.arg, l);
        /* What came before it was announced. */
        stream_resume(l->stream);
    }
}

/* --- frames --- */

static void on_drained(struct stream *st)
{
    struct link *l = st->owner;
    if (l->announced) {
        l->links->port.drained(l->links->port.arg, l);
    }
}

void links_flush(struct links *all)
{
    LIST_FOREACH_SAFE(it, &all->all) {
        const struct link *l = container_of(it, struct link, all);
        if (l->announced && l->stream->out.bytes > 0) {
            stream_flush_now(l->stream);
        }
    }
}

static uint32_t read_u32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static void take_frames(struct link *l)
{
    struct links *all = l->links;
    struct stream *st = l->stream;
    struct inbuf *in = &st->in;
    bool some = false;
    st->want = 0;
    if (all->port.frames_come != NULL) {
        all->port.frames_come(all->port.arg, l, inbuf_unread(in));
    }
    while (!l->cut) {
        struct slice have = inbuf_unread(in);
        if (have.len < LINK_HEADER) {
            break;
        }
        size_t len = read_u32(have.ptr);
        if (len > LINK_FRAME_MAX) {
            link_cut(l, "a frame is too long");
            break;
        }
        if (have.len - LINK_HEADER < len) {
            st->want = len - (have.len - LINK_HEADER);
            break;
        }
        some = true;
        if (!all->port.frame(all->port.arg, l, slice_of(have.ptr + LINK_HEADER, len))) {
            link_cut(l, "a frame is not understood");
            break;
        }
        inbuf_consume(in, LINK_HEADER + len);
    }
    if (some) {
        all->port.frames_done(all->port.arg, l);
    }
}

/* --- greeting, as the one that connects --- */

/* False: it is not complete yet, or the link fell. */
static bool take_answer(struct link *l)
{
    struct inbuf *in = &l->stream->in;
    struct slice have = inbuf_unread(in);
    const char *end = memchr(have.ptr, '\n', have.len);
    if (end == NULL) {
        if (have.len > ANSWER_MAX) {
            fall(l, "its answer is none");
        }
        return false;
    }
    size_t n = (size_t)(end - have.ptr) + 1;
    /* To SHOAL LINK: which start of the node it is. */
    bool is_start = have.ptr[0] == ':' && n > 3 &&
                    num_parse_u64(slice_of(have.ptr + 1, n - 3), &l->incarnation);
    if (!is_start && have.ptr[0] != '+') {
        char why[128];
        (void)snprintf(why, sizeof(why), "refused: %.*s", (int)MIN(n, 100), have.ptr);
        why[strcspn(why, "\r\n")] = '\0';
        fall(l, why);
        return false;
    }
    inbuf_consume(in, n);
    return true;
}

static void on_data(struct stream *st)
{
    struct link *l = st->owner;
    while (l->state == LINK_GREETING) {
        if (!take_answer(l)) {
            return;
        }
        if (--l->answers == 0) {
            go_up(l);
        }
    }
    if (!l->announced) {
        stream_pause(st);
    } else {
        take_frames(l);
    }
}

static void greet(struct link *l)
{
    const struct links_settings *s = &l->links->settings;
    struct resp_writer w = {.out = &l->stream->out, .proto = 2};
    char version[NUM_I64_MAX_LEN], incarnation[NUM_I64_MAX_LEN];
    l->answers = 1;
    if (s->password[0] != '\0') {
        struct slice auth[] = {SLICE("AUTH"), slice_str(s->password)};
        resp_request(w.out, auth, ARRAY_LEN(auth));
        l->answers++;
    }
    struct slice words[] = {
        SLICE("SHOAL"),
        SLICE("LINK"),
        slice_of(version, num_print_u64(version, LINK_VERSION)),
        slice_str(s->id),
        slice_of(incarnation, num_print_u64(incarnation, s->incarnation)),
        slice_str(s->cluster_id),
    };
    resp_request(w.out, words, ARRAY_LEN(words));
    stream_flush_later(l->stream);
    l->state = LINK_GREETING;
    loop_timer_start(&l->timer, GREET_MS, 0);
}

static void on_connect(struct stream *st, int err)
{
    struct link *l = st->owner;
    if (err != 0) {
        fall(l, addr_error(err));
    } else {
        greet(l);
    }
}

static void connect_now(struct link *l)
{
    l->state = LINK_CONNECTING;
    l->stream = stream_connect(l->links->loop, l->host, l->port, CONNECT_MS, l, on_connect, on_data,
                               on_close);
    l->stream->on_drained = on_drained;
}

static void on_timer(struct loop_timer *t)
{
    struct link *l = t->arg;
    if (l->state == LINK_DOWN) {
        connect_now(l);
    } else {
        fall(l, "it does not answer");
    }
}

/* --- as the one that is connected to --- */

static struct link *by_id(const struct links *all, const char *id)
{
    LIST_FOREACH(it, &all->all) {
        struct link *l = container_of(it, struct link, all);
        if (strcmp(l->id, id) == 0) {
            return l;
        }
    }
    return NULL;
}

const char *links_welcome(const struct links *all, uint64_t version, const char *id,
                          const char *cluster_id)
{
    if (version != LINK_VERSION) {
        return "ERR another version of the link between nodes";
    }
    if (strcmp(cluster_id, all->settings.cluster_id) != 0) {
        return "ERR a node of another cluster";
    }
    const struct link *l = by_id(all, id);
    if (l == NULL || l->outgoing) {
        return "TRYAGAIN no shard is shared, as far as is known here";
    }
    return NULL;
}

void links_adopt(struct links *all, struct stream *st, const char *id, uint64_t incarnation)
{
    struct link *l = by_id(all, id);
    if (l == NULL || l->outgoing) {
        stream_free(&st); /* the map changed in between */
        return;
    }
    if (l->stream != NULL) {
        fall(l, "it connected anew");
    }
    l->incarnation = incarnation;
    l->stream = st;
    st->owner = l;
    st->on_data = on_data;
    st->on_close = on_close;
    st->on_drained = on_drained;
    st->on_eof = NULL;
    st->drop_at_eof = true;
    stream_flush_later(st);
    go_up(l);
    stream_pause(st); /* until it is announced */
}

/* --- which --- */

static void end_link(struct link **lp)
{
    struct link *l = *lp;
    *lp = NULL;
    bool told = l->announced;
    l->announced = false;
    drop_stream(l);
    l->state = LINK_DOWN;
    if (told) {
        l->links->port.down(l->links->port.arg, l);
    }
    list_remove(&l->all);
    loop_timer_fini(&l->timer);
    mem_free(l);
}

static struct link *add_link(struct links *all, const struct link_target *t)
{
    struct link *l = mem_zalloc(sizeof(*l));
    l->links = all;
    l->node = t->node;
    l->retry_ms = RETRY_MS_MIN;
    l->outgoing = strcmp(all->settings.id, t->id) < 0;
    (void)snprintf(l->id, sizeof(l->id), "%s", t->id);
    loop_timer_init(&l->timer, all->loop, on_timer, l);
    loop_task_init(&l->announce, on_announce);
    list_append(&all->all, &l->all);
    return l;
}

void links_want(struct links *all, const struct link_target *of, size_t n)
{
    LIST_FOREACH(it, &all->all) {
        container_of(it, struct link, all)->wanted = false;
    }
    for (size_t i = 0; i < n; i++) {
        struct link *l = by_id(all, of[i].id);
        bool is_new = l == NULL;
        if (is_new) {
            l = add_link(all, &of[i]);
        }
        bool moved = l->port != of[i].port || strcmp(l->host, of[i].host) != 0;
        l->wanted = true;
        l->node = of[i].node;
        l->port = of[i].port;
        (void)snprintf(l->host, sizeof(l->host), "%s", of[i].host);
        if (l->outgoing && (is_new || (moved && l->state != LINK_UP))) {
            drop_stream(l);
            l->state = LINK_DOWN;
            loop_timer_start(&l->timer, 0, 0);
        }
    }
    LIST_FOREACH_SAFE(it, &all->all) {
        struct link *l = container_of(it, struct link, all);
        if (!l->wanted) {
            end_link(&l);
        }
    }
}

void links_cluster(struct links *all, const char *cluster_id)
{
    if (strcmp(cluster_id, all->settings.cluster_id) != 0) {
        (void)snprintf(all->settings.cluster_id, sizeof(all->settings.cluster_id), "%s",
                       cluster_id);
        links_want(all, NULL, 0);
    }
}

/* --- use --- */

struct link *links_find(const struct links *all, int node)
{
    LIST_FOREACH(it, &all->all) {
        struct link *l = container_of(it, struct link, all);
        if (l->node == node) {
            return l;
        }
    }
    return NULL;
}

bool link_is_up(const struct link *l)
{
    return l->announced;
}

int link_node(const struct link *l)
{
    return l->node;
}

const char *link_id(const struct link *l)
{
    return l->id;
}

uint64_t link_incarnation(const struct link *l)
{
    return l->incarnation;
}

struct outbuf *link_frame(struct link *l, size_t len)
{
    unsigned char head[LINK_HEADER] = {(unsigned char)len, (unsigned char)(len >> 8),
                                       (unsigned char)(len >> 16), (unsigned char)(len >> 24)};
    INVARIANT(len <= LINK_FRAME_MAX);
    outbuf_append(&l->stream->out, head, sizeof(head));
    stream_flush_later(l->stream);
    return &l->stream->out;
}

void links_meanwhile(struct links *all, bool yes)
{
    LIST_FOREACH(it, &all->all) {
        const struct link *l = container_of(it, struct link, all);
        if (l->announced) {
            stream_meanwhile(l->stream, yes);
        }
    }
}

size_t link_queued(const struct link *l)
{
    return l->stream == NULL ? 0 : l->stream->out.bytes;
}

void link_stats(const struct link *l, struct link_stats *out)
{
    *out = l->stats;
    out->outgoing = l->outgoing;
    out->bytes_in = l->bytes_in + (l->stream == NULL ? 0 : l->stream->bytes_in);
    out->bytes_out = l->bytes_out + (l->stream == NULL ? 0 : l->stream->bytes_out);
}

void links_each(const struct links *all, link_each_fn *fn, void *arg)
{
    LIST_FOREACH_SAFE(it, &all->all) {
        fn(arg, container_of(it, struct link, all));
    }
}

/* --- life --- */

struct links *links_new(struct loop *l, const struct links_settings *s,
                        const struct links_port *port)
{
    struct links *all = mem_zalloc(sizeof(*all));
    all->loop = l;
    all->settings = *s;
    links_password(all, s->password);
    all->port = *port;
    list_init(&all->all);
    rng_init(&all->rng, s->incarnation ^ (uint64_t)loop_now_us(l));
    return all;
}

void links_free(struct links **lp)
{
    struct links *all = *lp;
    *lp = NULL;
    if (all == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &all->all) {
        struct link *l = container_of(it, struct link, all);
        l->announced = false; /* nobody is told */
        end_link(&l);
    }
    mem_free(all->password);
    mem_free(all);
}

void links_password(struct links *all, const char *password)
{
    mem_free(all->password);
    all->password = mem_strdup(password == NULL ? "" : password);
    all->settings.password = all->password;
}
