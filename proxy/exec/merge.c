// SPDX-License-Identifier: BSD-3-Clause
/* Many answers become one, by the response policies of the command table. */
#include "proxy/exec/exec_priv.h"

#include "common/base/num.h"

static const struct part *first_error(const struct gather *g)
{
    for (uint32_t i = 0; i < g->n_parts; i++) {
        if (!g->parts[i]->replaced && *g->parts[i]->reply == '-') {
            return g->parts[i];
        }
    }
    return NULL;
}

static const struct part *first_success(const struct gather *g)
{
    for (uint32_t i = 0; i < g->n_parts; i++) {
        if (!g->parts[i]->replaced && *g->parts[i]->reply != '-') {
            return g->parts[i];
        }
    }
    return NULL;
}

static void put_part(struct resp_writer *w, const struct part *p)
{
    outbuf_append_from(w->out, p->reply_chunk, p->reply, p->reply_len);
}

/* The number of the header line at `at` ("*3", ":17"); *end is behind the line. */
static int64_t header_number(const char *at, size_t len, size_t *end)
{
    const char *eol = memchr(at, '\r', len);
    int64_t v = 0;
    INVARIANT(eol != NULL);
    *end = (size_t)(eol - at) + 2;
    if (!num_parse_i64(slice_of(at + 1, (size_t)(eol - at - 1)), &v)) {
        return 0;
    }
    return v;
}

static int64_t combine(enum response_policy how, int64_t a, int64_t b)
{
    switch (how) {
    case RESPONSE_AGG_SUM:
        return a + b;
    case RESPONSE_AGG_MIN:
        return MIN(a, b);
    case RESPONSE_AGG_MAX:
        return MAX(a, b);
    case RESPONSE_AGG_LOGICAL_AND:
        return a != 0 && b != 0;
    case RESPONSE_AGG_LOGICAL_OR:
        return a != 0 || b != 0;
    case RESPONSE_NONE:
    case RESPONSE_ONE_SUCCEEDED:
    case RESPONSE_ALL_SUCCEEDED:
    case RESPONSE_SPECIAL:
        break;
    }
    return a;
}

static void merge_numbers(const struct gather *g, enum response_policy how, struct resp_writer *w)
{
    int64_t v = 0;
    bool any = false;
    for (uint32_t i = 0; i < g->n_parts; i++) {
        const struct part *p = g->parts[i];
        size_t end;
        if (!p->replaced) {
            int64_t n = header_number(p->reply, p->reply_len, &end);
            v = any ? combine(how, v, n) : n;
            any = true;
        }
    }
    resp_int(w, v);
}

/* The number at `*pos`, which moves behind it. False: something else stands there. */
static bool next_number(const struct part *p, size_t *pos, int64_t *v)
{
    const char *at = p->reply + *pos;
    size_t left = p->reply_len - *pos;
    const char *eol = left > 0 && *at == ':' ? memchr(at, '\r', left) : NULL;
    if (eol == NULL || !num_parse_i64(slice_of(at + 1, (size_t)(eol - at - 1)), v)) {
        return false;
    }
    *pos += (size_t)(eol - at) + 2;
    return *pos <= p->reply_len;
}

/* Arrays of numbers, element by element (SCRIPT EXISTS). False: a node answered something else, and
 * nothing is written. */
static bool merge_number_arrays(const struct gather *g, enum response_policy how,
                                struct resp_writer *w)
{
    size_t end;
    bool good = true;
    int64_t n = MAX(header_number(g->parts[0]->reply, g->parts[0]->reply_len, &end), 0);
    /* An element takes four bytes at least: so many as it says are there or it is refused below. */
    int64_t *sums =
        mem_zalloc(((size_t)MIN(n, (int64_t)g->parts[0]->reply_len) + 1) * sizeof(*sums));
    for (uint32_t i = 0; i < g->n_parts && good; i++) {
        const struct part *p = g->parts[i];
        size_t pos;
        good = header_number(p->reply, p->reply_len, &pos) == n;
        for (int64_t k = 0; k < n && good; k++) {
            int64_t v;
            good = next_number(p, &pos, &v);
            if (good) {
                sums[k] = i == 0 ? v : combine(how, sums[k], v);
            }
        }
    }
    if (good) {
        resp_array(w, (size_t)n);
        for (int64_t k = 0; k < n; k++) {
            resp_int(w, sums[k]);
        }
    }
    mem_free(sums);
    return good;
}

