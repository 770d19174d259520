// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/stream_args.h"

#include "node/cmd/record.h"
#include "node/keyspace/notify.h"

#include "common/base/num.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdlib.h>

#define ID_ARG_MAX 127 /* longest text that is looked at */

/* ---- ids ---- */

/* What is no plain number may still be one to strtoull: leading zeros, blanks and '+'. */
static bool parse_part(const char *text, uint64_t *out)
{
    int64_t plain;
    if (num_parse_i64(slice_str(text), &plain)) {
        *out = (uint64_t)plain;
        return plain >= 0;
    }
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *text != '\0' && *end == '\0';
}

/* `any_seq`: NULL where "ms-*" is no id. */
static bool parse_id(struct slice v, uint64_t seq, bool strict, struct stream_id *out,
                     bool *any_seq)
{
    char text[ID_ARG_MAX + 1];
    if (v.len > ID_ARG_MAX) {
        return false;
    }
    memcpy(text, v.ptr, v.len);
    text[v.len] = '\0';
    bool lowest = strcmp(text, "-") == 0;
    if (lowest || strcmp(text, "+") == 0) {
        *out = lowest ? STREAM_ID_MIN : STREAM_ID_MAX;
        return !strict;
    }
    char *dash = strchr(text, '-');
    if (dash == NULL) {
        out->seq = seq;
        return parse_part(text, &out->ms);
    }
    *dash = '\0';
    if (any_seq != NULL && strcmp(dash + 1, "*") == 0) {
        *any_seq = true;
        out->seq = 0;
        return parse_part(text, &out->ms);
    }
    return parse_part(text, &out->ms) && parse_part(dash + 1, &out->seq);
}

static bool refuse_id(struct call *c)
{
    resp_error(&c->w, "ERR Invalid stream ID specified as stream command argument");
    return false;
}

bool arg_stream_id(struct call *c, size_t i, uint64_t seq, struct stream_id *out)
{
    return parse_id(c->argv[i], seq, false, out, NULL) || refuse_id(c);
}

bool arg_stream_id_strict(struct call *c, size_t i, uint64_t seq, struct stream_id *out)
{
    return parse_id(c->argv[i], seq, true, out, NULL) || refuse_id(c);
}

bool arg_stream_id_new(struct call *c, size_t i, struct stream_id *out, bool *seq_given)
{
    bool any_seq = false;
    bool right = parse_id(c->argv[i], 0, true, out, &any_seq);
    *seq_given = !any_seq;
    return right || refuse_id(c);
}

bool arg_is_stream_id(const struct call *c, size_t i, struct stream_id *out)
{
    return parse_id(c->argv[i], 0, true, out, NULL);
}

static bool parse_bound(struct call *c, size_t i, uint64_t seq, struct stream_id *out, bool *open)
{
    struct slice v = c->argv[i];
    *open = v.len > 1 && v.ptr[0] == '(';
    if (*open) {
        return parse_id(slice_of(v.ptr + 1, v.len - 1), seq, true, out, NULL) || refuse_id(c);
    }
    return arg_stream_id(c, i, seq, out);
}

bool arg_stream_start(struct call *c, size_t i, struct stream_id *out)
{
    bool open;
    if (!parse_bound(c, i, 0, out, &open)) {
        return false;
    }
    if (open && !stream_id_increment(out)) {
        resp_error(&c->w, "ERR invalid start ID for the interval");
        return false;
    }
    return true;
}

bool arg_stream_end(struct call *c, size_t i, struct stream_id *out)
{
    bool open;
    if (!parse_bound(c, i, UINT64_MAX, out, &open)) {
        return false;
    }
    if (open && !stream_id_decrement(out)) {
        resp_error(&c->w, "ERR invalid end ID for the interval");
        return false;
    }
    return true;
}

/* ---- groups ---- */

void stream_no_group(struct call *c, struct slice key, struct slice group)
{
    struct str text = {0};
    str_printf(&text, "NOGROUP No such key '%.*s' or consumer group '%.*s'", (int)key.len, key.ptr,
               (int)group.len, group.ptr);
    resp_error(&c->w, str_cstr(&text));
    str_fini(&text);
}

