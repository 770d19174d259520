// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/command.h"

#include <stdio.h>

#define TIPS(REQUEST, RESPONSE, varies)   REQUEST_##REQUEST, RESPONSE_##RESPONSE, varies
#define NO_TIPS                           TIPS(NONE, NONE, 0)
#define AT(i)                             .begin = KEY_BEGIN_INDEX, .pos = (i)
#define AFTER(word, from)                 .begin = KEY_BEGIN_KEYWORD, .keyword = (word), .pos = (from)
#define ANYWHERE                          .begin = KEY_BEGIN_UNKNOWN
#define RANGE(last, step, limit)          .find = KEY_FIND_RANGE, .find_arg = {(last), (step), (limit)}
#define ONE                               RANGE(0, 1, 0)
#define KEYNUM(n, first, step)            .find = KEY_FIND_KEYNUM, .find_arg = {(n), (first), (step)}
#define UNKNOWN                           .find = KEY_FIND_UNKNOWN
#define KEY(key_flags, BEGIN, FIND, text) {.flags = (key_flags), BEGIN, FIND, .note = (text)},
#define NO_KEYS

/* The tips are three values by now: a row must go through one more expansion to see them apart. */
#define ROW(...) ROW_OF(__VA_ARGS__)
#define ROW_OF(ID, short_name, long_name, PARENT, arity_, GROUP, since_, flags_, acl_, request_,   \
               response_, tips_, ...)                                                              \
    [ID] = {.id = (ID),                                                                            \
            .name = (short_name),                                                                  \
            .full_name = (long_name),                                                              \
            .parent_id = (PARENT),                                                                 \
            .arity = (arity_),                                                                     \
            .group = (GROUP),                                                                      \
            .since = (since_),                                                                     \
            .flags = (flags_),                                                                     \
            .acl = (acl_),                                                                         \
            .request = (request_),                                                                 \
            .response = (response_),                                                               \
            .tips = (tips_),                                                                       \
            .specs = (const struct key_spec[]){__VA_ARGS__{.flags = 0}}},
