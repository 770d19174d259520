// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/control/node_settings.h"

#include "common/base/mem.h"
#include "common/resp/parse.h"

#include <ctype.h>
#include <string.h>

/* What was set last comes last: two names of Redis's may mean the same directive. */
static struct node_setting *move_to_end(struct node_settings *n, size_t i)
{
    struct node_setting s = n->items[i];
    memmove(&n->items[i], &n->items[i + 1], (n->count - i - 1) * sizeof(s));
    n->items[n->count - 1] = s;
    return &n->items[n->count - 1];
}

static struct node_setting *find_or_add(struct node_settings *n, struct slice name)
{
    for (size_t i = 0; i < n->count; i++) {
        if (slice_is(name, n->items[i].name)) {
            return move_to_end(n, i);
        }
    }
    struct str small = {0};
    for (size_t i = 0; i < name.len; i++) {
        str_append_char(&small, (char)tolower((unsigned char)name.ptr[i]));
    }
    n->items = mem_realloc(n->items, (n->count + 1) * sizeof(*n->items));
    n->items[n->count] = (struct node_setting){.name = str_steal(&small)};
    return &n->items[n->count++];
}

void node_settings_set(struct node_settings *n, struct slice name, struct slice value, bool durable)
{
    struct node_setting *s = find_or_add(n, name);
    str_clear(&s->value);
    str_append_slice(&s->value, value);
    s->durable = durable;
}

static void put(struct str *to, struct slice word)
{
    str_printf(to, "$%zu\r\n", word.len);
    str_append_slice(to, word);
    str_appendz(to, "\r\n");
}

static bool belongs(const struct node_setting *s, bool durable_only)
{
    return durable_only ? s->durable : s->name[0] != '.';
}

const struct str *node_settings_get(const struct node_settings *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->items[i].name, name) == 0) {
            return &n->items[i].value;
        }
    }
    return NULL;
}

void node_settings_encode(const struct node_settings *n, bool durable_only, struct str *to)
{
    size_t count = 0;
    for (size_t i = 0; i < n->count; i++) {
        count += belongs(&n->items[i], durable_only);
    }
    str_printf(to, "*%zu\r\n", count * 2);
    for (size_t i = 0; i < n->count; i++) {
        if (belongs(&n->items[i], durable_only)) {
            put(to, slice_str(n->items[i].name));
            put(to, str_slice(&n->items[i].value));
        }
    }
}

bool node_settings_decode(struct node_settings *n, struct slice bytes)
{
    struct resp_parser p;
    resp_parser_init(&p);
    p.bulk_max = INT64_MAX;
    bool good = resp_parse(&p, bytes) == RESP_OK && p.argc % 2 == 0 && p.used == bytes.len;
    for (uint32_t i = 0; good && i < p.argc; i += 2) {
        node_settings_set(n, p.argv[i], p.argv[i + 1], true);
    }
    resp_parser_fini(&p);
    return good;
}

void node_settings_fini(struct node_settings *n)
{
    for (size_t i = 0; i < n->count; i++) {
        mem_free(n->items[i].name);
        str_fini(&n->items[i].value);
    }
    mem_free(n->items);
    *n = (struct node_settings){0};
}
