// SPDX-License-Identifier: BSD-3-Clause
/* Replication while a slow script runs. The script has the data for itself, and the shards that it
 * writes must stay as they are: so of what other nodes say only acknowledgements and leases count
 * at once, and this node goes on to tell what was in its logs before. So replies that wait for a
 * commit leave, leases stand, and who reads from replicas of other nodes' shards notices nothing.
 * All else is kept in its order until the turn's end behind the script. */
#include "node/serve/durable.h"
#include "node/serve/replicate_priv.h"

#include "common/base/mem.h"

#define KEPT_MAX ((size_t)256 << 20) /* a link that says more is cut */

struct kept {
    struct list link;
    int peer;
    bool down; /* the link ended, and no frame */
    size_t len;
    char bytes[];
};

static void keep(struct replication *r, int peer, bool down, struct slice bytes)
{
    struct kept *k = mem_alloc(sizeof(*k) + bytes.len);
    k->peer = peer;
    k->down = down;
    k->len = bytes.len;
    memcpy(k->bytes, bytes.ptr, bytes.len);
    r->kept_bytes += bytes.len;
    list_append(&r->kept, &k->link);
}

bool replicate_keeps(struct server *s, struct link *l, struct slice frame)
{
    struct replication *r = s->repl;
    if (LIKELY(!s->busy && list_empty(&r->kept))) {
        return false;
    }
    if (s->busy && frame.len > 0 && repl_is_meanwhile((enum repl_kind)frame.ptr[0])) {
        return false;
    }
    if (r->kept_bytes + frame.len > KEPT_MAX) {
        link_cut(l, "too much came while a script ran");
        return true;
    }
    keep(r, link_node(l), false, frame);
    return true;
}

bool replicate_keeps_end(struct server *s, int peer)
{
    struct replication *r = s->repl;
    if (LIKELY(!s->busy && list_empty(&r->kept))) {
        return false;
    }
    keep(r, peer, true, SLICE(""));
    return true;
}

static void take(struct server *s, const struct kept *k)
{
    struct replication *r = s->repl;
    struct slice frame = slice_of(k->bytes, k->len);
    struct link *l = k->peer < r->n_links ? r->links[k->peer] : NULL;
    if (k->down) {
        repl_peer_down(r->core, k->peer, replicate_now(r));
    } else if (!replicate_frame(s, l, k->peer, frame) && l != NULL) {
        link_cut(l, "a frame is not understood");
    }
}

void replicate_catch_up(struct server *s)
{
    struct replication *r = s->repl;
    if (r == NULL || LIKELY(list_empty(&r->kept))) {
        return;
    }
    r->batch++;
    LIST_FOREACH_SAFE(it, &r->kept) {
        struct kept *k = container_of(it, struct kept, link);
        take(s, k);
        list_remove(&k->link);
        mem_free(k);
    }
    r->kept_bytes = 0;
}

void replicate_forget_kept(struct replication *r)
{
    LIST_FOREACH_SAFE(it, &r->kept) {
        struct kept *k = container_of(it, struct kept, link);
        list_remove(&k->link);
        mem_free(k);
    }
}

void replicate_meanwhile_begin(struct server *s)
{
    if (s->links != NULL) {
        links_meanwhile(s->links, true);
    }
}

void replicate_meanwhile(struct server *s)
{
    if (s->repl == NULL) {
        return;
    }
    durable_meanwhile(s);
    repl_meanwhile(s->repl->core, replicate_now(s->repl));
    if (s->links != NULL) {
        links_flush(s->links);
    }
}

void replicate_meanwhile_end(struct server *s)
{
    if (s->links != NULL) {
        links_meanwhile(s->links, false);
    }
}