/* All elements of all arrays (KEYS). */
static void concatenate(const struct gather *g, struct resp_writer *w)
{
    int64_t sum = 0;
    size_t end;
    char type = *g->parts[0]->reply;
    for (uint32_t i = 0; i < g->n_parts; i++) {
        sum += MAX(header_number(g->parts[i]->reply, g->parts[i]->reply_len, &end), 0);
    }
    if (type == '~') {
        resp_set(w, (size_t)sum);
    } else if (type == '%') {
        resp_map(w, (size_t)sum);
    } else {
        resp_array(w, (size_t)sum);
    }
    for (uint32_t i = 0; i < g->n_parts; i++) {
        const struct part *p = g->parts[i];
        (void)header_number(p->reply, p->reply_len, &end);
        if (p->reply_len > end) {
            outbuf_append_from(w->out, p->reply_chunk, p->reply + end, p->reply_len - end);
        }
    }
}

static bool all_of_type(const struct gather *g, const char *types)
{
    for (uint32_t i = 0; i < g->n_parts; i++) {
        if (!g->parts[i]->replaced && strchr(types, *g->parts[i]->reply) == NULL) {
            return false;
        }
    }
    return true;
}

void merge_parts(struct request *r, struct resp_writer *w)
{
    struct gather *g = r->gather;
    const struct part *error = first_error(g);
    const struct part *good = first_success(g);
    enum response_policy how = (enum response_policy)g->merge;
    if (g->n_parts == 0) {
        resp_error(w, ERR_CLUSTERDOWN);
    } else if (how == RESPONSE_ONE_SUCCEEDED) {
        put_part(w, good != NULL ? good : error);
    } else if (error != NULL) {
        put_part(w, error);
    } else if (g->n_parts == 1 || how == RESPONSE_ALL_SUCCEEDED || how == RESPONSE_SPECIAL) {
        put_part(w, good);
    } else if (how == RESPONSE_NONE) {
        if (all_of_type(g, "*~%")) {
            concatenate(g, w);
        } else {
            put_part(w, good);
        }
    } else if (all_of_type(g, ":")) {
        merge_numbers(g, how, w);
    } else if (!all_of_type(g, "*") || !merge_number_arrays(g, how, w)) {
        put_part(w, good);
    }
}

/* The next element of each part's array, in the order of the keys (MGET). */
void merge_keys(struct request *r, struct resp_writer *w)
{
    struct gather *g = r->gather;
    const struct part *error = first_error(g);
    if (error != NULL) {
        put_part(w, error);
        return;
    }
    size_t *pos = mem_alloc(g->n_parts * sizeof(*pos));
    for (uint32_t i = 0; i < g->n_parts; i++) {
        if (!g->parts[i]->replaced) {
            (void)header_number(g->parts[i]->reply, g->parts[i]->reply_len, &pos[i]);
        }
    }
    struct resp_skip skip;
    resp_skip_init(&skip);
    resp_array(w, g->n_keys);
    for (uint32_t k = 0; k < g->n_keys; k++) {
        const struct part *p = g->parts[g->key_part[k]];
        size_t *at = &pos[g->key_part[k]];
        size_t end = 0;
        if (resp_skip(&skip, slice_of(p->reply + *at, p->reply_len - *at), &end) != SKIP_OK) {
            resp_nil(w); /* a node that answered fewer than asked */
            resp_skip_init(&skip);
            continue;
        }
        outbuf_append_from(w->out, p->reply_chunk, p->reply + *at, end);
        *at += end;
    }
    mem_free(pos);
}
