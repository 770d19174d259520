// SPDX-License-Identifier: BSD-3-Clause
#include "common/wire/wire.h"

#include "common/base/mem.h"
#include "common/base/num.h"

enum field_type { FIELD_U64, FIELD_TEXT, FIELD_SHARDS, FIELD_CHANGES, FIELD_COPIES, FIELD_BLOB };

struct field {
    enum field_type type;
    const char *name;
    size_t offset; /* in struct wire_message */
    size_t size;   /* TEXT: of the array */
};

struct layout {
    const char *name;
    const struct field *fields;
    size_t count;
};

#define AT(name, field)         offsetof(struct wire_message, name.field)
#define BEGIN(NAME, name)       static const struct field fields_##name[] = {
#define U64(name, field)        {FIELD_U64, #field, AT(name, field), 0},
#define TEXT(name, field, size) {FIELD_TEXT, #field, AT(name, field), size},
#define SHARDS(name, field)     {FIELD_SHARDS, #field, AT(name, field), 0},
#define CHANGES(name, field)    {FIELD_CHANGES, #field, AT(name, field), 0},
#define COPIES(name, field)     {FIELD_COPIES, #field, AT(name, field), 0},
#define BLOB(name, field)       {FIELD_BLOB, #field, AT(name, field), 0},
#define END(name)                                                                                  \
    }                                                                                              \
    ;                                                                                              \
    _Static_assert(ARRAY_LEN(fields_##name) <= WIRE_FIELDS_MAX, "more fields than a frame holds");
#include "common/wire/messages.def"
#undef BEGIN
#undef U64
#undef TEXT
#undef SHARDS
#undef CHANGES
#undef COPIES
#undef BLOB
#undef END

#define U64(name, field)
#define TEXT(name, field, size)
#define SHARDS(name, field)
#define CHANGES(name, field)
#define COPIES(name, field)
#define BLOB(name, field)
#define END(name)
static const struct layout layouts[WIRE_KINDS] = {
#define BEGIN(NAME, name) {#NAME, fields_##name, ARRAY_LEN(fields_##name)},
#include "common/wire/messages.def"
#undef BEGIN
};

static const void *const_field(const struct wire_message *m, const struct field *f)
{
    return (const char *)m + f->offset;
}

static void *field_of(struct wire_message *m, const struct field *f)
{
    return (char *)m + f->offset;
}

const char *wire_kind_name(enum wire_kind k)
{
    INVARIANT(k < WIRE_KINDS);
    return layouts[k].name;
}

const struct wire_shard *wire_shards_find(const struct wire_shards *l, int shard)
{
    size_t low = 0;
    size_t high = l->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (l->items[middle].shard < shard) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < l->count && l->items[low].shard == shard ? &l->items[low] : NULL;
}

/* Lists grow to a power of two. */
static void *grown(void *items, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0) {
        return items;
    }
    return mem_realloc(items, size * (count == 0 ? 1 : count * 2));
}

void wire_shards_add(struct wire_shards *l, struct wire_shard s)
{
    l->items = grown(l->items, l->count, sizeof(*l->items));
    l->items[l->count++] = s;
}

void wire_changes_add(struct wire_changes *l, enum wire_op op, int shard, uint64_t term,
                      const char *node)
{
    INVARIANT(strlen(node) == NODE_ID_LEN);
    l->items = grown(l->items, l->count, sizeof(*l->items));
    struct wire_change *c = &l->items[l->count++];
    *c = (struct wire_change){.op = op, .shard = shard, .term = term};
    memcpy(c->node, node, sizeof(c->node));
}

void wire_copies_add(struct wire_copies *l, const struct wire_copy *c)
{
    l->items = grown(l->items, l->count, sizeof(*l->items));
    l->items[l->count++] = *c;
}

static const char *const op_names[] = {"ADD",    "REMOVE", "HANDED",   "SERVING",
                                       "HOLLOW", "WHOLE",  "HANDOVER", "DROP"};

const char *wire_op_name(enum wire_op op)
{
    INVARIANT((size_t)op < ARRAY_LEN(op_names));
    return op_names[op];
}

void wire_message_fini(struct wire_message *m)
{
    const struct layout *l = &layouts[m->kind];
    for (size_t i = 0; i < l->count; i++) {
        void *at = field_of(m, &l->fields[i]);
        if (l->fields[i].type == FIELD_SHARDS) {
            struct wire_shards *list = at;
            mem_free(list->items);
            *list = (struct wire_shards){0};
        } else if (l->fields[i].type == FIELD_CHANGES) {
            struct wire_changes *list = at;
            mem_free(list->items);
            *list = (struct wire_changes){0};
        } else if (l->fields[i].type == FIELD_COPIES) {
            struct wire_copies *list = at;
            mem_free(list->items);
            *list = (struct wire_copies){0};
        }
    }
}

/* ---- encoding ---- */

static void put_number(struct str *to, uint64_t v)
{
    char text[NUM_I64_MAX_LEN];
    str_append(to, text, num_print_u64(text, v));
}

/* Numbers and texts of one item are parted by ':', items by ' '. */
static void put_next(struct str *to, uint64_t v)
{
    str_append_char(to, ':');
    put_number(to, v);
}

static void put_shards(struct str *to, const struct wire_shards *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct wire_shard *s = &l->items[i];
        if (i > 0) {
            str_append_char(to, ' ');
        }
        put_number(to, (uint64_t)s->shard);
        put_next(to, s->term);
        put_next(to, s->version);
        put_next(to, s->keys);
        put_next(to, s->bytes);
    }
}

