// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/pubsub.h"

#include "proxy/exec/exec_priv.h"
#include "proxy/exec/pubsub_priv.h"

#include "common/base/hash.h"
#include "common/base/num.h"
#include "common/cmd/slot.h"

static const char *const kind_words[TOPIC_KINDS] = {"channel", "pattern", "shard"};

/* --- topics --- */

static uint64_t topic_hash(const struct exec *x, enum topic_kind kind, struct slice name)
{
    return hash_bytes(name.ptr, name.len, x->lane_id_first + kind);
}

static struct topic *find_topic(const struct exec *x, enum topic_kind kind, struct slice name)
{
    uint64_t hash = topic_hash(x, kind, name);
    for (struct hmap_node *n = hmap_first(&x->topics, hash); n != NULL; n = hmap_same(n)) {
        struct topic *t = container_of(n, struct topic, node);
        if (t->kind == kind && t->len == name.len && memcmp(t->name, name.ptr, name.len) == 0) {
            return t;
        }
    }
    return NULL;
}

static bool is_notification(struct slice name)
{
    static const char key[] = "__keyspace@", event[] = "__keyevent@";
    return name.len >= sizeof(key) - 1 && (memcmp(name.ptr, key, sizeof(key) - 1) == 0 ||
                                           memcmp(name.ptr, event, sizeof(event) - 1) == 0);
}

static struct topic *topic_of(struct exec *x, enum topic_kind kind, struct slice name)
{
    struct topic *t = find_topic(x, kind, name);
    if (t != NULL) {
        return t;
    }
    t = mem_zalloc(sizeof(*t) + name.len);
    t->kind = (uint8_t)kind;
    t->everywhere = kind == TOPIC_PATTERN || (kind == TOPIC_CHANNEL && is_notification(name));
    t->slot = slot_of(name);
    t->len = name.len;
    memcpy(t->name, name.ptr, name.len);
    list_init(&t->subs);
    hmap_insert(&x->topics, &t->node, topic_hash(x, kind, name));
    return t;
}

static void topic_free(struct exec *x, struct topic *t)
{
    hmap_remove(&x->topics, &t->node);
    mem_free(t->told);
    mem_free(t);
}

/* --- what nodes are told --- */

/* The node may publish on it, now or as the next primary. */
static bool concerns(const struct exec *x, const struct topic *topic, const struct target *t)
{
    if (t->node == NODE_NONE || x->map == NULL) {
        return false;
    }
    if (topic->everywhere) {
        return true;
    }
    const struct map_shard *sh = &x->map->shards[slot_to_shard(topic->slot, x->shards)];
    for (int i = 0; i < sh->n_members; i++) {
        if (sh->members[i].node == t->node) {
            return true;
        }
    }
    return false;
}

static struct told *told_of(struct topic *topic, const struct lane *l)
{
    for (uint32_t i = 0; i < topic->n_told; i++) {
        if (topic->told[i].lane_id == l->id) {
            return &topic->told[i];
        }
    }
    return NULL;
}

static void set_told(struct topic *topic, const struct lane *l, uint32_t count)
{
    struct told *t = told_of(topic, l);
    if (count == 0) {
        *t = topic->told[--topic->n_told];
        return;
    }
    if (t == NULL) {
        topic->told = mem_realloc(topic->told, (topic->n_told + 1) * sizeof(*topic->told));
        t = &topic->told[topic->n_told++];
        t->lane_id = l->id;
    }
    t->count = count;
}

static void await(struct sub_op *op, const struct lane *l, uint64_t number)
{
    for (uint32_t i = 0; i < op->n; i++) {
        if (op->on[i].lane_id == l->id) {
            op->on[i].number = number;
            return;
        }
    }
    op->on = mem_realloc(op->on, (op->n + 1) * sizeof(*op->on));
    op->on[op->n++] = (struct sub_ack){.lane_id = l->id, .number = number};
}

