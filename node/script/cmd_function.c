// SPDX-License-Identifier: BSD-3-Clause
/* FCALL, FUNCTION. */
#include "node/cmd/args.h"
#include "node/script/functions.h"

#include "common/base/glob.h"
#include "common/base/mem.h"
#include "common/cmd/reply.h"

/* ---- calling ---- */

static void call_function(struct call *c, bool read_only)
{
    struct scripts *s = scripts_of(c);
    const struct function *f = functions_find(s, c->argv[1]);
    int64_t n_keys;
    if (f == NULL) {
        resp_error(&c->w, "ERR Function not found");
        return;
    }
    if (!script_keys(c, 2, &n_keys, "ERR Bad number of keys provided") ||
        !script_may_begin(c, f->flags, read_only)) {
        return;
    }
    struct script_run run = {
        .flags = f->flags,
        .read_only = read_only || (f->flags & SCRIPT_NO_WRITES) != 0,
        .name = f->name,
    };
    lua_rawgeti(s->functions->lua, LUA_REGISTRYINDEX, f->ref);
    script_run(c, s->functions, &run, n_keys);
}

void cmd_fcall(struct call *c)
{
    call_function(c, false);
}

void cmd_fcall_ro(struct call *c)
{
    call_function(c, true);
}

/* ---- changing ---- */

/* The change is made; whoever keeps libraries is told. False: it was undone, and answered. */
static bool settle(struct call *c, struct change *ch)
{
    struct scripts *s = scripts_of(c);
    struct str why = {0};
    bool good = s->port.libraries_changed(s->port.arg, &why);
    if (good) {
        change_keep(s, ch);
        c->changes++;
    } else {
        change_undo(s, ch);
        resp_error(&c->w, str_cstr(&why));
    }
    str_fini(&why);
    return good;
}

static void answer_why(struct call *c, struct str *why)
{
    resp_error(&c->w, str_cstr(why));
    str_fini(why);
}

/* The text differs from RESTORE's. */
static bool is_taken(struct call *c, const struct change *ch)
{
    const struct library *l = ch->come;
    if (ch->policy == LIBRARIES_REPLACE ||
        functions_library(scripts_of(c), slice_str(l->name)) == NULL) {
        return false;
    }
    resp_errorf(&c->w, "ERR Library '%s' already exists", l->name);
    return true;
}

void cmd_function_load(struct call *c)
{
    struct scripts *s = scripts_of(c);
    struct change ch = {.policy = LIBRARIES_APPEND};
    struct str why = {0};
    for (size_t i = 2; i + 1 < c->argc; i++) {
        if (!arg_is(c, i, "REPLACE")) {
            resp_errorf(&c->w, "ERR Unknown option given: %.*s", ARG_PRINT(c->argv[i]));
            return;
        }
        ch.policy = LIBRARIES_REPLACE;
    }
    if (!change_add(s, &ch, c->argv[c->argc - 1], &why)) {
        answer_why(c, &why);
        return;
    }
    if (is_taken(c, &ch)) {
        change_undo(s, &ch);
        return;
    }
    struct str name = {0};
    str_appendz(&name, ch.come->name);
    if (!change_make(s, &ch, &why)) {
        answer_why(c, &why);
    } else if (settle(c, &ch)) {
        resp_bulk(&c->w, str_slice(&name));
    }
    str_fini(&name);
}

void cmd_function_delete(struct call *c)
{
    struct scripts *s = scripts_of(c);
    struct library *l = functions_library(s, c->argv[2]);
    if (l == NULL) {
        resp_error(&c->w, "ERR Library not found");
        return;
    }
    struct change ch = {.policy = LIBRARIES_APPEND};
    change_remove(s, &ch, l);
    if (settle(c, &ch)) {
        resp_ok(&c->w);
    }
}

static void wrong_arguments(struct call *c)
{
    resp_errorf(&c->w,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try FUNCTION "
                "HELP.",
                ARG_PRINT(c->argv[1]));
}

