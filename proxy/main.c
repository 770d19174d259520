// SPDX-License-Identifier: BSD-3-Clause
/* shoal-proxy: reads its directives, makes coordinator, workers and local nodes, joins them, runs.
 *
 * Threads: this one takes signals and looks after local nodes; one runs the coordinator; each
 * worker has its own. Order of the end: workers answer what is under way, the coordinator, the
 * nodes. */
#include "proxy/admin/admin.h"
#include "proxy/control/control.h"
#include "proxy/exec/local.h"
#include "proxy/front/options.h"
#include "proxy/front/worker.h"
#include "proxy/local/local_nodes.h"

#include "common/app/crash.h"
#include "common/app/daemon.h"
#include "common/app/log_file.h"
#include "common/app/redis_directives.h"
#include "common/app/signals.h"
#include "common/app/version.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/mailbox.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct words_list {
    char **words;
    size_t n;
};

struct program {
    struct proxy_options options;
    char *conf_path;
    struct str ignored;          /* directives without effect, until they are logged */
    struct words_list node_args; /* handed on to local nodes */
    struct log_file *log;
    struct loop *loop;
    struct mailbox *mailbox;
    struct signals *signals;
    struct local_table *local;
    struct control *control;
    struct workers *workers;
    struct local_nodes *nodes;
    bool ready;
    bool stopping;
    bool has_pidfile;
};

static void add_word(struct words_list *l, const char *word)
{
    l->words = mem_realloc(l->words, (l->n + 1) * sizeof(char *));
    l->words[l->n++] = mem_strdup(word);
}