bool find_stream_group(struct call *c, size_t key, size_t group, struct object **o,
                       struct xstream_group **g)
{
    struct probe p = call_probe(c, key);
    *o = db_read(&c->db, &p, c->argv[key]);
    if (!check_type(c, *o, OBJECT_STREAM)) {
        return false;
    }
    *g = *o == NULL ? NULL : xstream_group_find(xstream_of(*o), c->argv[group]);
    if (*g == NULL) {
        stream_no_group(c, c->argv[key], c->argv[group]);
        return false;
    }
    return true;
}

struct xstream_consumer *stream_add_consumer(struct call *c, struct xstream *s,
                                             struct xstream_group *g, struct slice key,
                                             struct slice name)
{
    struct xstream_consumer *added = xstream_consumer_add(s, g, name, c->now_ms);
    if (added != NULL) {
        c->changes++;
        notify(&c->db, NOTIFY_STREAM, "xgroup-createconsumer", key);
    }
    return added;
}

/* ---- replies ---- */

void reply_stream_id(struct resp_writer *w, struct stream_id id)
{
    char text[STREAM_ID_TEXT];
    resp_bulk(w, slice_of(text, stream_id_print(text, id)));
}

static inline void reply_value(struct resp_writer *w, const struct listpack_value *v)
{
    if (v->ptr != NULL) {
        resp_bulk(w, slice_of(v->ptr, v->len));
    } else {
        resp_bulk_int(w, v->number);
    }
}

void reply_stream_entry(struct resp_writer *w, struct xstream_iter *it)
{
    resp_array(w, 2);
    reply_stream_id(w, it->id);
    resp_array(w, 2 * it->n_fields);
    for (uint64_t i = it->n_fields; i > 0; i--) {
        struct listpack_value name;
        struct listpack_value value;
        xstream_iter_field(it, &name, &value);
        reply_value(w, &name);
        reply_value(w, &value);
    }
}

void reply_stream_range(struct resp_writer *w, const struct xstream *s, struct stream_id start,
                        struct stream_id end, uint64_t count, bool back)
{
    struct xstream_iter it;
    xstream_iter_init(&it, s, start, end, back);
    uint64_t n = xstream_iter_count(&it, count == 0 ? UINT64_MAX : count);
    resp_array(w, n);
    while (n-- > 0 && xstream_iter_next(&it)) {
        reply_stream_entry(w, &it);
    }
}

bool reply_stream_one(struct resp_writer *w, const struct xstream *s, struct stream_id id)
{
    struct xstream_iter it;
    xstream_iter_init(&it, s, id, id, false);
    if (!xstream_iter_next(&it)) {
        return false;
    }
    reply_stream_entry(w, &it);
    return true;
}

void stream_say_pending(struct call *c, struct slice key, const struct xstream_group *g,
                        struct stream_id id, const struct xstream_pending *p)
{
    if (!record_followed(c)) {
        return;
    }
    char id_text[STREAM_ID_TEXT];
    char last[STREAM_ID_TEXT];
    char time[NUM_I64_MAX_LEN];
    char count[NUM_I64_MAX_LEN];
    struct slice words[14] = {SLICE("XCLAIM"), key, g->name, p->consumer->name, SLICE("0")};
    words[5] = slice_of(id_text, stream_id_print(id_text, id));
    words[6] = SLICE("TIME");
    words[7] = slice_of(time, num_print_i64(time, p->delivered_ms));
    words[8] = SLICE("RETRYCOUNT");
    words[9] = slice_of(count, num_print_u64(count, p->deliveries));
    words[10] = SLICE("FORCE");
    words[11] = SLICE("JUSTID");
    words[12] = SLICE("LASTID");
    words[13] = slice_of(last, stream_id_print(last, g->last_id));
    record_say_feed(c, words, ARRAY_LEN(words));
}

void stream_say_group(struct call *c, struct slice key, const struct xstream_group *g)
{
    if (!record_followed(c)) {
        return;
    }
    char last[STREAM_ID_TEXT];
    char read[NUM_I64_MAX_LEN];
    struct slice words[7] = {SLICE("XGROUP"), SLICE("SETID"), key, g->name};
    words[4] = slice_of(last, stream_id_print(last, g->last_id));
    words[5] = SLICE("ENTRIESREAD");
    words[6] = slice_of(read, num_print_i64(read, g->entries_read));
    record_say_feed(c, words, ARRAY_LEN(words));
}
