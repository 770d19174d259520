// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/channels.h"

#include "common/base/glob.h"
#include "common/base/hash.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"

/* A name that someone is subscribed to. */
struct channel {
    struct hmap_node node;
    struct list link; /* of its kind, in the order of their coming */
    struct list subscriptions;
    uint64_t weight;
    size_t len;
    char bytes[];
};

struct subscription {
    struct hmap_node node; /* by channel and subscriber */
    struct list of_subscriber;
    struct list of_channel;
    struct subscriber *subscriber;
    struct channel *channel;
    uint32_t weight;
};

struct channels {
    struct hmap names[SUBJECTS];
    struct list order[SUBJECTS];
    struct hmap subscriptions;
    struct channel *ended; /* the last one unsubscribed from, if nobody else is: its name is kept */
};

struct channels *channels_new(void)
{
    struct channels *ch = mem_zalloc(sizeof(*ch));
    for (int i = 0; i < SUBJECTS; i++) {
        list_init(&ch->order[i]);
    }
    return ch;
}

void channels_free(struct channels **chp)
{
    struct channels *ch = *chp;
    *chp = NULL;
    if (ch == NULL) {
        return;
    }
    for (int i = 0; i < SUBJECTS; i++) {
        INVARIANT(ch->names[i].count == 0);
        hmap_fini(&ch->names[i]);
    }
    hmap_fini(&ch->subscriptions);
    mem_free(ch->ended);
    mem_free(ch);
}

void subscriber_init(struct subscriber *s)
{
    *s = (struct subscriber){0};
    for (int i = 0; i < SUBJECTS; i++) {
        list_init(&s->subscriptions[i]);
    }
}

static struct slice name_of(const struct channel *c)
{
    return slice_of(c->bytes, c->len);
}

static uint64_t hash_of(struct slice name)
{
    return hash_bytes(name.ptr, name.len, 0x5075625375624321ULL);
}

static struct channel *find(const struct channels *ch, enum subject what, struct slice name)
{
    for (struct hmap_node *n = hmap_first(&ch->names[what], hash_of(name)); n != NULL;
         n = hmap_same(n)) {
        struct channel *c = container_of(n, struct channel, node);
        if (slice_eq(name_of(c), name)) {
            return c;
        }
    }
    return NULL;
}

static uint64_t hash_of_pair(const struct channel *c, const struct subscriber *s)
{
    return ((uint64_t)(uintptr_t)c * 0x9E3779B97F4A7C15ULL) ^
           ((uint64_t)(uintptr_t)s * 0xC2B2AE3D27D4EB4FULL);
}

static struct subscription *find_pair(const struct channels *ch, const struct channel *c,
                                      const struct subscriber *s)
{
    for (struct hmap_node *n = hmap_first(&ch->subscriptions, hash_of_pair(c, s)); n != NULL;
         n = hmap_same(n)) {
        struct subscription *p = container_of(n, struct subscription, node);
        if (p->channel == c && p->subscriber == s) {
            return p;
        }
    }
    return NULL;
}

static struct channel *make(struct channels *ch, enum subject what, struct slice name)
{
    struct channel *c = mem_alloc(sizeof(*c) + name.len);
    *c = (struct channel){.len = name.len};
    memcpy(c->bytes, name.ptr, name.len);
    list_init(&c->subscriptions);
    list_append(&ch->order[what], &c->link);
    hmap_insert(&ch->names[what], &c->node, hash_of(name));
    return c;
}

