// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/keys.h"

#include "common/base/mem.h"
#include "common/base/num.h"

void key_list_init(struct key_list *l)
{
    l->keys = l->small;
    l->count = 0;
    l->cap = KEY_LIST_SMALL;
}

void key_list_fini(struct key_list *l)
{
    if (l->keys != l->small) {
        mem_free(l->keys);
    }
    key_list_init(l);
}

static void reserve(struct key_list *l, size_t more)
{
    size_t want = l->count + more;
    if (LIKELY(want <= l->cap)) {
        return;
    }
    INVARIANT(want <= UINT32_MAX / 2);
    want = MAX(want, (size_t)l->cap * 2);
    struct key_ref *grown = mem_alloc(want * sizeof(*grown));
    memcpy(grown, l->keys, l->count * sizeof(*grown));
    if (l->keys != l->small) {
        mem_free(l->keys);
    }
    l->keys = grown;
    l->cap = (uint32_t)want;
}

static void add(struct key_list *l, size_t index, unsigned flags)
{
    reserve(l, 1);
    l->keys[l->count++] = (struct key_ref){.index = (uint32_t)index, .flags = (uint16_t)flags};
}

/* Every `step`th argument from first to last, both inside argv. */
static void add_range(struct key_list *l, int64_t first, int64_t last, int64_t step, unsigned flags)
{
    reserve(l, (size_t)((last - first) / step + 1));
    for (int64_t i = first; i <= last; i += step) {
        l->keys[l->count++] = (struct key_ref){.index = (uint32_t)i, .flags = (uint16_t)flags};
    }
}

/* Where a specification's search begins; 0: its keyword is not there. */
static int64_t begin_of(const struct key_spec *s, const struct slice *argv, int64_t argc)
{
    if (s->begin == KEY_BEGIN_INDEX) {
        return s->pos;
    }
    bool forward = s->pos > 0;
    int64_t from = forward ? s->pos : argc + s->pos;
    for (int64_t i = from; i >= 1 && i < argc; i += forward ? 1 : -1) {
        if (slice_is(argv[i], s->keyword)) {
            return i + 1;
        }
    }
    return 0;
}

static bool add_spec(const struct command *c, const struct key_spec *s, const struct slice *argv,
                     int64_t argc, struct key_list *out)
{
    if (s->begin == KEY_BEGIN_UNKNOWN || s->find == KEY_FIND_UNKNOWN) {
        return false;
    }
    int64_t first = begin_of(s, argv, argc);
    if (first == 0 || (first == argc && s != c->specs)) {
        return true; /* an option that is not used, or that lacks its value */
    }
    int64_t last;
    int64_t step;
    if (s->find == KEY_FIND_RANGE) {
        int64_t limit = s->find_arg[2] > 1 ? s->find_arg[2] : 1;
        last = s->find_arg[0] >= 0 ? first + s->find_arg[0]
                                   : first + (argc - first) / limit + s->find_arg[0];
        step = s->find_arg[1];
    } else {
        int64_t count;
        int64_t at = first + s->find_arg[0];
        if (at >= argc || !num_parse_i64(argv[at], &count) || count < 0 || count > argc) {
            return false;
        }
        first += s->find_arg[1];
        step = s->find_arg[2];
        last = first + (count - 1) * step;
    }
    if (first >= argc || last >= argc || last < first) {
        return false;
    }
    add_range(out, first, last, step, s->flags);
    return true;
}

static enum keys_result find_by_specs(const struct command *c, const struct slice *argv,
                                      size_t argc, struct key_list *out)
{
    for (int i = 0; i < c->spec_count; i++) {
        if (!add_spec(c, &c->specs[i], argv, (int64_t)argc, out)) {
            out->count = 0;
            break;
        }
    }
    return out->count > 0 || (c->flags & CF_NO_MANDATORY_KEYS) ? KEYS_OK : KEYS_BAD;
}

/* SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [STORE destination] */
static void find_sort(const struct slice *argv, size_t argc, struct key_list *out)
{
    size_t store = 0;
    add(out, 1, KEY_RO | KEY_ACCESS);
    for (size_t i = 2; i < argc; i++) {
        if (slice_is(argv[i], "limit")) {
            i += 2;
        } else if (slice_is(argv[i], "get") || slice_is(argv[i], "by")) {
            i += 1;
        } else if (slice_is(argv[i], "store") && i + 1 < argc) {
            store = ++i; /* the last one counts */
        }
    }
    if (store != 0) {
        add(out, store, KEY_OW | KEY_UPDATE);
    }
}

/* MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH p | AUTH2 u p] [KEYS key ...] */
static enum keys_result find_migrate(const struct slice *argv, size_t argc, struct key_list *out)
{
    const unsigned flags = KEY_RW | KEY_ACCESS | KEY_DELETE;
    for (size_t i = 6; i < argc; i++) {
        if (slice_is(argv[i], "keys") && i + 1 < argc) {
            if (argv[3].len > 0) {
                return KEYS_BAD; /* both forms at once */
            }
            add_range(out, (int64_t)i + 1, (int64_t)argc - 1, 1, flags);
            return KEYS_OK;
        }
        if (slice_is(argv[i], "auth")) {
            i += 1;
        } else if (slice_is(argv[i], "auth2")) {
            i += 2;
        }
    }
    add(out, 3, flags);
    return KEYS_OK;
}

/* SET reads only with GET. */
static unsigned set_flags(const struct slice *argv, size_t argc)
{
    for (size_t i = 3; i < argc; i++) {
        if (slice_is(argv[i], "get")) {
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
        }
    }
    return KEY_OW | KEY_UPDATE;
}

/* BITFIELD only reads when there is nothing but GET; what is not understood is taken for a write.
 */
static unsigned bitfield_flags(const struct slice *argv, size_t argc)
{
    for (size_t i = 2; i < argc; i++) {
        size_t left = argc - i - 1;
        if (slice_is(argv[i], "get") && left >= 2) {
            i += 2;
        } else if (slice_is(argv[i], "overflow") && left >= 1) {
            i += 1;
        } else {
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
        }
    }
    return KEY_RO | KEY_ACCESS;
}

enum keys_result keys_find(const struct command *c, const struct slice *argv, size_t argc,
                           struct key_list *out)
{
    out->count = 0;
    if (c->spec_count == 0) {
        return KEYS_NONE;
    }
    if (argc < 2) {
        return KEYS_BAD;
    }
    if (c->id == CMD_SET) {
        add(out, 1, set_flags(argv, argc));
        return KEYS_OK;
    }
    if (c->id == CMD_BITFIELD) {
        add(out, 1, bitfield_flags(argv, argc));
        return KEYS_OK;
    }
    if (c->id == CMD_SORT) {
        find_sort(argv, argc, out);
        return KEYS_OK;
    }
    if (c->id == CMD_SORT_RO) {
        add(out, 1, KEY_RO | KEY_ACCESS);
        return KEYS_OK;
    }
    if (c->id == CMD_MIGRATE) {
        return argc < 4 ? KEYS_BAD : find_migrate(argv, argc, out);
    }
    return find_by_specs(c, argv, argc, out);
}

bool keys_possible(const struct command *c)
{
    for (int i = 0; i < c->spec_count; i++) {
        if (!(c->specs[i].flags & KEY_NOT_KEY)) {
            return true;
        }
    }
    return false;
}