#define COMMAND(ID, name_, arity_, GROUP, ...)                                                     \
    ROW(CMD_##ID, name_, name_, CMD_NONE, arity_, GROUP_##GROUP, __VA_ARGS__)
#define SUBCOMMAND(CONTAINER, ID, name_, full, arity_, GROUP, ...)                                 \
    ROW(CMD_##CONTAINER##_##ID, name_, full, CMD_##CONTAINER, arity_, GROUP_##GROUP, __VA_ARGS__)

/* Constant but for what complete_table() derives before main(). */
static struct command table[CMD_MAX] = {
#include "common/cmd/commands.def"
#include "common/cmd/subcommands.def"
};

/* A name as words to be compared at once: the bytes folded to lower case, laid out so that the
 * length and the words together determine the name. */
struct folded {
    uint64_t a; /* first 8 bytes; of shorter names all of them */
    uint64_t b; /* last 8 bytes */
    uint64_t c; /* bytes 8 to 15 of names longer than 16 */
};

#define FOLD_MAX 24

/* Open addressing, a fifth full: the row is nearly always in the first place looked at. */
#define INDEX_BITS 11
#define INDEX_SIZE (1u << INDEX_BITS)

struct place {
    struct folded name;
    uint16_t len;
    uint16_t parent_id;
    uint16_t id; /* 0: free */
};

static struct place places[INDEX_SIZE];

static uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Lower case in each of the 8 bytes; bytes that are no ASCII letters stay as they are. */
static uint64_t fold8(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = v & (ones * 0x7f);
    uint64_t from_a = low + ones * (0x80 - 'A');
    uint64_t after_z = low + ones * (0x7f - 'Z');
    uint64_t upper = (from_a ^ after_z) & ~v & (ones * 0x80);
    return v | (upper >> 2);
}

/* `len` in 1..FOLD_MAX. */
static struct folded fold(const char *p, size_t len)
{
    struct folded f = {0};
    if (len >= 8) {
        f.a = fold8(load8(p));
        f.b = fold8(load8(p + len - 8));
        if (len > 16) {
            f.c = fold8(load8(p + 8));
        }
    } else if (len >= 4) {
        f.a = fold8(load4(p) | (uint64_t)load4(p + len - 4) << 32);
    } else {
        f.a = fold8((uint8_t)p[0] | (uint64_t)(uint8_t)p[len / 2] << 8 |
                    (uint64_t)(uint8_t)p[len - 1] << 16);
    }
    return f;
}

static uint32_t place_of(const struct folded *f, size_t len, uint32_t parent_id)
{
    uint64_t h = (f->a ^ (f->b + len + ((uint64_t)parent_id << 8))) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> (64 - INDEX_BITS));
}

static const struct command *look_up(struct slice name, uint32_t parent_id)
{
    if (name.len == 0 || name.len > FOLD_MAX) {
        return NULL;
    }
    struct folded f = fold(name.ptr, name.len);
    for (uint32_t i = place_of(&f, name.len, parent_id);; i = (i + 1) & (INDEX_SIZE - 1)) {
        const struct place *p = &places[i];
        if (p->name.a == f.a && p->name.b == f.b && p->name.c == f.c && p->len == name.len &&
            p->parent_id == parent_id) {
            return &table[p->id];
        }
        if (p->id == CMD_NONE) {
            return NULL;
        }
    }
}

static void add_to_index(const struct command *c)
{
    size_t len = strlen(c->name);
    INVARIANT(len >= 1);
    INVARIANT(len <= FOLD_MAX);
    INVARIANT(look_up(slice_of(c->name, len), c->parent_id) == NULL);
    struct folded f = fold(c->name, len);
    uint32_t i = place_of(&f, len, c->parent_id);
    while (places[i].id != CMD_NONE) {
        i = (i + 1) & (INDEX_SIZE - 1);
    }
    places[i] =
        (struct place){.name = f, .len = (uint16_t)len, .parent_id = c->parent_id, .id = c->id};
}

/* The categories that follow from the flags. */
static uint32_t implied_categories(const struct command *c)
{
    uint32_t acl = (c->flags & CF_FAST) ? ACL_FAST : ACL_SLOW;
    if (c->flags & CF_WRITE) {
        acl |= ACL_WRITE;
    }
    if ((c->flags & CF_READONLY) && !(c->acl & ACL_SCRIPTING)) {
        acl |= ACL_READ;
    }
    if (c->flags & CF_ADMIN) {
        acl |= ACL_ADMIN | ACL_DANGEROUS;
    }
    if (c->flags & CF_PUBSUB) {
        acl |= ACL_PUBSUB;
    }
    if (c->flags & CF_BLOCKING) {
        acl |= ACL_BLOCKING;
    }
    return acl;
}

/* First, last and step as COMMAND shows them: the ranges at fixed places that join to one. */
static void derive_positions(struct command *c)
{
    int end = 0;
    for (int i = 0; i < c->spec_count; i++) {
        const struct key_spec *s = &c->specs[i];
        if (s->begin != KEY_BEGIN_INDEX || s->find != KEY_FIND_RANGE) {
            continue;
        }
        if (s->find_arg[1] != 1 && i > 0) {
            continue; /* another step than the first range's */
        }
        if (end != 0 && end != s->pos - 1) {
            continue;
        }
        int last = s->find_arg[0] >= 0 ? s->find_arg[0] + s->pos : s->find_arg[0];
        if (c->key_first == 0) {
            c->key_first = s->pos;
            c->key_step = (int8_t)s->find_arg[1];
        }
        c->key_last = (int16_t)last;
        end = last;
    }
}

static void derive_single_key(struct command *c)
{
    const struct key_spec *s = &c->specs[0];
    if (c->spec_count == 1 && s->begin == KEY_BEGIN_INDEX && s->find == KEY_FIND_RANGE &&
        s->find_arg[0] == 0) {
        c->key_single = (uint8_t)s->pos;
        c->key_flags = (uint8_t)s->flags;
    }
}

__attribute__((constructor)) static void complete_table(void)
{
    for (uint32_t id = 1; id < CMD_MAX; id++) {
        struct command *c = &table[id];
        while (c->specs[c->spec_count].flags != 0) {
            c->spec_count++;
        }
        c->acl |= implied_categories(c);
        derive_positions(c);
        derive_single_key(c);
        add_to_index(c);
        if (c->parent_id != CMD_NONE) {
            struct command *parent = &table[c->parent_id];
            if (parent->sub_count == 0) {
                parent->sub_first = c->id;
            }
            INVARIANT(parent->sub_first + parent->sub_count == c->id);
            parent->sub_count++;
            c->parent = parent;
        }
    }
}

const struct command *command_by_id(enum command_id id)
{
    INVARIANT(id > CMD_NONE);
    INVARIANT(id < CMD_MAX);
    return &table[id];
}

const struct command *command_find(const struct slice *argv, size_t argc)
{
    const struct command *c = look_up(argv[0], CMD_NONE);
    if (LIKELY(c == NULL || c->sub_count == 0 || argc == 1)) {
        return c;
    }
    return look_up(argv[1], c->id);
}

const struct command *command_named(struct slice name)
{
    const char *bar = name.len == 0 ? NULL : memchr(name.ptr, '|', name.len);
    if (bar == NULL) {
        return look_up(name, CMD_NONE);
    }
    const struct command *c = look_up(slice_of(name.ptr, (size_t)(bar - name.ptr)), CMD_NONE);
    if (c == NULL || c->sub_count == 0) {
        return NULL;
    }
    return look_up(slice_of(bar + 1, name.len - (size_t)(bar + 1 - name.ptr)), c->id);
}

const struct command *command_sub(const struct command *container, struct slice name)
{
    return look_up(name, container->id);
}

/* As much of `v` as a C string would show, at most `max` bytes. */
static int shown(struct slice v, size_t max)
{
    size_t len = MIN(v.len, max);
    const char *nul = len == 0 ? NULL : memchr(v.ptr, '\0', len);
    return (int)(nul == NULL ? len : (size_t)(nul - v.ptr));
}

void command_error_unknown(char error[COMMAND_ERROR_MAX], const struct slice *argv, size_t argc)
{
    const size_t args_max = 128;
    const struct command *container = look_up(argv[0], CMD_NONE);
    if (container != NULL && container->sub_count > 0 && argc > 1) {
        char upper[FOLD_MAX + 1];
        size_t len = strlen(container->name);
        for (size_t i = 0; i <= len; i++) {
            char ch = container->name[i];
            upper[i] = (char)(ch >= 'a' && ch <= 'z' ? ch - 'a' + 'A' : ch);
        }
        snprintf(error, COMMAND_ERROR_MAX, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                 shown(argv[1], args_max), argv[1].ptr, upper);
        return;
    }
    char args[COMMAND_ERROR_MAX / 2];
    size_t len = 0;
    args[0] = '\0';
    for (size_t i = 1; i < argc && len < args_max; i++) {
        len += (size_t)snprintf(args + len, sizeof(args) - len, "'%.*s' ",
                                shown(argv[i], args_max - len), argv[i].ptr);
    }
    snprintf(error, COMMAND_ERROR_MAX, "ERR unknown command '%.*s', with args beginning with: %s",
             shown(argv[0], args_max), argv[0].ptr, args);
}

bool command_is_http(struct slice name)
{
    return slice_is(name, "post") || slice_is(name, "host:");
}

void command_error_arity(char error[COMMAND_ERROR_MAX], const struct command *c)
{
    snprintf(error, COMMAND_ERROR_MAX, "ERR wrong number of arguments for '%s' command",
             c->full_name);
}

const struct command *command_resolve(const struct slice *argv, size_t argc,
                                      char error[COMMAND_ERROR_MAX])
{
    const struct command *c = command_find(argv, argc);
    if (UNLIKELY(c == NULL)) {
        command_error_unknown(error, argv, argc);
        return NULL;
    }
    if (UNLIKELY(!command_arity_ok(c, argc))) {
        command_error_arity(error, c);
        return NULL;
    }
    return c;
}