bool channels_subscribe(struct channels *ch, struct subscriber *s, enum subject what,
                        struct slice name, uint32_t weight)
{
    INVARIANT(weight > 0);
    struct channel *c = find(ch, what, name);
    struct subscription *p = c == NULL ? NULL : find_pair(ch, c, s);
    if (p != NULL) {
        c->weight += weight;
        c->weight -= p->weight;
        p->weight = weight;
        return false;
    }
    c = c == NULL ? make(ch, what, name) : c;
    p = mem_alloc(sizeof(*p));
    *p = (struct subscription){.subscriber = s, .channel = c, .weight = weight};
    c->weight += weight;
    list_append(&c->subscriptions, &p->of_channel);
    list_append(&s->subscriptions[what], &p->of_subscriber);
    hmap_insert(&ch->subscriptions, &p->node, hash_of_pair(c, s));
    s->count[what]++;
    return true;
}

static void end(struct channels *ch, enum subject what, struct subscription *p)
{
    struct channel *c = p->channel;
    hmap_remove(&ch->subscriptions, &p->node);
    list_remove(&p->of_channel);
    list_remove(&p->of_subscriber);
    p->subscriber->count[what]--;
    c->weight -= p->weight;
    mem_free(p);
    if (list_empty(&c->subscriptions)) {
        hmap_remove(&ch->names[what], &c->node);
        list_remove(&c->link);
        mem_free(ch->ended);
        ch->ended = c;
    }
}

bool channels_unsubscribe(struct channels *ch, struct subscriber *s, enum subject what,
                          struct slice name)
{
    const struct channel *c = find(ch, what, name);
    struct subscription *p = c == NULL ? NULL : find_pair(ch, c, s);
    if (p != NULL) {
        end(ch, what, p);
    }
    return p != NULL;
}

bool channels_unsubscribe_one(struct channels *ch, struct subscriber *s, enum subject what,
                              struct slice *name)
{
    if (list_empty(&s->subscriptions[what])) {
        return false;
    }
    struct subscription *p =
        container_of(s->subscriptions[what].next, struct subscription, of_subscriber);
    *name = name_of(p->channel);
    end(ch, what, p);
    return true;
}

void channels_unsubscribe_all(struct channels *ch, struct subscriber *s)
{
    struct slice name;
    for (int i = 0; i < SUBJECTS; i++) {
        while (channels_unsubscribe_one(ch, s, (enum subject)i, &name)) {
        }
    }
}

void channels_of(const struct subscriber *s, enum subject what, channel_fn *fn, void *arg)
{
    LIST_FOREACH_SAFE(it, &s->subscriptions[what]) {
        const struct subscription *p = container_of(it, struct subscription, of_subscriber);
        fn(arg, p->subscriber, name_of(p->channel));
    }
}

static uint64_t tell(const struct channel *c, const struct slice *pattern, channel_hear_fn *fn,
                     void *arg)
{
    LIST_FOREACH(it, &c->subscriptions) {
        fn(arg, container_of(it, struct subscription, of_channel)->subscriber, pattern);
    }
    return c->weight;
}

uint64_t channels_publish(struct channels *ch, struct slice channel, bool shard,
                          channel_hear_fn *fn, void *arg)
{
    const struct channel *c = find(ch, shard ? SUBJECT_SHARD : SUBJECT_CHANNEL, channel);
    uint64_t n = c == NULL ? 0 : tell(c, NULL, fn, arg);
    if (shard) {
        return n;
    }
    LIST_FOREACH(it, &ch->order[SUBJECT_PATTERN]) {
        const struct channel *p = container_of(it, struct channel, link);
        struct slice pattern = name_of(p);
        if (glob_match(pattern, channel, false)) {
            n += tell(p, &pattern, fn, arg);
        }
    }
    return n;
}

size_t channels_count(const struct channels *ch, enum subject what)
{
    return ch->names[what].count;
}

uint64_t channels_weight(const struct channels *ch, enum subject what, struct slice name)
{
    const struct channel *c = find(ch, what, name);
    return c == NULL ? 0 : c->weight;
}

void channels_each(const struct channels *ch, enum subject what, channel_name_fn *fn, void *arg)
{
    LIST_FOREACH(it, &ch->order[what]) {
        fn(arg, name_of(container_of(it, struct channel, link)));
    }
}
