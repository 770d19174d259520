// SPDX-License-Identifier: BSD-3-Clause
/* shoal-node: reads its directives, makes server, commands and agent, joins them, runs. */
#include "node/admin/admin.h"
#include "node/agent/agent.h"
#include "node/serve/durable.h"
#include "node/serve/identity.h"
#include "node/serve/membership.h"
#include "node/serve/server.h"
#include "node/serve/settings.h"

#include "common/app/crash.h"
#include "common/app/daemon.h"
#include "common/app/log_file.h"
#include "common/app/redis_directives.h"
#include "common/app/signals.h"
#include "common/app/version.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/io/addr.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct program {
    struct settings settings;
    char *conf_path;
    struct str ignored; /* directives without effect, until they are logged */
    struct log_file *log;
    struct loop *loop;
    struct signals *signals;
    struct server *server;
    struct identity identity;
    char host[NODE_HOST_MAX]; /* announced */
    bool has_pidfile;
};

/* --- words on the command line that end the program at once --- */

static bool asks_for(int argc, char **argv, const char *word)
{
    return argc == 2 && strcmp(argv[1], word) == 0;
}

static bool answered(int argc, char **argv)
{
    struct str text = {0};
    if (asks_for(argc, argv, "--version") || asks_for(argc, argv, "-v")) {
        str_printf(&text, "shoal-node %s (speaks Redis %s)\n", SHOAL_VERSION, SHOAL_REDIS_VERSION);
    } else if (asks_for(argc, argv, "--help") || asks_for(argc, argv, "-h")) {
        options_help_text(settings_options(), &text);
    } else if (asks_for(argc, argv, "--print-conf")) {
        options_conf_text(settings_options(), &text);
    } else {
        return false;
    }
    fputs(str_cstr(&text), stdout);
    str_fini(&text);
    return true;
}

/* --- events --- */

static void on_signal(void *arg, int signo)
{
    struct program *p = arg;
    struct errmsg err;
    switch (signo) {
    case SIGTERM:
    case SIGINT:
        log_event(LOG_NOTICE, "server", "signal received name=%s node=%s",
                  signo == SIGTERM ? "SIGTERM" : "SIGINT", p->server->id);
        if (p->server->stopping) {
            loop_stop(p->loop); /* asked twice: at once */
        } else if (p->settings.save.n > 0 && p->settings.stand_alone &&
                   !durable_last_save(p->server)) {
            log_event(LOG_WARNING, "server", "Error trying to save the DB, can't exit. node=%s",
                      p->server->id);
        } else {
            daemon_notify("STOPPING=1");
            server_stop(p->server);
        }
        break;
    case SIGHUP:
        if (p->log != NULL && !log_file_reopen(p->log, &err)) {
            log_event(LOG_WARNING, "server", "log file not opened anew reason=\"%s\"", err.text);
        }
        break;
    default:
        break;
    }
}

/* --- putting it together --- */

/* What others reach this node under: as told, else the first address it listens on, else what the
 * coordinator sees. */
static void choose_host(struct program *p)
{
    const struct settings *o = &p->settings;
    const char *host = o->announce_host;
    char first[NODE_HOST_MAX] = "";
    if (host[0] == '\0') {
        const char *from = o->bind + strspn(o->bind, " \t-");
        size_t n = strcspn(from, " \t");
        if (n < sizeof(first)) {
            memcpy(first, from, n);
        }
        bool any = strcmp(first, "*") == 0 || strcmp(first, "0.0.0.0") == 0 ||
                   strcmp(first, "::") == 0 || strcmp(first, "::*") == 0;
        host = any ? "" : first;
    }
    snprintf(p->host, sizeof(p->host), "%s", host);
}