static void tell(struct exec *x, struct lane *l, struct topic *topic, uint32_t count,
                 struct sub_op *op)
{
    char digits[NUM_I64_MAX_LEN];
    const struct slice words[5] = {
        SLICE("SHOAL"), SLICE("SUBSCRIBE"), slice_str(kind_words[topic->kind]),
        slice_of(topic->name, topic->len), slice_of(digits, num_print_u64(digits, count))};
    const struct call *c = lane_say(x, l, words, 5, CALL_HANDSHAKE);
    set_told(topic, l, count);
    if (op != NULL) {
        await(op, l, c->number);
    }
}

static struct lane *ear_of(const struct target *t)
{
    struct lane *l = t->lanes[LANE_EAR][1];
    return l == NULL || l->state == LANE_DOWN ? NULL : l;
}

/* Brings what the nodes know of it up to date; `op` waits for their answers. Freed if nobody
 * listens. */
static void update(struct exec *x, struct topic *topic, struct sub_op *op)
{
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        struct lane *l = ear_of(t);
        if (l == NULL) {
            continue;
        }
        uint32_t want = concerns(x, topic, t) ? topic->n : 0;
        const struct told *told = told_of(topic, l);
        if ((told == NULL ? 0 : told->count) != want) {
            tell(x, l, topic, want, op);
        }
    }
    if (topic->n == 0) {
        topic_free(x, topic);
    }
}

static void update_all(struct exec *x)
{
    struct hmap_node *next;
    for (struct hmap_node *n = hmap_begin(&x->topics); n != NULL; n = next) {
        next = hmap_next(&x->topics, n);
        update(x, container_of(n, struct topic, node), NULL);
    }
}

/* --- confirmations --- */

static bool is_settled(const struct exec *x, struct sub_op *op)
{
    for (uint32_t i = 0; i < op->n;) {
        bool waits = false;
        LIST_FOREACH(it, &x->lanes) {
            const struct lane *l = container_of(it, struct lane, link);
            waits |= l->id == op->on[i].lane_id && l->acked < op->on[i].number;
        }
        if (waits) {
            return false;
        }
        op->on[i] = op->on[--op->n]; /* answered, or its lane is gone */
    }
    return true;
}

static struct session *owner_of(struct session *s)
{
    return s != NULL && s->inner ? s->outer : s;
}

static void op_end(struct exec *x, struct sub_op *op)
{
    struct session *owner = owner_of(op->request->session);
    struct request *r = op->request;
    struct outbuf out = op->out;
    list_remove(&op->link);
    mem_free(op->on);
    mem_free(op);
    if (owner != NULL && owner->subs != NULL) {
        LIST_FOREACH(it, &owner->subs->all) {
            container_of(it, struct sub, of_session)->live = true;
        }
    }
    request_reply_out(x, r, &out);
}

static void check_ops(struct exec *x)
{
    struct list now;
    list_init(&now);
    LIST_FOREACH_SAFE(it, &x->sub_ops) {
        if (is_settled(x, container_of(it, struct sub_op, link))) {
            list_remove(it);
            list_append(&now, it);
        }
    }
    while (!list_empty(&now)) {
        op_end(x, container_of(now.next, struct sub_op, link));
    }
}

void ear_answered(struct exec *x, struct lane *l, uint64_t number)
{
    l->acked = number;
    check_ops(x);
}

/* --- subscriptions --- */

uint32_t pubsub_count(const struct session *s, enum topic_kind kind)
{
    return s->subs == NULL ? 0 : s->subs->count[kind];
}

static struct sub *find_sub(const struct session *s, const struct topic *topic)
{
    uint64_t hash = (uint64_t)(uintptr_t)topic;
    for (struct hmap_node *n = hmap_first(&s->subs->by_topic, hash); n != NULL; n = hmap_same(n)) {
        struct sub *sub = container_of(n, struct sub, node);
        if (sub->topic == topic) {
            return sub;
        }
    }
    return NULL;
}

