// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/docs.h"

#include "common/resp/write.h"

enum row_type {
    DOC_ROW,
    STRING,
    INTEGER,
    DOUBLE,
    KEY,
    PATTERN,
    UNIX_TIME,
    PURE_TOKEN,
    ONEOF,
    BLOCK
};

enum row_flag { OPTIONAL = 1, MULTIPLE = 2, MULTIPLE_TOKEN = 4, SYSTEM = 8 };

/* A DOC or an ARG; the rows of a command stand together, its DOC first, arguments depth first. */
struct row {
    uint8_t type;     /* enum row_type */
    uint8_t depth;    /* ARG */
    uint8_t flags;    /* enum row_flag */
    uint8_t spec;     /* ARG: index of the key specification + 1 */
    uint16_t id;      /* DOC: enum command_id */
    const char *name; /* ARG's name, DOC's summary */
    const char *token;
    const char *since;
    const char *deprecated_since;
    const char *replaced_by;
    const char *complexity;
};

#define DOC_OF(ID, text, cost, ...)                                                                \
    {.type = DOC_ROW, .id = CMD_##ID, .name = (text), .complexity = (cost), __VA_ARGS__},
#define DOC(ID, text, cost)        DOC_OF(ID, text, cost, .flags = 0)
#define DOC_SYSTEM(ID, text, cost) DOC_OF(ID, text, cost, .flags = SYSTEM)
#define DOC_DEPRECATED(ID, from, instead, text, cost)                                              \
    DOC_OF(ID, text, cost, .deprecated_since = (from), .replaced_by = (instead))
#define SPEC(i) .spec = (i) + 1
#define ARG(depth_, name_, TYPE, ...)                                                              \
    {.depth = (depth_), .name = (name_), .type = (TYPE), ##__VA_ARGS__},

static const struct row rows[] = {
#include "common/cmd/docs.def"
};

/* Where a command's DOC is in rows[]; constant after build_index(), which runs before main(). */
static uint16_t doc_at[CMD_MAX];

__attribute__((constructor)) static void build_index(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].type == DOC_ROW) {
            doc_at[rows[i].id] = (uint16_t)i;
        }
    }
}

static const char *type_name(uint8_t type)
{
    static const char *const names[] = {
        [DOC_ROW] = NULL,
        [STRING] = "string",
        [INTEGER] = "integer",
        [DOUBLE] = "double",
        [KEY] = "key",
        [PATTERN] = "pattern",
        [UNIX_TIME] = "unix-time",
        [PURE_TOKEN] = "pure-token",
        [ONEOF] = "oneof",
        [BLOCK] = "block",
    };
    return names[type];
}

/* How many rows from `at` on are arguments of this depth under one parent. */
static size_t siblings(size_t at, uint8_t depth)
{
    size_t n = 0;
    for (; at < ARRAY_LEN(rows) && rows[at].type != DOC_ROW && rows[at].depth >= depth; at++) {
        n += rows[at].depth == depth;
    }
    return n;
}

static void text_field(struct resp_writer *w, const char *field, const char *text)
{
    if (text != NULL) {
        resp_bulkz(w, field);
        resp_bulkz(w, text);
    }
}

static void flags_field(struct resp_writer *w, const char *field, uint8_t flags)
{
    static const char *const names[] = {"optional", "multiple", "multiple_token", "syscmd"};
    if (flags == 0) {
        return;
    }
    resp_bulkz(w, field);
    resp_set(w, (size_t)__builtin_popcount(flags));
    for (size_t bit = 0; bit < ARRAY_LEN(names); bit++) {
        if (flags & (1u << bit)) {
            resp_simple(w, names[bit]);
        }
    }
}

static size_t write_arguments(struct resp_writer *w, size_t at, uint8_t depth);

/* Returns the row behind the argument and its parts. */
static size_t write_argument(struct resp_writer *w, size_t at)
{
    const struct row *a = &rows[at];
    size_t parts = siblings(at + 1, a->depth + 1);
    resp_map(w, (size_t)2 + (a->spec != 0) + (a->token != NULL) + (a->since != NULL) +
                    (a->deprecated_since != NULL) + (a->flags != 0) + (parts != 0));
    text_field(w, "name", a->name);
    text_field(w, "type", type_name(a->type));
    if (a->spec != 0) {
        resp_bulkz(w, "key_spec_index");
        resp_int(w, a->spec - 1);
    }
    text_field(w, "token", a->token);
    text_field(w, "since", a->since);
    text_field(w, "deprecated_since", a->deprecated_since);
    flags_field(w, "flags", a->flags);
    return write_arguments(w, at + 1, a->depth + 1);
}

/* The field "arguments" with all of this depth; nothing where there are none. */
static size_t write_arguments(struct resp_writer *w, size_t at, uint8_t depth)
{
    size_t n = siblings(at, depth);
    if (n != 0) {
        resp_bulkz(w, "arguments");
        resp_array(w, n);
    }
    for (; n > 0; n--) {
        at = write_argument(w, at);
    }
    return at;
}

void docs_reply(struct resp_writer *w, const struct command *c)
{
    size_t at = doc_at[c->id];
    const struct row *doc = &rows[at];
    INVARIANT(doc->id == c->id);
    bool deprecated = doc->replaced_by != NULL;
    resp_bulkz(w, c->full_name);
    resp_map(w, (size_t)3 + (doc->complexity != NULL) + (doc->flags != 0) + (deprecated ? 3 : 0) +
                    (siblings(at + 1, 0) != 0) + (c->sub_count != 0));
    text_field(w, "summary", doc->name);
    text_field(w, "since", c->since);
    text_field(w, "group", command_group_name(c->group));
    text_field(w, "complexity", doc->complexity);
    if (deprecated) {
        resp_bulkz(w, "doc_flags");
        resp_set(w, 1);
        resp_simple(w, "deprecated");
    }
    flags_field(w, "doc_flags", doc->flags);
    text_field(w, "deprecated_since", doc->deprecated_since);
    text_field(w, "replaced_by", doc->replaced_by);
    write_arguments(w, at + 1, 0);
    if (c->sub_count != 0) {
        resp_bulkz(w, "subcommands");
        resp_map(w, c->sub_count);
        for (uint16_t i = 0; i < c->sub_count; i++) {
            docs_reply(w, command_by_id(c->sub_first + i));
        }
    }
}
