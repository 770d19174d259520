// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/reply.h"

#include "common/base/glob.h"
#include "common/cmd/docs.h"
#include "common/cmd/keys.h"
#include "common/resp/errors.h"
#include "common/resp/write.h"

#include <stdio.h>

static void write_flags(struct resp_writer *w, uint32_t flags)
{
    size_t n = 0;
    for (uint32_t left = flags; left != 0; left &= left - 1) {
        n += command_flag_name(left & -left) != NULL;
    }
    resp_set(w, n);
    for (uint32_t left = flags; left != 0; left &= left - 1) {
        const char *name = command_flag_name(left & -left);
        if (name != NULL) {
            resp_simple(w, name);
        }
    }
}

static void write_categories(struct resp_writer *w, uint32_t acl)
{
    resp_set(w, (size_t)__builtin_popcount(acl));
    for (uint32_t left = acl; left != 0; left &= left - 1) {
        char text[32];
        snprintf(text, sizeof(text), "@%s",
                 command_category_name((enum command_category_bit)__builtin_ctz(left)));
        resp_simple(w, text);
    }
}

static void write_policy(struct resp_writer *w, const char *kind, const char *name)
{
    if (name != NULL) {
        char text[64];
        snprintf(text, sizeof(text), "%s_policy:%s", kind, name);
        resp_bulkz(w, text);
    }
}

static void write_tips(struct resp_writer *w, const struct command *c)
{
    const char *request = command_request_name(c->request);
    const char *response = command_response_name(c->response);
    bool output = (c->tips & TIP_OUTPUT_VARIES) != 0;
    bool order = (c->tips & TIP_ORDER_VARIES) != 0;
    resp_set(w, (size_t)output + order + (request != NULL) + (response != NULL));
    if (output) {
        resp_bulkz(w, "nondeterministic_output");
    }
    write_policy(w, "request", request);
    write_policy(w, "response", response);
    if (order) {
        resp_bulkz(w, "nondeterministic_output_order");
    }
}

static void write_key_flags(struct resp_writer *w, unsigned flags)
{
    static const char *const names[] = {
        "RO",     "RW",     "OW",      "RM",         "access",        "update",
        "insert", "delete", "not_key", "incomplete", "variable_flags"};
    resp_set(w, (size_t)__builtin_popcount(flags));
    for (size_t bit = 0; bit < ARRAY_LEN(names); bit++) {
        if (flags & (1u << bit)) {
            resp_simple(w, names[bit]);
        }
    }
}

static void number_field(struct resp_writer *w, const char *field, int v)
{
    resp_bulkz(w, field);
    resp_int(w, v);
}

/* "type" and the head of "spec", whose `fields` follow. */
static void search_head(struct resp_writer *w, const char *field, const char *type, size_t fields)
{
    resp_bulkz(w, field);
    resp_map(w, 2);
    resp_bulkz(w, "type");
    resp_bulkz(w, type);
    resp_bulkz(w, "spec");
    resp_map(w, fields);
}

static void write_begin(struct resp_writer *w, const struct key_spec *s)
{
    if (s->begin == KEY_BEGIN_INDEX) {
        search_head(w, "begin_search", "index", 1);
        number_field(w, "index", s->pos);
    } else if (s->begin == KEY_BEGIN_KEYWORD) {
        search_head(w, "begin_search", "keyword", 2);
        resp_bulkz(w, "keyword");
        resp_bulkz(w, s->keyword);
        number_field(w, "startfrom", s->pos);
    } else {
        search_head(w, "begin_search", "unknown", 0);
    }
}

static void write_find(struct resp_writer *w, const struct key_spec *s)
{
    static const char *const range[] = {"lastkey", "keystep", "limit"};
    static const char *const keynum[] = {"keynumidx", "firstkey", "keystep"};
    if (s->find == KEY_FIND_UNKNOWN) {
        search_head(w, "find_keys", "unknown", 0);
        return;
    }
    bool is_range = s->find == KEY_FIND_RANGE;
    search_head(w, "find_keys", is_range ? "range" : "keynum", 3);
    for (size_t i = 0; i < 3; i++) {
        number_field(w, is_range ? range[i] : keynum[i], s->find_arg[i]);
    }
}

