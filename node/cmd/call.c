// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/call.h"

#include "node/cmd/handlers.h"
#include "node/cmd/record.h"
#include "node/cmd/session_priv.h"
#include "node/keyspace/effect.h"
#include "node/keyspace/evict.h"

#include "common/base/mem.h"
#include "common/cmd/keys.h"
#include "common/resp/errors.h"

#include <stdio.h>

void call_table_data(struct call_table *t)
{
#define HANDLER(ID, name) t->fn[CMD_##ID] = cmd_##name;
#include "node/cmd/handlers.def"
#undef HANDLER
}

/* Refuses a command: an open transaction has failed, and EXEC itself ends with the reason. */
static void refuse(struct call *c, const char *error)
{
    session_tx_failed(c->session);
    if (c->cmd->id == CMD_EXEC && c->session->in_multi) {
        tx_abort(c, error);
    } else {
        resp_error(&c->w, error);
    }
}

static bool runs_in_multi(const struct command *cmd)
{
    switch (cmd->id) {
    case CMD_EXEC:
    case CMD_DISCARD:
    case CMD_MULTI:
    case CMD_WATCH:
    case CMD_QUIT:
    case CMD_RESET:
        return true;
    default:
        return false;
    }
}

static bool asks_for_room(const struct call *c)
{
    return c->cmd->id == CMD_SHOAL && c->argc > 1 && slice_is(c->argv[1], "room");
}

/* Whether what this command may come to need is not to be had. In a transaction the queue itself
 * takes memory, so all but the ways out of it are refused; that of a proxy's client is the proxy's,
 * which asks by SHOAL ROOM. */
static bool out_of_memory(struct call *c)
{
    const struct session *s = c->session;
    if (LIKELY(evict_excess(c->ks) == 0)) {
        return false;
    }
    if (c->table->relieve != NULL) {
        c->table->relieve(c);
    }
    switch (keyspace_evict(c->ks, c->now_ms, evict_patience(c->ks->settings.maxmemory_tenacity))) {
    case EVICT_ENOUGH:
        return false;
    case EVICT_GOES_ON: /* the server goes on with it */
        return false;
    case EVICT_FAILED:
        break;
    }
    if (c->cmd->id == CMD_EXEC) {
        return s->tx_denyoom;
    }
    if (s->in_multi && !s->in_exec) {
        return !s->relayed &&
               (!runs_in_multi(c->cmd) || c->cmd->id == CMD_MULTI || c->cmd->id == CMD_WATCH);
    }
    return (c->cmd->flags & CF_DENYOOM) != 0 || asks_for_room(c);
}

/* An object's header has 32 bits for the key's length. Only a proto-max-bulk-len above that lets a
 * longer one come this far. */
static bool key_too_long(const struct call *c)
{
    if (LIKELY(c->ks->settings.proto_max_bulk_len <= UINT32_MAX)) {
        return false;
    }
    struct key_list keys;
    key_list_init(&keys);
    bool too_long = false;
    if (keys_find(c->cmd, c->argv, c->argc, &keys) == KEYS_OK) {
        for (uint32_t i = 0; i < keys.count; i++) {
            too_long |= c->argv[keys.keys[i].index].len > UINT32_MAX;
        }
    }
    key_list_fini(&keys);
    return too_long;
}

/* False: the command was refused. */
static bool admit(struct call *c)
{
    char error[COMMAND_ERROR_MAX];
    if (UNLIKELY(!command_arity_ok(c->cmd, c->argc))) {
        command_error_arity(error, c->cmd);
        refuse(c, error);
    } else if (UNLIKELY(c->table->fn[c->cmd->id] == NULL)) {
        snprintf(error, sizeof(error), ERR_NOT_SERVED, c->cmd->full_name);
        refuse(c, error);
    } else if (UNLIKELY(key_too_long(c))) {
        refuse(c, "ERR key exceeds maximum allowed size (4 GiB)");
    } else if (UNLIKELY(out_of_memory(c))) {
        refuse(c, ERR_OOM);
    } else if (UNLIKELY(!record_has_room(c))) {
        refuse(c, ERR_ENTRY);
    } else if (UNLIKELY(c->session->in_multi && (c->cmd->flags & CF_NO_MULTI) != 0)) {
        refuse(c, "ERR Command not allowed inside a transaction");
    } else {
        return true;
    }
    return false;
}

