// SPDX-License-Identifier: BSD-3-Clause
/* The map as bytes. Integers are little-endian base 128, texts are a length and bytes.
 *
 *   "SHOALMAP" format=3 epoch cluster-id(40) assigned why
 *   nodes:  count, then id(40) host port zone weight incarnation state draining
 *   shards: count, then primary+1 term primary-term version, members: count, then node
 *           since and state|in_sync<<2|stale<<3
 *   crc64 of all that, 8 bytes */
#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/model/map_priv.h"

#define MAGIC     "SHOALMAP"
#define MAGIC_LEN 8
#define FORMAT    3
#define CRC_LEN   8
/* Fewest bytes that a node and a shard take: what bounds a claimed count. */
#define NODE_BYTES_MIN  (NODE_ID_LEN + 7)
#define SHARD_BYTES_MIN 5

static void put_int(struct str *to, uint64_t v)
{
    while (v >= 0x80) {
        str_append_char(to, (char)(unsigned char)(v | 0x80));
        v >>= 7;
    }
    str_append_char(to, (char)(unsigned char)v);
}

static void put_text(struct str *to, const char *text)
{
    size_t len = strlen(text);
    put_int(to, len);
    str_append(to, text, len);
}

static void put_shard(struct str *to, const struct map_shard *s)
{
    put_int(to, (uint64_t)(s->primary + 1));
    put_int(to, s->term);
    put_int(to, s->primary_term);
    put_int(to, s->version);
    put_int(to, (uint64_t)s->n_members);
    for (int j = 0; j < s->n_members; j++) {
        put_int(to, (uint64_t)s->members[j].node);
        put_int(to, s->members[j].since);
        put_int(to, (uint64_t)s->members[j].state | (uint64_t)s->members[j].in_sync << 2 |
                        (uint64_t)s->members[j].stale << 3);
    }
}

void map_encode(const struct map *m, struct str *to)
{
    CHECK_OBJ(m, MAP_MAGIC);
    size_t start = to->len;
    str_append(to, MAGIC, MAGIC_LEN);
    put_int(to, FORMAT);
    put_int(to, m->epoch);
    str_append(to, m->cluster_id, NODE_ID_LEN);
    put_int(to, m->assigned);
    put_text(to, m->why);
    put_int(to, (uint64_t)m->n_nodes);
    for (int i = 0; i < m->n_nodes; i++) {
        const struct map_node *n = &m->nodes[i];
        str_append(to, n->id, NODE_ID_LEN);
        put_text(to, n->host);
        put_int(to, (uint64_t)n->port);
        put_text(to, n->zone);
        put_int(to, n->weight);
        put_int(to, n->incarnation);
        put_int(to, (uint64_t)n->state);
        put_int(to, n->draining);
    }
    put_int(to, (uint64_t)m->n_shards);
    for (int i = 0; i < m->n_shards; i++) {
        put_shard(to, &m->shards[i]);
    }
    uint64_t crc = crc64(0, to->ptr + start, to->len - start);
    for (int i = 0; i < CRC_LEN; i++) {
        str_append_char(to, (char)(unsigned char)(crc >> (8 * i)));
    }
}

/* Bytes being read; `bad` once something did not fit, and then everything reads as 0. */
struct reader {
    const unsigned char *at;
    size_t left;
    bool bad;
};

static uint64_t get_int(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && r->left > 0; shift += 7) {
        unsigned char b = *r->at++;
        r->left--;
        if (shift == 63 && b > 1) {
            break;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            if (v > max) {
                break;
            }
            return v;
        }
    }
    r->bad = true;
    r->left = 0;
    return 0;
}

static void get_bytes(struct reader *r, char *to, size_t len)
{
    if (r->left < len || memchr(r->at, '\0', len) != NULL) {
        r->bad = true;
        r->left = 0;
        return;
    }
    memcpy(to, r->at, len);
    to[len] = '\0';
    r->at += len;
    r->left -= len;
}

static void get_text(struct reader *r, char *to, size_t size)
{
    size_t len = (size_t)get_int(r, size - 1);
    if (len > 0) {
        get_bytes(r, to, len);
    }
}