/* What each local node has for itself, and is told by local_nodes.h. */
static bool is_each_nodes_own(const char *name)
{
    static const char *const names[] = {"port",    "dir",           "coordinator", "stand-alone",
                                        "pidfile", "announce-port", "daemonize"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* --node-maxmemory 1gb: a directive for the local nodes alone. */
static bool take_node_directive(void *arg, const char *name, struct slice value, struct errmsg *err)
{
    struct words_list *l = arg;
    if (strncmp(name, "node-", 5) != 0 || name[5] == '\0') {
        errmsg_set(err, "unknown directive");
        return false;
    }
    if (is_each_nodes_own(name + 5)) {
        errmsg_set(err, "each local node has its own; see local-nodes-port and dir");
        return false;
    }
    struct str word = {0};
    str_printf(&word, "--%s", name + 5);
    add_word(l, str_cstr(&word));
    str_clear(&word);
    str_append_slice(&word, value);
    add_word(l, str_cstr(&word));
    str_fini(&word);
    return true;
}

/* The password that nodes must know, as a line of a file; what it is now, at each start of one. */
static void secret_directives(const struct proxy_options *o, struct str *to)
{
    const char *password = proxy_options_node_password(o);
    if (password[0] != '\0') {
        str_appendz(to, "requirepass ");
        str_append_quoted(to, slice_str(password));
        str_append_char(to, '\n');
    }
}

/* Directives that both programs know and that were set here; no secrets. */
static void hand_on_shared(struct program *p)
{
    const struct options_table *t = proxy_options_table();
    struct proxy_options defaults;
    struct str name = {0}, value = {0}, fallback = {0};
    options_init(t, &defaults);
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        if (!(o->flags & OPT_SHARED) || (o->flags & OPT_SECRET)) {
            continue;
        }
        str_clear(&value);
        str_clear(&fallback);
        options_print(t, &p->options, o, &value);
        options_print(t, &defaults, o, &fallback);
        if (!slice_eq(str_slice(&value), str_slice(&fallback))) {
            str_clear(&name);
            str_printf(&name, "--%s", o->name);
            add_word(&p->node_args, str_cstr(&name));
            add_word(&p->node_args, str_cstr(&value));
        }
    }
    str_fini(&name);
    str_fini(&value);
    str_fini(&fallback);
    options_fini(t, &defaults);
}

static void say_ready(struct program *p)
{
    p->ready = true;
    log_event(LOG_NOTICE, "proxy", "Ready to accept connections port=%d workers=%d pid=%d",
              workers_port(p->workers), workers_count(p->workers), (int)getpid());
    daemon_notify("READY=1");
}

static bool all_served(const struct map *m)
{
    for (int i = 0; i < m->n_shards; i++) {
        if (m->shards[i].primary == NODE_NONE) {
            return false;
        }
    }
    return m->assigned;
}

static void on_mail(void *arg, struct mail *m)
{
    struct program *p = arg;
    if (m->kind == WORKERS_OPTIONS) {
        struct workers_options_mail *changed = container_of(m, struct workers_options_mail, mail);
        if (p->nodes != NULL) {
            struct str secrets = {0};
            secret_directives(changed->options, &secrets);
            local_nodes_set_directives(p->nodes, str_cstr(&secrets));
            str_fini(&secrets);
        }
        workers_options_mail_free(changed);
        return;
    }
    if (m->kind == CONTROL_LOADS || m->kind == CONTROL_SETTINGS) {
        mem_free(m); /* the workers' business */
        return;
    }
    struct control_map_mail *mail = container_of(m, struct control_map_mail, mail);
    INVARIANT(m->kind == CONTROL_MAP);
    if (!p->ready && p->options.local_nodes > 0 && all_served(mail->map)) {
        say_ready(p);
    }
    map_unref(&mail->map);
    mem_free(mail);
}

static void nodes_stopped(void *arg)
{
    struct program *p = arg;
    loop_stop(p->loop);
}

static void stop(struct program *p)
{
    if (p->stopping) {
        return;
    }
    p->stopping = true;
    log_event(LOG_NOTICE, "proxy", "stopping");
    daemon_notify("STOPPING=1");
    workers_stop(p->workers);
    if (p->nodes != NULL) {
        /* First: nodes that are told to end have not failed, and the next start finds them in
         * their places. */
        control_stop(p->control);
        local_nodes_stop(p->nodes, p->options.local_nodes_stop_timeout_ms, nodes_stopped, p);
    } else {
        loop_stop(p->loop);
    }
}

static void on_signal(void *arg, int signo)
{
    struct program *p = arg;
    struct errmsg err;
    if (signo == SIGTERM || signo == SIGINT) {
        stop(p);
    } else if (signo == SIGHUP && !log_file_reopen(p->log, &err)) {
        log_event(LOG_WARNING, "proxy", "log file: %s", err.text);
    }
}

static bool start_nodes(struct program *p, struct errmsg *err)
{
    char coordinator[64];
    struct proxy_options *o = &p->options;
    struct str secrets = {0};
    if (o->local_nodes == 0) {
        return true;
    }
    hand_on_shared(p);
    secret_directives(o, &secrets);
    snprintf(coordinator, sizeof(coordinator), "127.0.0.1:%d", control_port(p->control));
    const struct local_nodes_settings s = {
        .count = (int)o->local_nodes,
        .dir = o->dir,
        .binary = o->node_binary[0] == '\0' ? NULL : o->node_binary,
        .coordinator = coordinator,
        .first_port = (int)o->local_nodes_port,
        .restart = o->local_nodes_restart,
        .restart_delay_ms = o->local_nodes_restart_delay_ms,
        .args = (const char *const *)p->node_args.words,
        .n_args = p->node_args.n,
        .directives = str_cstr(&secrets),
    };
    if (local_nodes_check(&s, err)) {
        p->nodes = local_nodes_new(p->loop, &s, err);
    }
    str_fini(&secrets);
    return p->nodes != NULL;
}

/* Without local nodes directives for them mean nothing. */
static void note_unused(struct program *p)
{
    for (size_t i = 0; p->options.local_nodes == 0 && i < p->node_args.n; i += 2) {
        str_printf(&p->ignored, " node-%s", p->node_args.words[i] + 2);
    }
}

/* To what the system has file descriptors for. */
static void lower_maxclients(struct proxy_options *o)
{
    int64_t most = daemon_clients_possible(o->maxclients, WORKERS_SPARE_FDS);
    if (most < o->maxclients) {
        log_event(LOG_WARNING, "proxy", "maxclients lowered: too few open files from=%lld to=%lld",
                  (long long)o->maxclients, (long long)most);
        o->maxclients = most;
    }
}

static bool start(struct program *p, struct errmsg *err)
{
    struct proxy_options *o = &p->options;
    struct control_settings cs;
    log_set_level((enum log_level)o->loglevel);
    if (o->daemonize && !daemon_detach(err)) {
        return false;
    }
    mem_purge_aside();
    p->log = log_file_open(o->logfile,
                           o->log_format == LOG_FORMAT_JSON ? LOG_FILE_JSON : LOG_FILE_TEXT, err);
    if (p->log == NULL) {
        return false;
    }
    crash_set_fd(log_file_fd(p->log));
    note_unused(p);
    redis_directives_log(&p->ignored);
    lower_maxclients(o);
    p->loop = loop_new();
    p->mailbox = mailbox_new(p->loop, on_mail, p);
    p->signals = signals_new(p->loop, on_signal, p);
    p->local = local_table_new();
    admin_fill(p->local);
    control_settings_of(o, &cs);
    p->control = control_new(&cs, err);
    if (p->control == NULL && o->control_port < 0 && o->local_nodes > 0 && cs.port != 0) {
        /* Local nodes are told which; the usual one was only a courtesy to others. */
        cs.port = 0;
        p->control = control_new(&cs, err);
    }
    if (p->control == NULL) {
        return false;
    }
    const struct workers_config wc = {
        .options = o,
        .local = p->local,
        .control = p->control,
        .conf_path = p->conf_path,
        .watcher = p->mailbox,
    };
    p->workers = workers_new(&wc, err);
    if (p->workers == NULL) {
        return false;
    }
    control_subscribe(p->control, p->mailbox);
    control_start(p->control);
    workers_start(p->workers);
    if (!start_nodes(p, err)) {
        return false;
    }
    p->has_pidfile = daemon_write_pidfile(o->pidfile, err);
    return p->has_pidfile;
}

static void finish(struct program *p)
{
    if (p->workers != NULL) {
        workers_stop(p->workers);
    }
    local_nodes_free(&p->nodes);
    if (p->control != NULL) {
        control_stop(p->control);
    }
    workers_free(&p->workers);
    mailbox_free(&p->mailbox);
    control_free(&p->control);
    local_table_free(&p->local);
    signals_free(&p->signals);
    loop_free(&p->loop);
    if (p->has_pidfile) { /* else it is another's, who is why we end */
        daemon_remove_pidfile(p->options.pidfile);
    }
    log_file_close(&p->log);
    for (size_t i = 0; i < p->node_args.n; i++) {
        mem_free(p->node_args.words[i]);
    }
    mem_free(p->node_args.words);
    str_fini(&p->ignored);
    mem_free(p->conf_path);
    options_fini(proxy_options_table(), &p->options);
}

/* --help, --version, and what makes conf/shoal-proxy.conf: true if that was all. */
static bool only_asked(int argc, char **argv)
{
    struct str text = {0};
    if (argc < 2) {
        return false;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-v") == 0) {
        printf("shoal-proxy %s (as Redis %s)\n", SHOAL_VERSION, SHOAL_REDIS_VERSION);
        return true;
    }
    if (strcmp(argv[1], "--print-conf") == 0) {
        options_conf_text(proxy_options_table(), &text);
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        options_help_text(proxy_options_table(), &text);
    } else {
        return false;
    }
    fputs(str_cstr(&text), stdout);
    str_fini(&text);
    return true;
}

int main(int argc, char **argv)
{
    struct program p = {0};
    struct errmsg err;
    int code = 0;
    if (only_asked(argc, argv)) {
        return 0;
    }
    bool only_check = argc > 1 && strcmp(argv[1], "--check-conf") == 0;
    argc -= only_check;
    argv += only_check;
    signals_block();
    crash_install("shoal-proxy " SHOAL_VERSION);
    options_init(proxy_options_table(), &p.options);
    if (!options_load(proxy_options_table(), &p.options, argc, argv, take_node_directive,
                      &p.node_args, &p.conf_path, &p.ignored, &err) ||
        !proxy_options_check(&p.options, &err)) {
        fprintf(stderr, "shoal-proxy: %s\n", err.text);
        finish(&p);
        return 1;
    }
    if (only_check) {
        finish(&p);
        return 0;
    }
    if (start(&p, &err)) {
        if (p.options.local_nodes == 0) {
            say_ready(&p);
        }
        loop_run(p.loop);
    } else {
        fprintf(stderr, "shoal-proxy: %s\n", err.text);
        if (p.log != NULL && p.options.logfile[0] != '\0') {
            log_event(LOG_WARNING, "proxy", "not started: %s", err.text);
        }
        code = 1;
    }
    finish(&p);
    return code;
}