static void add_sub(struct exec *x, struct session *s, struct topic *topic)
{
    if (s->subs == NULL) {
        s->subs = mem_zalloc(sizeof(*s->subs));
        list_init(&s->subs->all);
    }
    struct sub *sub = mem_zalloc(sizeof(*sub));
    sub->topic = topic;
    sub->session = s;
    list_append(&topic->subs, &sub->of_topic);
    list_append(&s->subs->all, &sub->of_session);
    hmap_insert(&s->subs->by_topic, &sub->node, (uint64_t)(uintptr_t)topic);
    s->subs->count[topic->kind]++;
    topic->n++;
    (void)x;
}

/* The topic stays, also without listeners. */
static void remove_sub(struct sub *sub)
{
    struct subs *subs = sub->session->subs;
    subs->count[sub->topic->kind]--;
    sub->topic->n--;
    list_remove(&sub->of_topic);
    list_remove(&sub->of_session);
    hmap_remove(&subs->by_topic, &sub->node);
    mem_free(sub);
}

void pubsub_forget(struct exec *x, struct session *s)
{
    if (s->subs == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &s->subs->all) {
        struct sub *sub = container_of(it, struct sub, of_session);
        struct topic *topic = sub->topic;
        remove_sub(sub);
        update(x, topic, NULL);
    }
    hmap_fini(&s->subs->by_topic);
    mem_free(s->subs);
    s->subs = NULL;
}

bool pubsub_all(const struct session *s, pubsub_name_fn fn, const void *arg)
{
    if (s->subs == NULL) {
        return true;
    }
    LIST_FOREACH(it, &s->subs->all) {
        const struct topic *t = container_of(it, struct sub, of_session)->topic;
        if (!fn(arg, (enum topic_kind)t->kind, t->name, t->len)) {
            return false;
        }
    }
    return true;
}

/* --- the commands --- */

static enum topic_kind kind_of(const struct command *c)
{
    switch (c->id) {
    case CMD_PSUBSCRIBE:
    case CMD_PUNSUBSCRIBE:
        return TOPIC_PATTERN;
    case CMD_SSUBSCRIBE:
    case CMD_SUNSUBSCRIBE:
        return TOPIC_SHARD;
    default:
        return TOPIC_CHANNEL;
    }
}

static bool ends(const struct command *c)
{
    return c->id == CMD_UNSUBSCRIBE || c->id == CMD_PUNSUBSCRIBE || c->id == CMD_SUNSUBSCRIBE;
}

/* Shard channels count by themselves. */
static uint32_t shown_count(const struct session *s, enum topic_kind kind)
{
    return kind == TOPIC_SHARD ? pubsub_count(s, TOPIC_SHARD)
                               : pubsub_count(s, TOPIC_CHANNEL) + pubsub_count(s, TOPIC_PATTERN);
}

static void confirm(struct sub_op *op, const struct session *s, const struct command *c,
                    const struct slice *name)
{
    struct resp_writer w = {.out = &op->out, .proto = op->request->proto};
    resp_push(&w, 3);
    resp_bulkz(&w, c->full_name);
    if (name == NULL) {
        resp_nil(&w);
    } else {
        resp_bulk(&w, *name);
    }
    resp_int(&w, shown_count(s, kind_of(c)));
}

static void subscribe(struct exec *x, struct session *s, struct sub_op *op, struct slice name)
{
    const struct command *c = op->request->command;
    struct topic *topic = topic_of(x, kind_of(c), name);
    if (s->subs == NULL || find_sub(s, topic) == NULL) {
        add_sub(x, s, topic);
        update(x, topic, op);
    }
    confirm(op, s, c, &name);
}

static void unsubscribe(struct exec *x, struct session *s, struct sub_op *op, struct slice name)
{
    const struct command *c = op->request->command;
    struct topic *topic = find_topic(x, kind_of(c), name);
    struct sub *sub = topic == NULL || s->subs == NULL ? NULL : find_sub(s, topic);
    if (sub != NULL) {
        remove_sub(sub);
    }
    confirm(op, s, c, &name);
    if (sub != NULL) {
        update(x, topic, op);
    }
}

