// SPDX-License-Identifier: BSD-3-Clause
#include "node/log/history.h"

#include "common/base/bytes.h"

uint64_t history_term(const struct history *h)
{
    return h->version == 0 ? 0 : h->items[h->n - 1].term;
}

uint64_t history_term_at(const struct history *h, uint64_t version)
{
    if (version > h->version) {
        return 0;
    }
    for (uint32_t i = h->n; i-- > 0;) {
        if (h->items[i].first <= version) {
            return h->items[i].term;
        }
    }
    return 0;
}

bool history_has(const struct history *h, uint64_t term, uint64_t version)
{
    if (version == 0) {
        return term == 0;
    }
    return term != 0 && history_term_at(h, version) == term;
}

void history_add_term(struct history *h, uint64_t term)
{
    INVARIANT(term != 0);
    INVARIANT(h->n == 0 || h->items[h->n - 1].term < term);
    if (h->n == HISTORY_MAX) {
        memmove(&h->items[0], &h->items[1], sizeof(h->items[0]) * (HISTORY_MAX - 1));
        h->n--;
    }
    h->items[h->n++] = (struct history_item){.term = term, .first = h->version + 1};
}

void history_encode(const struct history *h, struct str *to)
{
    char *at = str_reserve(to, 12 + (size_t)h->n * 16);
    put_le64(at, h->version);
    put_le32(at + 8, h->n);
    for (uint32_t i = 0; i < h->n; i++) {
        put_le64(at + 12 + (size_t)i * 16, h->items[i].term);
        put_le64(at + 20 + (size_t)i * 16, h->items[i].first);
    }
    to->len += 12 + (size_t)h->n * 16;
}

bool history_decode(struct slice in, struct history *out)
{
    if (in.len < 12) {
        return false;
    }
    *out = (struct history){.version = get_le64(in.ptr), .n = get_le32(in.ptr + 8)};
    if (out->n > HISTORY_MAX || in.len != 12 + (size_t)out->n * 16 ||
        (out->n == 0) != (out->version == 0)) {
        return false;
    }
    for (uint32_t i = 0; i < out->n; i++) {
        struct history_item *it = &out->items[i];
        it->term = get_le64(in.ptr + 12 + (size_t)i * 16);
        it->first = get_le64(in.ptr + 20 + (size_t)i * 16);
        if (it->term == 0 || it->first == 0 || it->first > out->version ||
            (i > 0 && (it->term <= it[-1].term || it->first <= it[-1].first))) {
            return false;
        }
    }
    return true;
}