static void write_key_specs(struct resp_writer *w, const struct command *c)
{
    resp_set(w, c->spec_count);
    for (int i = 0; i < c->spec_count; i++) {
        const struct key_spec *s = &c->specs[i];
        resp_map(w, s->note != NULL ? 4 : 3);
        if (s->note != NULL) {
            resp_bulkz(w, "notes");
            resp_bulkz(w, s->note);
        }
        resp_bulkz(w, "flags");
        write_key_flags(w, s->flags);
        write_begin(w, s);
        write_find(w, s);
    }
}

static void write_info(struct resp_writer *w, const struct command *c)
{
    if (c == NULL) {
        resp_nil(w);
        return;
    }
    resp_array(w, 10);
    resp_bulkz(w, c->full_name);
    resp_int(w, c->arity);
    write_flags(w, c->flags);
    resp_int(w, c->key_first);
    resp_int(w, c->key_last);
    resp_int(w, c->key_step);
    write_categories(w, c->acl);
    write_tips(w, c);
    write_key_specs(w, c);
    resp_array(w, c->sub_count);
    for (uint16_t i = 0; i < c->sub_count; i++) {
        write_info(w, command_by_id(c->sub_first + i));
    }
}

/* --- those that clients are told of --- */

static bool is_shown(const struct command *c)
{
    return (c->flags & CF_INTERNAL) == 0;
}

static const struct command *shown_named(struct slice name)
{
    const struct command *c = command_named(name);
    return c != NULL && is_shown(c) ? c : NULL;
}

static size_t count_shown(void)
{
    size_t n = 0;
    for (int id = 1; id <= COMMAND_COUNT; id++) {
        n += is_shown(command_by_id(id));
    }
    return n;
}

static void reply_info(struct resp_writer *w, const struct slice *names, size_t n)
{
    if (n > 0) {
        resp_array(w, n);
        for (size_t i = 0; i < n; i++) {
            write_info(w, shown_named(names[i]));
        }
        return;
    }
    resp_array(w, count_shown());
    for (int id = 1; id <= COMMAND_COUNT; id++) {
        if (is_shown(command_by_id(id))) {
            write_info(w, command_by_id(id));
        }
    }
}

static void reply_docs(struct resp_writer *w, const struct slice *names, size_t n)
{
    if (n == 0) {
        resp_map(w, count_shown());
        for (int id = 1; id <= COMMAND_COUNT; id++) {
            if (is_shown(command_by_id(id))) {
                docs_reply(w, command_by_id(id));
            }
        }
        return;
    }
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        known += shown_named(names[i]) != NULL;
    }
    resp_map(w, known);
    for (size_t i = 0; i < n; i++) {
        const struct command *c = shown_named(names[i]);
        if (c != NULL) {
            docs_reply(w, c);
        }
    }
}

/* What COMMAND LIST shows. */
struct filter {
    uint32_t acl; /* 0: any */
    const struct slice *pattern;
};

static bool passes(const struct filter *f, const struct command *c)
{
    if (!is_shown(c)) {
        return false;
    }
    if (f->acl != 0) {
        return (c->acl & f->acl) != 0;
    }
    return f->pattern == NULL || glob_match(*f->pattern, slice_str(c->full_name), true);
}

static void write_list(struct resp_writer *w, const struct filter *f)
{
    size_t n = 0;
    for (enum command_id id = 1; id < CMD_MAX; id++) {
        n += passes(f, command_by_id(id));
    }
    resp_array(w, n);
    for (enum command_id id = 1; id < CMD_MAX; id++) {
        if (passes(f, command_by_id(id))) {
            resp_bulkz(w, command_by_id(id)->full_name);
        }
    }
}

/* COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern] */
static void reply_list(struct resp_writer *w, const struct slice *argv, size_t argc)
{
    struct filter all = {0};
    if (argc == 2) {
        write_list(w, &all);
    } else if (argc != 5 || !slice_is(argv[2], "filterby")) {
        resp_error(w, ERR_SYNTAX);
    } else if (slice_is(argv[3], "module")) {
        resp_array(w, 0); /* there are no modules */
    } else if (slice_is(argv[3], "aclcat")) {
        struct filter by = {.acl = command_category_mask(argv[4])};
        if (by.acl == 0) {
            resp_array(w, 0);
        } else {
            write_list(w, &by);
        }
    } else if (slice_is(argv[3], "pattern")) {
        struct filter by = {.pattern = &argv[4]};
        write_list(w, &by);
    } else {
        resp_error(w, ERR_SYNTAX);
    }
}