void cmd_function_flush(struct call *c)
{
    struct scripts *s = scripts_of(c);
    struct change ch = {.policy = LIBRARIES_FLUSH};
    struct str why = {0};
    if (c->argc > 3) {
        wrong_arguments(c);
    } else if (!script_flush_mode(c)) {
        resp_error(&c->w, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    } else if (!change_make(s, &ch, &why)) {
        answer_why(c, &why);
    } else if (settle(c, &ch)) {
        resp_ok(&c->w);
    }
}

void cmd_function_restore(struct call *c)
{
    struct scripts *s = scripts_of(c);
    struct change ch = {.policy = LIBRARIES_APPEND};
    struct str why = {0};
    if (c->argc > 4) {
        wrong_arguments(c);
        return;
    }
    if (c->argc == 4) {
        if (arg_is(c, 3, "FLUSH")) {
            ch.policy = LIBRARIES_FLUSH;
        } else if (arg_is(c, 3, "REPLACE")) {
            ch.policy = LIBRARIES_REPLACE;
        } else if (!arg_is(c, 3, "APPEND")) {
            resp_error(&c->w, "ERR Wrong restore policy given, value should be either FLUSH, "
                              "APPEND or REPLACE.");
            return;
        }
    }
    if (!change_add_payload(s, &ch, c->argv[2], &why)) {
        change_undo(s, &ch);
        answer_why(c, &why);
    } else if (!change_make(s, &ch, &why)) {
        answer_why(c, &why);
    } else if (settle(c, &ch)) {
        resp_ok(&c->w);
    }
}

/* ---- looking ---- */

static void put_flags(struct call *c, unsigned flags)
{
    size_t n = 0;
    for (unsigned bit = 1; script_flag_name(bit) != NULL; bit <<= 1) {
        n += (flags & bit) != 0;
    }
    resp_set(&c->w, n);
    for (unsigned bit = 1; script_flag_name(bit) != NULL; bit <<= 1) {
        if ((flags & bit) != 0) {
            resp_bulkz(&c->w, script_flag_name(bit));
        }
    }
}

static void put_library(struct call *c, const struct library *l, bool code)
{
    size_t n = 0;
    for (const struct function *f = l->functions; f != NULL; f = f->next) {
        n++;
    }
    resp_map(&c->w, code ? 4 : 3);
    resp_bulkz(&c->w, "library_name");
    resp_bulkz(&c->w, l->name);
    resp_bulkz(&c->w, "engine");
    resp_bulkz(&c->w, "LUA");
    resp_bulkz(&c->w, "functions");
    resp_array(&c->w, n);
    for (const struct function *f = l->functions; f != NULL; f = f->next) {
        resp_map(&c->w, 3);
        resp_bulkz(&c->w, "name");
        resp_bulkz(&c->w, f->name);
        resp_bulkz(&c->w, "description");
        if (f->description == NULL) {
            resp_nil(&c->w);
        } else {
            resp_bulkz(&c->w, f->description);
        }
        resp_bulkz(&c->w, "flags");
        put_flags(c, f->flags);
    }
    if (code) {
        resp_bulkz(&c->w, "library_code");
        resp_bulk(&c->w, str_slice(&l->code));
    }
}

static bool wanted(const struct library *l, struct slice pattern)
{
    return pattern.ptr == NULL || glob_match(pattern, slice_str(l->name), true);
}

void cmd_function_list(struct call *c)
{
    struct slice pattern = {0};
    bool code = false;
    for (size_t i = 2; i < c->argc; i++) {
        if (!code && arg_is(c, i, "WITHCODE")) {
            code = true;
        } else if (pattern.ptr == NULL && arg_is(c, i, "LIBRARYNAME")) {
            if (i + 1 >= c->argc) {
                resp_error(&c->w, "ERR library name argument was not given");
                return;
            }
            pattern = c->argv[++i];
        } else {
            resp_errorf(&c->w, "ERR Unknown argument %.*s", ARG_PRINT(c->argv[i]));
            return;
        }
    }
    struct scripts *s = scripts_of(c);
    size_t n = 0;
    HMAP_FOREACH(it, &s->libraries) {
        n += wanted(container_of(it, struct library, node), pattern);
    }
    resp_array(&c->w, n);
    HMAP_FOREACH(it, &s->libraries) {
        const struct library *l = container_of(it, struct library, node);
        if (wanted(l, pattern)) {
            put_library(c, l, code);
        }
    }
}

static void put_running(struct call *c, const struct script_run *run)
{
    const struct script_port *port = &scripts_of(c)->port;
    resp_map(&c->w, 3);
    resp_bulkz(&c->w, "name");
    resp_bulkz(&c->w, run->name);
    resp_bulkz(&c->w, "command");
    resp_array(&c->w, run->call->argc);
    for (size_t i = 0; i < run->call->argc; i++) {
        resp_bulk(&c->w, run->call->argv[i]);
    }
    resp_bulkz(&c->w, "duration_ms");
    resp_int(&c->w, (port->now_us(port->arg) - run->started_us) / 1000);
}

void cmd_function_stats(struct call *c)
{
    const struct scripts *s = scripts_of(c);
    if (s->run != NULL && s->run->kind == SCRIPT_EVAL) {
        resp_error(&c->w, script_busy_error(SCRIPT_EVAL));
        return;
    }
    resp_map(&c->w, 2);
    resp_bulkz(&c->w, "running_script");
    if (s->run == NULL) {
        resp_nil(&c->w);
    } else {
        put_running(c, s->run);
    }
    resp_bulkz(&c->w, "engines");
    resp_map(&c->w, 1);
    resp_bulkz(&c->w, "LUA");
    resp_map(&c->w, 2);
    resp_bulkz(&c->w, "libraries_count");
    resp_int(&c->w, (int64_t)s->libraries.count);
    resp_bulkz(&c->w, "functions_count");
    resp_int(&c->w, (int64_t)s->n_functions);
}

void cmd_function_dump(struct call *c)
{
    struct str payload = {0};
    scripts_dump(scripts_of(c), &payload);
    resp_bulk(&c->w, str_slice(&payload));
    str_fini(&payload);
}

void cmd_function_kill(struct call *c)
{
    script_kill(c, SCRIPT_FUNCTION);
}

void cmd_function_help(struct call *c)
{
    static const char *const lines[] = {
        "DELETE <library-name>",
        "    Remove a library and its functions.",
        "DUMP",
        "    Return all libraries as bytes for FUNCTION RESTORE.",
        "FLUSH [ASYNC|SYNC]",
        "    Remove all libraries.",
        "KILL",
        "    End the function that runs, if it has written nothing yet.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    Describe the libraries: name, engine, functions, and the code if asked for.",
        "LOAD [REPLACE] <library-code>",
        "    Make a library from its code, whose first line names it: #!lua name=x",
        "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
        "    Bring back what FUNCTION DUMP returned: in place of all libraries (FLUSH), beside",
        "    them (APPEND, the default), or in place of those of the same name (REPLACE).",
        "STATS",
        "    Describe the function that runs, and count what is loaded.",
        NULL,
    };
    command_help_reply(&c->w, "FUNCTION", lines);
}
