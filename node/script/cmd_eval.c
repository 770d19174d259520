// SPDX-License-Identifier: BSD-3-Clause
/* EVAL and its kin, SCRIPT. */
#include "node/cmd/args.h"
#include "node/script/script_priv.h"

#include "common/cmd/reply.h"

static void run_cached(struct call *c, const struct cached *k, bool read_only)
{
    int64_t n_keys;
    if (!script_keys(c, 2, &n_keys, ERR_NOT_INT) || !script_may_begin(c, k->flags, read_only)) {
        return;
    }
    struct engine *e = scripts_of(c)->eval;
    struct script_run run = {
        .flags = k->flags,
        .read_only = read_only || (k->flags & SCRIPT_NO_WRITES) != 0,
    };
    char sha[SHA1_HEX_LEN + 1]; /* a script could flush the cache */
    memcpy(sha, k->sha, sizeof(sha));
    run.name = sha;
    lua_rawgeti(e->lua, LUA_REGISTRYINDEX, k->ref);
    script_run(c, e, &run, n_keys);
}

static void eval(struct call *c, bool read_only)
{
    int64_t n_keys; /* looked at before the script is */
    if (script_keys(c, 2, &n_keys, ERR_NOT_INT)) {
        const struct cached *k = cache_script(c, c->argv[1]);
        if (k != NULL) {
            run_cached(c, k, read_only);
        }
    }
}

static void evalsha(struct call *c, bool read_only)
{
    const struct cached *k = cache_by_sha(scripts_of(c), c->argv[1]);
    if (k == NULL) {
        resp_error(&c->w, "NOSCRIPT No matching script. Please use EVAL.");
    } else {
        run_cached(c, k, read_only);
    }
}

void cmd_eval(struct call *c)
{
    eval(c, false);
}

void cmd_eval_ro(struct call *c)
{
    eval(c, true);
}

void cmd_evalsha(struct call *c)
{
    evalsha(c, false);
}

void cmd_evalsha_ro(struct call *c)
{
    evalsha(c, true);
}

void cmd_script_load(struct call *c)
{
    const struct cached *k = cache_script(c, c->argv[2]);
    if (k != NULL) {
        resp_bulk(&c->w, slice_of(k->sha, SHA1_HEX_LEN));
    }
}

void cmd_script_exists(struct call *c)
{
    resp_array(&c->w, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        resp_int(&c->w, cache_by_sha(scripts_of(c), c->argv[i]) != NULL);
    }
}

/* Lua is started anew, so that nothing of the scripts is left; not while one of them asks. */
void cmd_script_flush(struct call *c)
{
    struct scripts *s = scripts_of(c);
    if (!script_flush_mode(c)) {
        resp_error(&c->w, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    cache_clear(s);
    if (s->run == NULL || s->run->engine != s->eval) {
        engine_free(&s->eval);
        s->eval = engine_new(s, ENGINE_EVAL);
    }
    resp_ok(&c->w);
}

void cmd_script_kill(struct call *c)
{
    script_kill(c, SCRIPT_EVAL);
}

void cmd_script_help(struct call *c)
{
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    The debugger is not served: only NO is accepted.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Tell which of the scripts are in the cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Empty the cache of scripts.",
        "KILL",
        "    End the script that runs, if it has written nothing yet.",
        "LOAD <script>",
        "    Put a script into the cache without running it.",
        NULL,
    };
    command_help_reply(&c->w, "SCRIPT", lines);
}
