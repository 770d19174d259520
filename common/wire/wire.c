// SPDX-License-Identifier: BSD-3-Clause
#include "common/wire/wire.h"

#include "common/base/mem.h"
#include "common/base/num.h"

enum field_type { FIELD_U64, FIELD_TEXT, FIELD_SHARDS, FIELD_BLOB };

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
#undef BLOB
#undef END

#define U64(name, field)
#define TEXT(name, field, size)
#define SHARDS(name, field)
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
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].shard == shard) {
            return &l->items[i];
        }
    }
    return NULL;
}

void wire_shards_add(struct wire_shards *l, struct wire_shard s)
{
    if ((l->count & (l->count - 1)) == 0) { /* room for a power of two */
        size_t room = l->count == 0 ? 1 : l->count * 2;
        l->items = mem_realloc(l->items, sizeof(*l->items) * room);
    }
    l->items[l->count++] = s;
}

void wire_message_fini(struct wire_message *m)
{
    const struct layout *l = &layouts[m->kind];
    for (size_t i = 0; i < l->count; i++) {
        if (l->fields[i].type == FIELD_SHARDS) {
            struct wire_shards *list = field_of(m, &l->fields[i]);
            mem_free(list->items);
            *list = (struct wire_shards){0};
        }
    }
}

/* ---- encoding ---- */

static void put_shards(struct str *to, const struct wire_shards *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct wire_shard *s = &l->items[i];
        if (i > 0) {
            str_append_char(to, ' ');
        }
        char text[4 * (NUM_I64_MAX_LEN + 1)];
        size_t n = num_print_u64(text, (uint64_t)s->shard);
        text[n++] = ':';
        n += num_print_u64(text + n, s->term);
        text[n++] = ':';
        n += num_print_u64(text + n, s->version);
        text[n++] = ':';
        n += num_print_u64(text + n, s->keys);
        str_append(to, text, n);
    }
}

static void put_field(struct str *to, const struct wire_message *m, const struct field *f)
{
    const void *at = const_field(m, f);
    char number[NUM_I64_MAX_LEN];
    switch (f->type) {
    case FIELD_U64:
        str_append(to, number, num_print_u64(number, *(const uint64_t *)at));
        break;
    case FIELD_TEXT:
        str_appendz(to, at);
        break;
    case FIELD_SHARDS:
        put_shards(to, at);
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

/* The number before the next ':', both cut off the slice. */
static bool take_number(struct slice *in, uint64_t *out)
{
    const char *stop = in->len == 0 ? NULL : memchr(in->ptr, ':', in->len);
    if (stop == NULL || !num_parse_u64(slice_of(in->ptr, (size_t)(stop - in->ptr)), out)) {
        return false;
    }
    in->len -= (size_t)(stop + 1 - in->ptr);
    in->ptr = stop + 1;
    return true;
}

/* Shards must rise: so none is there twice, and there are at most SLOTS. */
static bool take_shards(struct slice in, struct wire_shards *to)
{
    int64_t before = -1;
    while (in.len > 0) {
        const char *stop = memchr(in.ptr, ' ', in.len);
        struct slice one = slice_of(in.ptr, stop == NULL ? in.len : (size_t)(stop - in.ptr));
        in = stop == NULL ? slice_of("", 0) : slice_of(stop + 1, in.len - one.len - 1);
        if (stop != NULL && in.len == 0) {
            return false; /* a space with nothing behind it */
        }
        uint64_t shard;
        struct wire_shard s = {0};
        if (!take_number(&one, &shard) || !take_number(&one, &s.term) ||
            !take_number(&one, &s.version) || !num_parse_u64(one, &s.keys) || shard >= SLOTS ||
            (int64_t)shard <= before) {
            return false;
        }
        before = (int64_t)shard;
        s.shard = (int)shard;
        wire_shards_add(to, s);
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
