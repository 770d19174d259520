// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/config.h"

#include "node/serve/access.h"
#include "node/serve/account.h"
#include "node/serve/membership.h"
#include "node/serve/server.h"

#include "common/app/config_command.h"
#include "common/app/daemon.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/resp/errors.h"

#include <string.h>

static bool can_have_clients(int64_t wanted, struct errmsg *err)
{
    int64_t can = daemon_clients_possible(wanted, SERVER_SPARE_FDS);
    if (can < wanted) {
        errmsg_set(err,
                   "The operating system is not able to handle the specified number of clients, "
                   "try with %lld",
                   (long long)can);
    }
    return can >= wanted;
}

static bool on_change(void *arg, const struct option *o, struct errmsg *err)
{
    struct server *s = arg;
    struct errmsg why;
    bool listening = strcmp(o->name, "port") == 0 || strcmp(o->name, "bind") == 0;
    if (listening && !server_listen(s, &why)) {
        errmsg_set(err, strcmp(o->name, "port") == 0
                            ? "Unable to listen on this port. Check server logs."
                            : "Failed to bind to specified addresses.");
        return false;
    }
    if (strcmp(o->name, "zone") == 0 && strlen(s->settings->zone) >= ZONE_MAX) {
        errmsg_set(err, "longer than %d characters", ZONE_MAX - 1);
        return false;
    }
    if (strcmp(o->name, "weight") == 0 || strcmp(o->name, "zone") == 0) {
        membership_changed(s);
    }
    if (strncmp(o->name, "oom-score-adj", 13) == 0 &&
        !oom_score_apply(&s->oom_score, s->settings, err)) {
        return false;
    }
    if (strcmp(o->name, "maxclients") == 0 && !can_have_clients(s->settings->maxclients, err)) {
        return false;
    }
    if (strcmp(o->name, "requirepass") == 0) {
        access_requirepass(s);
        membership_password_changed(s);
    }
    server_settings_changed(s);
    return true;
}

static void reset_stats(void *arg)
{
    account_reset(arg);
}

void config_run(struct server *s, bool local, const struct slice *argv, size_t argc,
                struct resp_writer *w)
{
    int64_t may = s->settings->enable_protected_configs;
    struct config_context context = {
        .table = settings_options(),
        .values = s->settings,
        .path = s->conf_path,
        .foreign = true,
        .allow_protected = may == PROTECT_YES || (may == PROTECT_LOCAL && local),
        .on_change = on_change,
        .reset_stats = reset_stats,
        .arg = s,
    };
    config_command(&context, argv, argc, w);
}

static bool is_secret(struct slice name)
{
    const struct option *o = options_find(settings_options(), name);
    return o != NULL && (o->flags & OPT_SECRET) != 0;
}

void config_set_for_all(struct server *s, bool local, const struct slice *argv, size_t argc,
                        struct resp_writer *w)
{
    uint64_t version;
    if (argc < 5 || argc % 2 == 0 || !num_parse_u64(argv[2], &version)) {
        resp_error(w, "ERR SHOAL SETTINGS takes a version, names and values");
        return;
    }
    struct slice *words = mem_alloc(argc * sizeof(*words));
    size_t n = 2;
    size_t errors = w->errors;
    words[0] = SLICE("CONFIG");
    words[1] = SLICE("SET");
    for (size_t i = 3; i < argc; i += 2) {
        /* What was set later is here already, or comes. A password is to hold before the proxy's
         * next connection names it. */
        if (version >= s->settings_version || is_secret(argv[i])) {
            words[n++] = argv[i];
            words[n++] = argv[i + 1];
        }
    }
    if (n == 2) {
        resp_ok(w);
    } else {
        config_run(s, local, words, n, w);
    }
    mem_free(words);
    if (w->errors == errors) {
        s->settings_version = MAX(s->settings_version, version);
    }
}

void config_take(struct server *s, uint64_t version, const struct slice *pairs, size_t n)
{
    if (version <= s->settings_version) {
        return;
    }
    s->settings_version = version;
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (slice_is(pairs[i], "acl-users")) {
            access_take(s, pairs[i + 1]);
            continue;
        }
        if (slice_is(pairs[i], "hash-seed")) {
            membership_take_seed(s, pairs[i + 1]);
            continue;
        }
        const struct slice words[4] = {SLICE("CONFIG"), SLICE("SET"), pairs[i], pairs[i + 1]};
        struct resp_writer w = {.out = &s->sink, .proto = 2};
        config_run(s, true, words, 4, &w);
        if (w.errors > 0) {
            log_event(LOG_WARNING, "cluster", "a setting of the cluster is refused name=%.*s",
                      ARG_PRINT(pairs[i]));
        }
    }
    outbuf_fini(&s->sink);
    log_event(LOG_NOTICE, "cluster", "settings of the cluster taken version=%llu count=%zu",
              (unsigned long long)version, n / 2);
}
