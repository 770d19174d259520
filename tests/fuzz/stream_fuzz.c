// SPDX-License-Identifier: BSD-3-Clause
/* Stream ids. The first byte says what the rest is: any text as an id, which is refused with one
 * error or prints as what means the same; or steps, each of two bytes, that change a tree of ids or
 * a stream, beside an array that says what must be in it. */
#include "node/cmd/stream_args.h"
#include "node/types/id_tree.h"
#include "node/types/xstream.h"

#include "common/base/mem.h"
#include "common/resp/skip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 600 };

static const uint64_t parts[] = {0, 1, 2, 3, 127, 4096, INT64_MAX, UINT64_MAX - 1, UINT64_MAX};

static struct stream_id id_of(uint8_t choice)
{
    return (struct stream_id){parts[choice % ARRAY_LEN(parts)],
                              parts[choice / ARRAY_LEN(parts) % ARRAY_LEN(parts)]};
}

/* ---- text ---- */

/* Nothing was written where `right`, and one error where not. */
static void check_error(struct outbuf *out, bool right)
{
    INVARIANT((out->bytes == 0) == right);
    if (!right) {
        struct iovec iov;
        struct resp_skip skip;
        size_t end;
        INVARIANT(outbuf_iovec(out, &iov, 1) == 1);
        resp_skip_init(&skip);
        INVARIANT(*(char *)iov.iov_base == '-');
        INVARIANT(resp_skip(&skip, slice_of(iov.iov_base, iov.iov_len), &end) == SKIP_OK);
        INVARIANT(end == out->bytes);
        outbuf_consume(out, end);
    }
}

static void read_text(struct slice text)
{
    struct outbuf out = {0};
    struct slice argv[2] = {text, {0}};
    struct call c = {.argv = argv, .argc = 2, .w = {.out = &out, .proto = 2}};
    struct stream_id id;
    struct stream_id other;
    bool seq_given;
    bool strict = arg_stream_id_strict(&c, 0, 7, &id);
    check_error(&out, strict);
    bool any = arg_stream_id(&c, 0, 7, &other);
    check_error(&out, any);
    INVARIANT(any || !strict);
    INVARIANT(!strict || stream_id_equal(id, other));
    INVARIANT(arg_is_stream_id(&c, 0, &other) == strict);
    any = arg_stream_id_new(&c, 0, &other, &seq_given);
    check_error(&out, any);
    INVARIANT(any || !strict);
    INVARIANT(any == strict || !seq_given);
    any = arg_stream_end(&c, 0, &other);
    check_error(&out, any);
    any = arg_stream_start(&c, 0, &other);
    check_error(&out, any);
    if (strict) {
        char printed[STREAM_ID_TEXT];
        argv[1] = slice_of(printed, stream_id_print(printed, id));
        INVARIANT(arg_stream_id_strict(&c, 1, 9, &other));
        INVARIANT(stream_id_equal(id, other));
        char stored[16];
        stream_id_store(stored, id);
        INVARIANT(stream_id_equal(id, stream_id_load(stored)));
    }
    outbuf_fini(&out);
}

/* ---- what must be there ---- */

struct ids {
    struct stream_id of[STEPS_MAX]; /* they rise */
    size_t n;
};

/* Where it is, or would be. */
static size_t ids_place(const struct ids *m, struct stream_id id)
{
    size_t at = 0;
    while (at < m->n && stream_id_less(m->of[at], id)) {
        at++;
    }
    return at;
}

static bool ids_at(const struct ids *m, size_t at, struct stream_id id)
{
    return at < m->n && stream_id_equal(m->of[at], id);
}

static void ids_put(struct ids *m, struct stream_id id)
{
    size_t at = ids_place(m, id);
    if (!ids_at(m, at, id)) {
        memmove(m->of + at + 1, m->of + at, (m->n - at) * sizeof(m->of[0]));
        m->of[at] = id;
        m->n++;
    }
}

static void ids_drop(struct ids *m, size_t at, size_t n)
{
    memmove(m->of + at, m->of + at + n, (m->n - at - n) * sizeof(m->of[0]));
    m->n -= n;
}

/* ---- the tree ---- */

static void check_tree(const struct id_tree *t, const struct ids *m, struct stream_id from)
{
    struct id_at at;
    size_t i = ids_place(m, from);
    INVARIANT(t->count == m->n);
    for (id_tree_seek(t, from, &at); at.valid; id_at_next(&at)) {
        INVARIANT(ids_at(m, i, at.id));
        INVARIANT(memcmp(at.value, &at.id.seq, sizeof(at.id.seq)) == 0);
        i++;
    }
    INVARIANT(i == m->n);
    i = ids_place(m, from);
    i += ids_at(m, i, from);
    for (id_tree_seek_back(t, from, &at); at.valid; id_at_prev(&at)) {
        INVARIANT(i > 0 && ids_at(m, i - 1, at.id));
        i--;
    }
    INVARIANT(i == 0);
}

static void put_in_tree(struct id_tree *t, struct ids *m, struct stream_id id, size_t *memory)
{
    bool was = ids_at(m, ids_place(m, id), id);
    bool is_new;
    memcpy(id_tree_put(t, id, &is_new, memory), &id.seq, sizeof(id.seq));
    INVARIANT(is_new == !was);
    ids_put(m, id);
}