static bool join_cluster(struct program *p, struct errmsg *err)
{
    const struct settings *o = &p->settings;
    struct server *s = p->server;
    if (!identity_load(&p->identity, o->dir, s->id, err)) {
        return false;
    }
    memcpy(s->id, p->identity.id, sizeof(s->id));
    choose_host(p);
    struct agent_settings as = {
        .incarnation = p->identity.incarnation,
        .port = (int)(o->announce_port != 0 ? o->announce_port : s->port),
        .weight = (uint32_t)o->weight,
        /* An earlier one acknowledged nothing, or all that it did is here. */
        .durable = p->identity.incarnation == 1 || durable_lost_nothing(s),
        .password = p->settings.requirepass,
    };
    memcpy(as.id, s->id, sizeof(as.id));
    memcpy(as.host, p->host, sizeof(as.host));
    snprintf(as.zone, sizeof(as.zone), "%s", o->zone);
    if (strlen(o->zone) >= sizeof(as.zone)) {
        errmsg_set(err, "zone: longer than %zu characters", sizeof(as.zone) - 1);
        return false;
    }
    membership_start(s, &as);
    if (o->coordinator[0] == '\0') {
        return true;
    }
    char host[NODE_HOST_MAX];
    int port;
    if (!addr_split(o->coordinator, host, sizeof(host), &port)) {
        errmsg_set(err, "coordinator: not host:port: '%s'", o->coordinator);
        return false;
    }
    return membership_join(s, slice_str(host), port, err);
}

static bool start(struct program *p, const char *executable, struct errmsg *err)
{
    const struct settings *o = &p->settings;
    if (o->daemonize && !daemon_detach(err)) {
        return false;
    }
    mem_purge_aside();
    log_set_level((enum log_level)o->loglevel);
    p->log = log_file_open(o->logfile, (enum log_file_format)o->log_format, err);
    if (p->log == NULL) {
        return false;
    }
    crash_set_fd(log_file_fd(p->log));
    p->loop = loop_new();
    p->signals = signals_new(p->loop, on_signal, p);
    log_event(LOG_NOTICE, "server", "starting version=%s pid=%d conf=\"%s\"", SHOAL_VERSION,
              (int)getpid(), p->conf_path == NULL ? "" : p->conf_path);
    redis_directives_log(&p->ignored);
    p->server = server_new(p->loop, &p->settings, err);
    if (p->server == NULL) {
        return false;
    }
    admin_handlers(&p->server->table);
    p->server->conf_path = p->conf_path == NULL ? NULL : mem_strdup(p->conf_path);
    p->server->executable = mem_strdup(executable);
    p->server->memory_at_start = mem_used();
    /* Not before: where another one listens, the file is that one's. */
    p->has_pidfile = daemon_write_pidfile(o->pidfile, err);
    return p->has_pidfile && (o->stand_alone || join_cluster(p, err));
}

static void finish(struct program *p)
{
    if (p->server != NULL) {
        membership_stop(p->server);
    }
    server_free(&p->server);
    signals_free(&p->signals);
    loop_free(&p->loop);
    if (p->has_pidfile) {
        daemon_remove_pidfile(p->settings.pidfile);
    }
    identity_release(&p->identity);
    crash_set_fd(2);
    log_file_close(&p->log);
    options_fini(settings_options(), &p->settings);
    str_fini(&p->ignored);
    mem_free(p->conf_path);
}

int main(int argc, char **argv)
{
    static struct program p = {.identity = {.lock_fd = -1}};
    struct errmsg err = {0};
    const char *program = argv[0];
    int rc = 0;
    if (answered(argc, argv)) {
        return 0;
    }
    bool only_check = argc > 1 && strcmp(argv[1], "--check-conf") == 0;
    argc -= only_check;
    argv += only_check;
    signals_block();
    crash_install("shoal-node");
    options_init(settings_options(), &p.settings);
    if (!options_load(settings_options(), &p.settings, argc, argv, NULL, NULL, &p.conf_path,
                      &p.ignored, &err) ||
        (!only_check && !start(&p, program, &err))) {
        fprintf(stderr, "shoal-node: %s\n", err.text);
        if (p.log != NULL && p.settings.logfile[0] != '\0') {
            log_event(LOG_WARNING, "server", "not started: %s", err.text);
        }
        rc = 1;
    } else if (!only_check) {
        INVARIANT(p.server != NULL);
        log_event(LOG_NOTICE, "server", "Ready to accept connections port=%d node=%s%s",
                  p.server->port, p.server->id, p.settings.stand_alone ? " stand-alone=yes" : "");
        daemon_notify("READY=1");
        loop_run(p.loop);
        log_event(LOG_NOTICE, "server", "stopped, ready to exit, bye bye... node=%s", p.server->id);
        rc = p.server->failed ? 1 : 0;
    }
    finish(&p);
    return rc;
}