static void put_changes(struct str *to, const struct wire_changes *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct wire_change *c = &l->items[i];
        if (i > 0) {
            str_append_char(to, ' ');
        }
        str_appendz(to, wire_op_name(c->op));
        put_next(to, (uint64_t)c->shard);
        put_next(to, c->term);
        str_append_char(to, ':');
        str_appendz(to, c->node);
    }
}

static void put_copies(struct str *to, const struct wire_copies *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct wire_copy *c = &l->items[i];
        if (i > 0) {
            str_append_char(to, ' ');
        }
        put_number(to, (uint64_t)c->shard);
        str_append_char(to, ':');
        str_appendz(to, c->node);
        put_next(to, c->lag_versions);
        put_next(to, c->lag_bytes);
        put_next(to, c->lag_ms);
        put_next(to, c->done);
        put_next(to, c->left);
    }
}

static void put_field(struct str *to, const struct wire_message *m, const struct field *f)
{
    const void *at = const_field(m, f);
    switch (f->type) {
    case FIELD_U64:
        put_number(to, *(const uint64_t *)at);
        break;
    case FIELD_TEXT:
        str_appendz(to, at);
        break;
    case FIELD_SHARDS:
        put_shards(to, at);
        break;
    case FIELD_CHANGES:
        put_changes(to, at);
        break;
    case FIELD_COPIES:
        put_copies(to, at);
        break;
    case FIELD_BLOB:
        break;
    }
}

void wire_encode(const struct wire_message *m, struct wire_frame *out)
{
    INVARIANT(m->kind < WIRE_KINDS);
    const struct layout *l = &layouts[m->kind];
    size_t ends[WIRE_FIELDS_MAX] = {0};
    str_clear(&out->text);
    for (size_t i = 0; i < l->count; i++) {
        put_field(&out->text, m, &l->fields[i]);
        ends[i] = out->text.len;
    }
    /* The text no longer moves: now the words can point into it. */
    out->argc = l->count + 1;
    out->argv[0] = slice_str(l->name);
    const char *text = str_cstr(&out->text);
    for (size_t i = 0; i < l->count; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        out->argv[i + 1] = l->fields[i].type == FIELD_BLOB
                               ? *(const struct slice *)const_field(m, &l->fields[i])
                               : slice_of(text + start, ends[i] - start);
    }
}

void wire_frame_fini(struct wire_frame *f)
{
    str_fini(&f->text);
    f->argc = 0;
}

/* ---- decoding ---- */

/* What stands before the next `stop`, or all; cut off the slice with the stop. */
static struct slice take_until(struct slice *in, char stop)
{
    const char *end = in->len == 0 ? NULL : memchr(in->ptr, stop, in->len);
    size_t len = end == NULL ? in->len : (size_t)(end - in->ptr);
    struct slice part = slice_of(in->ptr, len);
    size_t used = len + (end != NULL);
    *in = slice_of(in->ptr + used, in->len - used);
    return part;
}

/* The next number of an item; `last`: the item ends behind it. */
static bool take_number(struct slice *in, bool last, uint64_t *out)
{
    struct slice part = last ? *in : take_until(in, ':');
    return num_parse_u64(part, out);
}

static bool take_shard_number(struct slice *in, int *out)
{
    uint64_t shard;
    if (!take_number(in, false, &shard) || shard >= SLOTS) {
        return false;
    }
    *out = (int)shard;
    return true;
}