static void change_tree(const uint8_t *step, size_t n)
{
    struct id_tree t = id_tree_empty(sizeof(uint64_t));
    struct ids m = {.n = 0};
    size_t memory = 0;
    struct stream_id next = {5, 0};
    for (size_t i = 0; i < n; i++, step += 2) {
        struct stream_id id = step[0] & 4 ? id_of(step[1]) : (struct stream_id){3, step[1]};
        bool was = ids_at(&m, ids_place(&m, id), id);
        INVARIANT((id_tree_find(&t, id) != NULL) == was);
        switch (step[0] % 4) {
        case 0:
            /* As most ids come: behind all others. */
            next.seq += 1 + step[1] % 3;
            put_in_tree(&t, &m, next, &memory);
            break;
        case 1:
            put_in_tree(&t, &m, id, &memory);
            break;
        case 2:
            INVARIANT(id_tree_remove(&t, id, &memory) == was);
            ids_drop(&m, ids_place(&m, id), was);
            break;
        default:
            check_tree(&t, &m, id);
        }
    }
    check_tree(&t, &m, STREAM_ID_MIN);
    check_tree(&t, &m, STREAM_ID_MAX);
    id_tree_clear(&t, &memory);
    INVARIANT(memory == 0);
}

/* ---- streams ---- */

static void check_range(const struct xstream *s, const struct ids *m, struct stream_id start,
                        struct stream_id end, bool back)
{
    size_t first = ids_place(m, start);
    size_t last = ids_place(m, end);
    last += ids_at(m, last, end);
    size_t n = last > first ? last - first : 0;
    struct xstream_iter it;
    xstream_iter_init(&it, s, start, end, back);
    INVARIANT(xstream_iter_count(&it, UINT64_MAX) == n);
    for (size_t i = 0; i < n; i++) {
        struct listpack_value name;
        struct listpack_value value;
        INVARIANT(xstream_iter_next(&it));
        INVARIANT(stream_id_equal(it.id, m->of[back ? last - 1 - i : first + i]));
        for (uint64_t f = 0; f < it.n_fields; f++) {
            xstream_iter_field(&it, &name, &value);
            INVARIANT(name.len == 1 && value.ptr == NULL && value.number == (int64_t)f);
        }
    }
    INVARIANT(!xstream_iter_next(&it));
}

static void append(struct xstream *s, struct ids *m, uint8_t choice)
{
    static const struct slice fields[] = {{"a", 1}, {"0", 1}, {"b", 1},
                                          {"1", 1}, {"c", 1}, {"2", 1}};
    const struct xstream_limits limits = {.node_max_bytes = 100, .node_max_entries = 7};
    struct stream_id id = id_of(choice / 4);
    if (choice % 4 != 3 || !stream_id_less(s->last_id, id)) {
        id = s->last_id;
        if (!stream_id_increment(&id)) {
            return;
        }
    }
    xstream_append(s, id, fields, 1 + choice % 3, &limits);
    ids_put(m, id);
}

static void trim(struct xstream *s, struct ids *m, uint8_t choice, struct stream_id id)
{
    struct xstream_trim t = {.by = choice & 8 ? XSTREAM_TRIM_LENGTH : XSTREAM_TRIM_ID,
                             .whole_blocks = choice & 16,
                             .length = m->n - MIN(choice / 32U, m->n),
                             .id = id,
                             .limit = (choice & 48) == 48 ? 10 : 0};
    size_t wanted = t.by == XSTREAM_TRIM_ID ? ids_place(m, id) : m->n - t.length;
    uint64_t gone = xstream_trim(s, &t);
    INVARIANT(t.whole_blocks ? gone <= wanted : gone == wanted);
    ids_drop(m, 0, gone);
}

static void check_stream(const struct xstream *s, const struct ids *m, struct stream_id id)
{
    INVARIANT(s->length == m->n);
    INVARIANT(stream_id_equal(s->first_id, m->n > 0 ? m->of[0] : STREAM_ID_MIN));
    INVARIANT(stream_id_equal(xstream_top(s), m->n > 0 ? m->of[m->n - 1] : STREAM_ID_MIN));
    INVARIANT(xstream_has(s, id) == ids_at(m, ids_place(m, id), id));
}

static void change_stream(const uint8_t *step, size_t n)
{
    struct object *o = xstream_new(SLICE("key"), OBJECT_NO_EXPIRE);
    struct xstream *s = xstream_of(o);
    struct ids m = {.n = 0};
    for (size_t i = 0; i < n; i++, step += 2) {
        struct stream_id id = m.n > 0 && step[0] & 128 ? m.of[step[1] % m.n] : id_of(step[1]);
        switch (step[0] % 8) {
        case 0:
        case 1:
        case 2:
        case 3:
            append(s, &m, step[1]);
            break;
        case 4: {
            size_t at = ids_place(&m, id);
            bool was = ids_at(&m, at, id);
            INVARIANT(xstream_delete(s, id) == was);
            xstream_find_first(s);
            ids_drop(&m, at, was);
            break;
        }
        case 5:
            trim(s, &m, step[0], id);
            break;
        case 6:
            if (stream_id_less(s->last_id, id)) {
                xstream_set_last_id(s, id);
            }
            break;
        default:
            check_range(s, &m, id, id_of((uint8_t)(step[0] / 8 * step[1])), step[0] & 8);
        }
        check_stream(s, &m, id);
    }
    check_range(s, &m, STREAM_ID_MIN, STREAM_ID_MAX, false);
    check_range(s, &m, STREAM_ID_MIN, STREAM_ID_MAX, true);
    object_free(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t steps = MIN((size - 1) / 2, (size_t)STEPS_MAX);
    switch (data[0] % 3) {
    case 0:
        read_text(slice_of((const char *)data + 1, size - 1));
        break;
    case 1:
        change_tree(data + 1, steps);
        break;
    default:
        change_stream(data + 1, steps);
    }
    return 0;
}