static void get_node(struct reader *r, struct map_node *n)
{
    get_bytes(r, n->id, NODE_ID_LEN);
    get_text(r, n->host, sizeof(n->host));
    n->port = (int)get_int(r, 65535);
    get_text(r, n->zone, sizeof(n->zone));
    n->weight = (uint32_t)get_int(r, UINT32_MAX);
    n->incarnation = get_int(r, UINT64_MAX);
    n->state = (enum node_state)get_int(r, NODE_LEFT);
    n->draining = get_int(r, 1) != 0;
}

static void get_shard(struct reader *r, struct map_shard *s, int n_nodes)
{
    s->primary = (int)get_int(r, (uint64_t)n_nodes) - 1;
    s->term = get_int(r, UINT64_MAX);
    s->primary_term = get_int(r, UINT64_MAX);
    s->version = get_int(r, UINT64_MAX);
    s->n_members = (int)get_int(r, MEMBERS_MAX);
    for (int j = 0; j < s->n_members; j++) {
        s->members[j].node = (int)get_int(r, (uint64_t)MAX(n_nodes - 1, 0));
        s->members[j].since = get_int(r, UINT64_MAX);
        uint64_t bits = get_int(r, 15);
        if ((bits & 3) > REPLICA_FAILED) {
            r->bad = true;
            return;
        }
        s->members[j].state = (enum replica_state)(bits & 3);
        s->members[j].in_sync = (bits & 4) != 0;
        s->members[j].stale = (bits & 8) != 0;
    }
}

static struct map *decode_body(struct reader *r)
{
    char cluster_id[NODE_ID_LEN + 1] = "";
    char why[sizeof(((struct map *)NULL)->why)] = "";
    if (get_int(r, UINT64_MAX) != FORMAT) {
        return NULL;
    }
    uint64_t epoch = get_int(r, UINT64_MAX);
    get_bytes(r, cluster_id, NODE_ID_LEN);
    bool assigned = get_int(r, 1) != 0;
    get_text(r, why, sizeof(why));
    int n_nodes = (int)get_int(r, MIN(r->left / NODE_BYTES_MIN, NODES_MAX));
    if (r->bad) {
        return NULL;
    }
    struct map_node *nodes = mem_zalloc(sizeof(*nodes) * (size_t)MAX(n_nodes, 1));
    for (int i = 0; i < n_nodes && !r->bad; i++) {
        get_node(r, &nodes[i]);
    }
    int n_shards = (int)get_int(r, MIN(r->left / SHARD_BYTES_MIN, SLOTS));
    if (r->bad || n_shards == 0) {
        mem_free(nodes);
        return NULL;
    }
    struct map *m = map_alloc(n_shards, 0);
    mem_free(m->nodes);
    m->nodes = nodes;
    m->n_nodes = n_nodes;
    m->epoch = epoch;
    m->assigned = assigned;
    memcpy(m->cluster_id, cluster_id, sizeof(cluster_id));
    memcpy(m->why, why, sizeof(why));
    for (int i = 0; i < n_shards && !r->bad; i++) {
        get_shard(r, &m->shards[i], n_nodes);
    }
    return m;
}

struct map *map_decode(struct slice in)
{
    if (in.len < MAGIC_LEN + CRC_LEN || memcmp(in.ptr, MAGIC, MAGIC_LEN) != 0) {
        return NULL;
    }
    const unsigned char *bytes = (const unsigned char *)in.ptr;
    uint64_t crc = 0;
    for (int i = 0; i < CRC_LEN; i++) {
        crc |= (uint64_t)bytes[in.len - CRC_LEN + (size_t)i] << (8 * i);
    }
    if (crc != crc64(0, in.ptr, in.len - CRC_LEN)) {
        return NULL;
    }
    struct reader r = {.at = bytes + MAGIC_LEN, .left = in.len - MAGIC_LEN - CRC_LEN};
    struct map *m = decode_body(&r);
    if (m != NULL && (r.bad || r.left > 0 || map_check(m) != NULL)) {
        map_unref(&m);
    }
    return m;
}