static bool take_id(struct slice part, char to[NODE_ID_LEN + 1])
{
    if (part.len != NODE_ID_LEN) {
        return false;
    }
    for (size_t i = 0; i < part.len; i++) {
        char c = part.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    memcpy(to, part.ptr, NODE_ID_LEN);
    to[NODE_ID_LEN] = '\0';
    return true;
}

/* The next item of a list: false if there is nothing behind a space. */
static bool take_item(struct slice *in, struct slice *out)
{
    size_t len = in->len;
    *out = take_until(in, ' ');
    return out->len == len || in->len > 0;
}

/* Shards must rise: so none is there twice, and there are at most SLOTS. */
static bool take_shards(struct slice in, struct wire_shards *to)
{
    int before = -1;
    while (in.len > 0) {
        struct slice one;
        struct wire_shard s = {0};
        if (!take_item(&in, &one) || !take_shard_number(&one, &s.shard) ||
            !take_number(&one, false, &s.term) || !take_number(&one, false, &s.version) ||
            !take_number(&one, false, &s.keys) || !take_number(&one, true, &s.bytes) ||
            s.shard <= before) {
            return false;
        }
        before = s.shard;
        wire_shards_add(to, s);
    }
    return true;
}

static bool take_op(struct slice part, enum wire_op *out)
{
    for (size_t i = 0; i < ARRAY_LEN(op_names); i++) {
        if (slice_eq(part, slice_str(op_names[i]))) {
            *out = (enum wire_op)i;
            return true;
        }
    }
    return false;
}

static bool take_changes(struct slice in, struct wire_changes *to)
{
    while (in.len > 0) {
        struct slice one;
        struct wire_change c = {0};
        if (to->count == WIRE_CHANGES_MAX || !take_item(&in, &one) ||
            !take_op(take_until(&one, ':'), &c.op) || !take_shard_number(&one, &c.shard) ||
            !take_number(&one, false, &c.term) || !take_id(one, c.node)) {
            return false;
        }
        wire_changes_add(to, c.op, c.shard, c.term, c.node);
    }
    return true;
}

static bool take_copies(struct slice in, struct wire_copies *to)
{
    while (in.len > 0) {
        struct slice one;
        struct wire_copy c = {0};
        if (to->count == WIRE_COPIES_MAX || !take_item(&in, &one) ||
            !take_shard_number(&one, &c.shard) || !take_id(take_until(&one, ':'), c.node) ||
            !take_number(&one, false, &c.lag_versions) || !take_number(&one, false, &c.lag_bytes) ||
            !take_number(&one, false, &c.lag_ms) || !take_number(&one, false, &c.done) ||
            !take_number(&one, true, &c.left)) {
            return false;
        }
        wire_copies_add(to, &c);
    }
    return true;
}

static bool take_text(struct slice in, char *to, size_t size)
{
    if (in.len >= size) {
        return false;
    }
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] < ' ' || in.ptr[i] > '~') {
            return false;
        }
    }
    memcpy(to, in.ptr, in.len);
    to[in.len] = '\0';
    return true;
}

static bool take_field(struct wire_message *m, const struct field *f, struct slice in)
{
    void *at = field_of(m, f);
    switch (f->type) {
    case FIELD_U64:
        return num_parse_u64(in, at);
    case FIELD_TEXT:
        return take_text(in, at, f->size);
    case FIELD_SHARDS:
        return take_shards(in, at);
    case FIELD_CHANGES:
        return take_changes(in, at);
    case FIELD_COPIES:
        return take_copies(in, at);
    case FIELD_BLOB:
        *(struct slice *)at = in;
        return true;
    }
    return false;
}

const char *wire_decode(const struct slice *argv, size_t argc, struct wire_message *out)
{
    memset(out, 0, sizeof(*out));
    if (argc == 0) {
        return "empty message";
    }
    int kind = 0;
    while (kind < WIRE_KINDS && !slice_eq(argv[0], slice_str(layouts[kind].name))) {
        kind++;
    }
    if (kind == WIRE_KINDS) {
        return "unknown message";
    }
    out->kind = (enum wire_kind)kind;
    const struct layout *l = &layouts[kind];
    if (argc < l->count + 1) {
        return "fields are missing";
    }
    for (size_t i = 0; i < l->count; i++) {
        if (!take_field(out, &l->fields[i], argv[i + 1])) {
            wire_message_fini(out);
            return l->fields[i].name;
        }
    }
    return NULL;
}