/* Without the shard channels, which are no keys. */
static size_t drop_not_keys(struct key_list *l)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        if (!(l->keys[i].flags & KEY_NOT_KEY)) {
            l->keys[kept++] = l->keys[i];
        }
    }
    l->count = kept;
    return kept;
}

static void reply_keys(struct resp_writer *w, const struct slice *argv, size_t argc,
                       bool with_flags)
{
    const struct command *c = command_find(argv, argc);
    if (c == NULL) {
        resp_error(w, "ERR Invalid command specified");
        return;
    }
    if (!keys_possible(c)) {
        resp_error(w, "ERR The command has no key arguments");
        return;
    }
    if (!command_arity_ok(c, argc)) {
        resp_error(w, "ERR Invalid number of arguments specified for command");
        return;
    }
    struct key_list keys;
    key_list_init(&keys);
    enum keys_result result = keys_find(c, argv, argc, &keys);
    size_t n = drop_not_keys(&keys);
    if (result != KEYS_OK) {
        resp_error(w, "ERR Invalid arguments specified for command");
    } else {
        resp_array(w, n);
        for (size_t i = 0; i < n; i++) {
            if (with_flags) {
                resp_array(w, 2);
            }
            resp_bulk(w, argv[keys.keys[i].index]);
            if (with_flags) {
                write_key_flags(w, keys.keys[i].flags);
            }
        }
    }
    key_list_fini(&keys);
}

void command_help_reply(struct resp_writer *w, const char *name, const char *const *lines)
{
    size_t n = 0;
    while (lines[n] != NULL) {
        n++;
    }
    char first[128];
    snprintf(first, sizeof(first),
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    resp_array(w, n + 3);
    resp_simple(w, first);
    for (size_t i = 0; i < n; i++) {
        resp_simple(w, lines[i]);
    }
    resp_simple(w, "HELP");
    resp_simple(w, "    Prints this help.");
}

static void reply_help(struct resp_writer *w)
{
    static const char *const lines[] = {
        "(no subcommand)",
        "    Describes all commands.",
        "COUNT",
        "    Tells how many commands there are.",
        "DOCS [<command-name> ...]",
        "    Documents the named commands, or all: purpose, arguments.",
        "GETKEYS <full-command>",
        "    Picks the keys out of a whole command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Picks the keys out of a whole command, with what is done to each.",
        "INFO [<command-name> ...]",
        "    Describes the named commands, or all: arity, flags, keys.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Names the commands, all or those that pass the filter.",
        NULL,
    };
    command_help_reply(w, "COMMAND", lines);
}

void command_reply(struct resp_writer *w, const struct slice *argv, size_t argc)
{
    const struct command *c = command_find(argv, argc);
    INVARIANT(c != NULL);
    if (c->id == CMD_COMMAND) {
        reply_info(w, NULL, 0);
    } else if (c->id == CMD_COMMAND_INFO) {
        reply_info(w, argv + 2, argc - 2);
    } else if (c->id == CMD_COMMAND_DOCS) {
        reply_docs(w, argv + 2, argc - 2);
    } else if (c->id == CMD_COMMAND_COUNT) {
        resp_int(w, (int64_t)count_shown());
    } else if (c->id == CMD_COMMAND_LIST) {
        reply_list(w, argv, argc);
    } else if (c->id == CMD_COMMAND_GETKEYS) {
        reply_keys(w, argv + 2, argc - 2, false);
    } else if (c->id == CMD_COMMAND_GETKEYSANDFLAGS) {
        reply_keys(w, argv + 2, argc - 2, true);
    } else {
        INVARIANT(c->id == CMD_COMMAND_HELP);
        reply_help(w);
    }
}

void command_module_help(struct resp_writer *w)
{
    static const char *const lines[] = {
        "LIST",
        "    Shows the loaded modules: there are none.",
        "LOAD <path> [<arg> ...]",
        "    Is not served: there are no modules in Shoal.",
        "LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]",
        "    Is not served, either.",
        "UNLOAD <name>",
        "    Is not served, either.",
        NULL,
    };
    command_help_reply(w, "MODULE", lines);
}

bool command_script_debug(struct resp_writer *w, struct slice mode)
{
    if (slice_is(mode, "no")) {
        resp_ok(w);
    } else if (slice_is(mode, "yes") || slice_is(mode, "sync")) {
        resp_error(w, "ERR There is no script debugger in this version of Shoal: the connection is "
                      "closed, so that no script is executed for it");
        return false;
    } else {
        resp_error(w, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
    }
    return true;
}