static inline void run_handler(struct call *c, bool recorded)
{
    struct session *s = c->session;
    c->w.proto = s->proto;
    c->db = (struct db){.ks = c->ks, .now_ms = c->now_ms, .index = s->db, .no_touch = s->no_touch};
    c->shard = c->only == 0 ? KEYSPACE_SERVED : (int)c->only - 1;
    if (c->table->before != NULL) {
        c->table->before(c);
    }
    if (recorded) {
        record_begin(c);
    }
    c->table->fn[c->cmd->id](c);
    if (recorded) {
        record_end(c);
    }
    if (c->table->after != NULL) {
        c->table->after(c);
    }
}

void call_handler(struct call *c)
{
    run_handler(c, c->ks->collector != NULL);
}

/* A group of effects of its own. */
static void run_recorded(struct call *c)
{
    size_t before = c->w.out->bytes;
    record_open(c);
    run_handler(c, true);
    record_close(c, before);
}

void call_run(const struct call_table *t, struct call *c)
{
    struct session *s = c->session;
    c->table = t;
    c->changes = 0;
    c->error_counted = false;
    c->w.proto = s->proto;
    if (!admit(c)) {
        return;
    }
    if (UNLIKELY(s->in_multi) && !runs_in_multi(c->cmd)) {
        session_queue(s, c->cmd, c->argv, c->argc);
        resp_simple(&c->w, "QUEUED");
        return;
    }
    /* Open: a slow script is under way, and this one of the few commands that may run beside it. */
    if (LIKELY(c->ks->collector == NULL) || c->ks->collector->open) {
        run_handler(c, false);
    } else {
        run_recorded(c);
    }
}

void call_again(const struct call_table *t, struct call *c)
{
    c->table = t;
    c->changes = 0;
    c->probe_arg = 0;
    c->wait.again = true;
    c->wait.asked = false;
    if (c->ks->collector == NULL) {
        run_handler(c, false);
    } else {
        run_recorded(c);
    }
}

enum acl_answer call_check_user(struct call *c, const struct command *cmd, const struct slice *argv,
                                size_t argc, const char *context)
{
    const struct acl_user *u = c->session->user;
    struct key_list keys;
    size_t at;
    if (LIKELY(u == NULL)) {
        return ACL_YES;
    }
    key_list_init(&keys);
    enum acl_answer why = acl_check(u, cmd, argv, argc, &keys, &at);
    key_list_fini(&keys);
    if (why != ACL_YES && c->table->denied != NULL) {
        c->table->denied(c, cmd, argv, why, at, context);
    }
    return why;
}

const struct slice *call_copy_words(const struct slice *argv, size_t argc)
{
    size_t bytes = 0;
    for (size_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    struct slice *copy = mem_alloc(argc * sizeof(*copy) + bytes);
    char *to = (char *)(copy + argc);
    for (size_t i = 0; i < argc; i++) {
        copy[i] = slice_of(to, argv[i].len);
        memcpy(to, argv[i].ptr == NULL ? "" : argv[i].ptr, argv[i].len);
        to += argv[i].len;
    }
    return copy;
}

void call_prefetch_bucket(struct call *c, size_t arg, int slot)
{
    c->probe_arg = arg;
    c->probe = keyspace_probe(c->ks, slot, c->argv[arg]);
    keyspace_prefetch_bucket(c->ks, c->session->db, &c->probe);
}

void call_prefetch_object(const struct call *c)
{
    if (c->probe_arg != 0) {
        keyspace_prefetch_object(c->ks, c->session->db, &c->probe);
    }
}