static void unsubscribe_all(struct exec *x, struct session *s, struct sub_op *op)
{
    enum topic_kind kind = kind_of(op->request->command);
    if (pubsub_count(s, kind) == 0) {
        confirm(op, s, op->request->command, NULL);
        return;
    }
    LIST_FOREACH_SAFE(it, &s->subs->all) {
        const struct topic *t = container_of(it, struct sub, of_session)->topic;
        if (t->kind == kind) {
            unsubscribe(x, s, op, slice_of(t->name, t->len));
        }
    }
}

enum exec_verdict exec_pubsub(struct exec *x, struct session *s, const struct command *c,
                              const struct exec_input *in)
{
    if (s->pending > 0) {
        session_stop(x, s, STOP_EMPTY);
        return EXEC_STOP;
    }
    struct request *r = request_take(x, s, c);
    struct session *owner = owner_of(s);
    struct sub_op *op = mem_zalloc(sizeof(*op));
    op->request = r;
    r->silent = false; /* CLIENT REPLY OFF does not concern what is pushed */
    list_append(&x->sub_ops, &op->link);
    for (size_t i = 1; i < in->argc && owner != NULL; i++) {
        if (ends(c)) {
            unsubscribe(x, owner, op, in->argv[i]);
        } else {
            subscribe(x, owner, op, in->argv[i]);
        }
    }
    if (in->argc == 1 && owner != NULL) {
        unsubscribe_all(x, owner, op);
    }
    if (owner != NULL && x->port.session_class != NULL) {
        x->port.session_class(x->port.front, owner);
    }
    if (is_settled(x, op)) {
        op_end(x, op);
    }
    return EXEC_TAKEN;
}

/* --- messages --- */

/* An element of a push: the bulk string at *at. */
static bool take_bulk(struct slice in, size_t *at, struct slice *out)
{
    int64_t len;
    const char *eol = *at < in.len ? memchr(in.ptr + *at, '\r', in.len - *at) : NULL;
    if (eol == NULL || in.ptr[*at] != '$' ||
        !num_parse_i64(slice_of(in.ptr + *at + 1, (size_t)(eol - in.ptr) - *at - 1), &len) ||
        len < 0 || (size_t)len > in.len - (size_t)(eol - in.ptr) - 2) {
        return false;
    }
    *out = slice_of(eol + 2, (size_t)len);
    *at = (size_t)(eol - in.ptr) + 2 + (size_t)len + 2;
    return true;
}

static void hear(struct exec *x, struct session *s, struct chunk *chunk, struct slice push)
{
    size_t before = s->out->bytes;
    if (s->closing) {
        return;
    }
    if (s->proto == 2) {
        outbuf_append(s->out, "*", 1);
        outbuf_append_from(s->out, chunk, push.ptr + 1, push.len - 1);
    } else {
        outbuf_append_from(s->out, chunk, push.ptr, push.len);
    }
    session_pushed(x, s, before);
}

static void deliver(struct exec *x, enum topic_kind kind, struct slice name, struct chunk *chunk,
                    struct slice push)
{
    const struct topic *t = find_topic(x, kind, name);
    x->counters.messages_heard++;
    if (t == NULL) {
        return;
    }
    LIST_FOREACH(it, &t->subs) {
        struct sub *sub = container_of(it, struct sub, of_topic);
        if (sub->live) {
            x->counters.messages_sent++;
            hear(x, sub->session, chunk, push);
        }
    }
}

void ear_pushed(struct exec *x, struct lane *l, struct chunk *chunk, const char *ptr, size_t len)
{
    struct slice push = slice_of(ptr, len), what, name, message;
    size_t at = 4; /* behind ">3\r\n" or ">4\r\n" */
    (void)l;
    if (!take_bulk(push, &at, &what) || !take_bulk(push, &at, &name)) {
        return;
    }
    if (slice_eq(what, SLICE("message"))) {
        deliver(x, TOPIC_CHANNEL, name, chunk, push);
    } else if (slice_eq(what, SLICE("pmessage"))) {
        deliver(x, TOPIC_PATTERN, name, chunk, push);
    } else if (slice_eq(what, SLICE("smessage"))) {
        deliver(x, TOPIC_SHARD, name, chunk, push);
    } else if (slice_eq(what, SLICE("forward")) && take_bulk(push, &at, &message)) {
        forward(x, name, message);
    }
}

/* --- ears --- */

static bool wants_ear(const struct exec *x, const struct target *t)
{
    return x->settings.ears && t->node != NODE_NONE && t->alive && x->map != NULL &&
           x->map->assigned;
}

void ears_tick(struct exec *x)
{
    bool opened = false;
    if (!x->settings.ears) {
        return;
    }
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (wants_ear(x, t) && ear_of(t) == NULL) {
            opened |= lane_ready(x, lane_of(x, t, LANE_EAR, 3));
        }
    }
    if (opened) {
        update_all(x);
    }
    exec_wake(x, x->now_us + EAR_TICK_US);
}

void ears_map_changed(struct exec *x)
{
    ears_tick(x);
    update_all(x);
}

void ear_lost(struct exec *x, struct lane *l)
{
    HMAP_FOREACH(n, &x->topics) {
        struct topic *t = container_of(n, struct topic, node);
        if (told_of(t, l) != NULL) {
            set_told(t, l, 0);
        }
    }
    check_ops(x);
    if (x->settings.ears) {
        exec_wake(x, MAX(l->target->retry_at_us, x->now_us + 1000));
    }
}

/* --- what a node hands over to be published where its channel lives --- */

static void pump(struct exec *x)
{
    struct publisher *p = x->publisher;
    if (p->pumping) {
        return;
    }
    p->pumping = true;
    while (!list_empty(&p->queue)) {
        struct forwarded *f = container_of(p->queue.next, struct forwarded, link);
        const struct slice argv[3] = {SLICE("PUBLISH"), slice_of(f->bytes, f->channel_len),
                                      slice_of(f->bytes + f->channel_len, f->message_len)};
        const struct exec_input in = {.argv = argv, .argc = 3};
        if (exec_command(x, &p->session, &in) == EXEC_STOP) {
            break;
        }
        list_remove(&f->link);
        p->n--;
        mem_free(f);
    }
    p->pumping = false;
}

static void publisher_moved(struct exec *x, struct session *s)
{
    (void)s;
    outbuf_consume(&x->publisher->out, x->publisher->out.bytes);
    pump(x);
}

void forward(struct exec *x, struct slice channel, struct slice message)
{
    struct publisher *p = x->publisher;
    if (p->n >= FORWARDS_MAX) {
        x->counters.forwards_dropped++;
        return;
    }
    struct forwarded *f = mem_alloc(sizeof(*f) + channel.len + message.len);
    f->channel_len = channel.len;
    f->message_len = message.len;
    memcpy(f->bytes, channel.ptr, channel.len);
    memcpy(f->bytes + channel.len, message.ptr, message.len);
    list_append(&p->queue, &f->link);
    p->n++;
    pump(x);
}

/* --- life --- */

void pubsub_init(struct exec *x)
{
    struct publisher *p = x->publisher = mem_zalloc(sizeof(*p));
    list_init(&x->sub_ops);
    list_init(&p->queue);
    session_init(&p->session, 0, &p->out);
    p->session.inner = true;
    p->session.moved = publisher_moved;
    p->session.authenticated = true;
    p->session.trusted = true;
}

void pubsub_fini(struct exec *x)
{
    struct publisher *p = x->publisher;
    INVARIANT(list_empty(&x->sub_ops));
    LIST_FOREACH_SAFE(it, &p->queue) {
        mem_free(container_of(it, struct forwarded, link));
    }
    session_fini(&p->session);
    outbuf_fini(&p->out);
    mem_free(p);
    hmap_fini(&x->topics);
}

void publisher_gone(struct exec *x)
{
    exec_session_gone(x, &x->publisher->session);
}
