// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/local/local_nodes.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES_MAGIC    0x10ca1e55u
#define DELAY_MAX_MS   30000
#define QUIET_MS       60000 /* a node that ran so long starts with the first delay again */
#define START_FAIL_MS  1500  /* ended sooner: perhaps its port was taken meanwhile */
#define LOCAL_NODE_MAX 64

enum child_state { CHILD_WAITING, CHILD_RUNNING, CHILD_STOPPING, CHILD_STOPPED };

struct child {
    struct local_nodes *all;
    int index;
    enum child_state state;
    pid_t pid;          /* 0 unless running or stopping */
    struct loop_fd end; /* a pidfd: readable when the process has ended */
    struct loop_timer timer;
    int port;
    int64_t started_ms;
    int64_t delay_ms; /* before the next restart */
};

struct local_nodes {
    uint32_t magic;
    struct loop *loop;
    int count;
    struct child *children;
    char *dir;
    char *binary;
    char *coordinator;
    int first_port;
    bool restart;
    int64_t restart_delay_ms;
    char **args;
    size_t n_args;
    char *directives; /* for the children's standard input */
    bool stopping;
    struct loop_timer kill_timer;
    struct loop_task done_task;
    local_nodes_done_fn done;
    void *done_arg;
};

/* A port that nobody listens on right now; 0 if there is none. `wanted` 0: any. */
static int free_port(int wanted)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)wanted),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(sa);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool free_now = bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, 1) == 0 &&
                    getsockname(fd, (struct sockaddr *)&sa, &len) == 0;
    close(fd);
    return free_now ? ntohs(sa.sin_port) : 0;
}

static void free_strings(char **v)
{
    for (char **p = v; *p != NULL; p++) {
        mem_free(*p);
    }
    mem_free(v);
}

static char *print_new(const char *fmt, ...) PRINTF_LIKE(1, 2);
static char *print_new(const char *fmt, ...)
{
    struct str s = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vprintf(&s, fmt, ap);
    va_end(ap);
    return str_steal(&s);
}

/* The child's argv, made before the fork: afterwards nothing may be allocated. */
static char **child_argv(const struct child *c)
{
    const struct local_nodes *n = c->all;
    char **argv = mem_zalloc((n->n_args + 11) * sizeof(*argv));
    size_t k = 0;
    argv[k++] = mem_strdup(n->binary);
    if (n->directives[0] != '\0') {
        argv[k++] = mem_strdup("-");
    }
    argv[k++] = mem_strdup("--bind");
    argv[k++] = mem_strdup("127.0.0.1");
    argv[k++] = mem_strdup("--port");
    argv[k++] = print_new("%d", c->port);
    argv[k++] = mem_strdup("--dir");
    argv[k++] = print_new("%s/node-%d", n->dir, c->index + 1);
    argv[k++] = mem_strdup("--coordinator");
    argv[k++] = mem_strdup(n->coordinator);
    for (size_t i = 0; i < n->n_args; i++) {
        argv[k++] = mem_strdup(n->args[i]);
    }
    return argv;
}

/* A file without a name, open at the beginning, for a child to read. Negative and err. */
static int file_of(const char *text, struct errmsg *err)
{
    size_t len = strlen(text);
    int fd = memfd_create("directives", MFD_CLOEXEC);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0) {
        errmsg_set(err, "cannot hand on directives: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/* In the child, between fork and exec: system calls only. */
NORETURN static void become_node(char **argv, int in_fd, int log_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && dup2(in_fd, 0) >= 0 && dup2(log_fd, 1) >= 0 &&
        dup2(log_fd, 2) >= 0) {
        execv(argv[0], argv);
    }
    _exit(127);
}

static void child_ended(struct loop_fd *f, int events);

static bool start_child(struct child *c, struct errmsg *err)
{
    struct local_nodes *n = c->all;
    char *dir = print_new("%s/node-%d", n->dir, c->index + 1);
    char *log = print_new("%s/node.log", dir);
    char **argv = child_argv(c);
    bool ok = false;
    int log_fd = -1;
    int in_fd = file_of(n->directives, err);
    if (in_fd < 0) {
        goto out;
    }
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        errmsg_set(err, "cannot make the folder %s: %s", dir, strerror(errno));
        goto out;
    }
    log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) {
        errmsg_set(err, "cannot write %s: %s", log, strerror(errno));
        goto out;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become_node(argv, in_fd, log_fd, parent);
    }
    if (pid < 0) {
        errmsg_set(err, "cannot start a process: %s", strerror(errno));
        goto out;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        errmsg_set(err, "pidfd_open: %s (Linux 5.3 or newer is needed)", strerror(errno));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        goto out;
    }
    c->pid = pid;
    c->state = CHILD_RUNNING;
    c->started_ms = loop_now_ms(n->loop);
    loop_fd_start(&c->end, n->loop, pidfd, LOOP_READ, child_ended, c);
    log_event(LOG_NOTICE, "local", "node started index=%d pid=%d port=%d dir=%s", c->index + 1,
              (int)pid, c->port, dir);
    ok = true;
out:
    if (log_fd >= 0) {
        close(log_fd);
    }
    if (in_fd >= 0) {
        close(in_fd);
    }
    free_strings(argv);
    mem_free(log);
    mem_free(dir);
    return ok;
}

static bool all_ended(const struct local_nodes *n)
{
    for (int i = 0; i < n->count; i++) {
        if (n->children[i].pid != 0) {
            return false;
        }
    }
    return true;
}

static void report_done(struct loop_task *t)
{
    struct local_nodes *n = container_of(t, struct local_nodes, done_task);
    local_nodes_done_fn done = n->done;
    n->done = NULL;
    loop_timer_stop(&n->kill_timer);
    if (done != NULL) {
        done(n->done_arg);
    }
}

static void restart_now(struct loop_timer *t)
{
    struct child *c = t->arg;
    struct errmsg err;
    if (!start_child(c, &err)) {
        log_event(LOG_WARNING, "local", "node not started index=%d reason=\"%s\"", c->index + 1,
                  err.text);
        c->delay_ms = MIN(c->delay_ms * 2, DELAY_MAX_MS);
        loop_timer_start(&c->timer, c->delay_ms, 0);
    }
}

static void plan_restart(struct child *c)
{
    struct local_nodes *n = c->all;
    int64_t ran_ms = loop_now_ms(n->loop) - c->started_ms;
    if (ran_ms >= QUIET_MS) {
        c->delay_ms = n->restart_delay_ms;
    }
    if (ran_ms < START_FAIL_MS && n->first_port == 0) {
        int port = free_port(c->port);
        c->port = port != 0 ? port : free_port(0);
    }
    c->state = CHILD_WAITING;
    loop_timer_start(&c->timer, c->delay_ms, 0);
    c->delay_ms = MIN(c->delay_ms * 2, DELAY_MAX_MS);
}

static void child_ended(struct loop_fd *f, int events)
{
    struct child *c = f->arg;
    struct local_nodes *n = c->all;
    int status = 0;
    (void)events;
    if (waitpid(c->pid, &status, WNOHANG) != c->pid) {
        return;
    }
    int pidfd = f->fd;
    loop_fd_stop(f);
    close(pidfd);
    bool killed = WIFSIGNALED(status);
    log_event(c->state == CHILD_STOPPING ? LOG_NOTICE : LOG_WARNING, "local",
              "node ended index=%d pid=%d %s=%d", c->index + 1, (int)c->pid,
              killed ? "signal" : "exit", killed ? WTERMSIG(status) : WEXITSTATUS(status));
    c->pid = 0;
    if (n->stopping || !n->restart) {
        c->state = CHILD_STOPPED;
    } else {
        plan_restart(c);
    }
    if (n->stopping && all_ended(n)) {
        loop_defer(n->loop, &n->done_task);
    }
}

static void kill_late(struct loop_timer *t)
{
    struct local_nodes *n = t->arg;
    for (int i = 0; i < n->count; i++) {
        struct child *c = &n->children[i];
        if (c->pid != 0) {
            log_event(LOG_WARNING, "local", "node killed, it did not stop in time index=%d pid=%d",
                      c->index + 1, (int)c->pid);
            kill(c->pid, SIGKILL);
        }
    }
}

/* shoal-node in the folder of this program's own file. */
static char *own_folder_binary(void)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (len <= 0) {
        return mem_strdup("shoal-node");
    }
    path[len] = '\0';
    char *slash = strrchr(path, '/');
    return print_new("%.*s/shoal-node", slash == NULL ? 0 : (int)(slash - path), path);
}

static struct local_nodes *make(struct loop *l, const struct local_nodes_settings *s)
{
    struct local_nodes *n = mem_zalloc(sizeof(*n));
    n->magic = NODES_MAGIC;
    n->loop = l;
    n->count = s->count;
    n->dir = mem_strdup(s->dir);
    n->binary = s->binary != NULL ? mem_strdup(s->binary) : own_folder_binary();
    n->coordinator = mem_strdup(s->coordinator);
    n->first_port = s->first_port;
    n->restart = s->restart;
    n->restart_delay_ms = MAX(s->restart_delay_ms, 1);
    n->directives = mem_strdup(s->directives != NULL ? s->directives : "");
    n->n_args = s->n_args;
    n->args = mem_zalloc((s->n_args + 1) * sizeof(*n->args));
    for (size_t i = 0; i < s->n_args; i++) {
        n->args[i] = mem_strdup(s->args[i]);
    }
    n->children = mem_zalloc((size_t)s->count * sizeof(*n->children));
    loop_timer_init(&n->kill_timer, l, kill_late, n);
    loop_task_init(&n->done_task, report_done);
    for (int i = 0; i < n->count; i++) {
        struct child *c = &n->children[i];
        c->all = n;
        c->index = i;
        c->delay_ms = n->restart_delay_ms;
        loop_timer_init(&c->timer, l, restart_now, c);
    }
    return n;
}

/* A child's port; ports handed out a moment ago and not yet listened on are not given twice. */
static bool choose_port(struct child *c, struct errmsg *err)
{
    struct local_nodes *n = c->all;
    if (n->first_port != 0) {
        c->port = n->first_port + c->index;
        if (free_port(c->port) == 0) {
            errmsg_set(err, "port %d for node %d is in use", c->port, c->index + 1);
            return false;
        }
        return true;
    }
    for (int tries = 0; tries < 100; tries++) {
        bool taken = false;
        c->port = free_port(0);
        for (int i = 0; i < c->index; i++) {
            taken = taken || n->children[i].port == c->port;
        }
        if (c->port != 0 && !taken) {
            return true;
        }
    }
    errmsg_set(err, "no free port for node %d", c->index + 1);
    return false;
}

void local_nodes_set_directives(struct local_nodes *n, const char *directives)
{
    CHECK_OBJ(n, NODES_MAGIC);
    mem_free(n->directives);
    n->directives = mem_strdup(directives != NULL ? directives : "");
}

/* --- are the directives good --- */

#define ANSWER_MAX 512

/* In the child. */
NORETURN static void become_check(char **argv, int out_fd)
{
    int null_fd = open("/dev/null", O_RDWR);
    if (null_fd >= 0 && dup2(null_fd, 0) >= 0 && dup2(null_fd, 1) >= 0 && dup2(out_fd, 2) >= 0) {
        execv(argv[0], argv);
    }
    _exit(127);
}

/* All that comes until the other end is closed, without the line's end. */
static void read_answer(int fd, char *text)
{
    size_t len = 0;
    ssize_t n;
    do {
        n = read(fd, text + len, ANSWER_MAX - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && len < ANSWER_MAX - 1) || (n < 0 && errno == EINTR));
    while (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    text[len] = '\0';
}

static bool run_check(char **argv, struct errmsg *err)
{
    char text[ANSWER_MAX];
    int ends[2];
    int status = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        errmsg_set(err, "cannot make a pipe: %s", strerror(errno));
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_check(argv, ends[1]);
    }
    close(ends[1]);
    if (pid < 0) {
        errmsg_set(err, "cannot start a process: %s", strerror(errno));
        close(ends[0]);
        return false;
    }
    read_answer(ends[0], text);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errmsg_set(err, "local nodes: %s", text[0] != '\0' ? text : "their program does not run");
        return false;
    }
    return true;
}

bool local_nodes_check(const struct local_nodes_settings *s, struct errmsg *err)
{
    char **argv = mem_zalloc((s->n_args + 3) * sizeof(*argv));
    argv[0] = s->binary != NULL ? mem_strdup(s->binary) : own_folder_binary();
    argv[1] = mem_strdup("--check-conf");
    for (size_t i = 0; i < s->n_args; i++) {
        argv[2 + i] = mem_strdup(s->args[i]);
    }
    bool ok = run_check(argv, err);
    free_strings(argv);
    return ok;
}

/* --- all of them --- */

struct local_nodes *local_nodes_new(struct loop *l, const struct local_nodes_settings *s,
                                    struct errmsg *err)
{
    INVARIANT(s->count > 0);
    if (s->count > LOCAL_NODE_MAX) {
        errmsg_set(err, "at most %d local nodes", LOCAL_NODE_MAX);
        return NULL;
    }
    struct local_nodes *n = make(l, s);
    bool ok = access(n->binary, X_OK) == 0;
    if (!ok) {
        errmsg_set(err, "cannot run %s: %s", n->binary, strerror(errno));
    }
    for (int i = 0; ok && i < n->count; i++) {
        ok = choose_port(&n->children[i], err);
    }
    for (int i = 0; ok && i < n->count; i++) {
        ok = start_child(&n->children[i], err);
    }
    if (!ok) {
        local_nodes_free(&n);
    }
    return n;
}

void local_nodes_stop(struct local_nodes *n, int64_t limit_ms, local_nodes_done_fn done, void *arg)
{
    CHECK_OBJ(n, NODES_MAGIC);
    n->stopping = true;
    n->done = done;
    n->done_arg = arg;
    for (int i = 0; i < n->count; i++) {
        struct child *c = &n->children[i];
        loop_timer_stop(&c->timer);
        if (c->pid != 0) {
            c->state = CHILD_STOPPING;
            kill(c->pid, SIGTERM);
            /* A child that is stopped (SIGSTOP) would not see it. */
            kill(c->pid, SIGCONT);
        } else {
            c->state = CHILD_STOPPED;
        }
    }
    if (all_ended(n)) {
        loop_defer(n->loop, &n->done_task);
    } else {
        loop_timer_start(&n->kill_timer, limit_ms, 0);
    }
}

void local_nodes_free(struct local_nodes **np)
{
    struct local_nodes *n = *np;
    if (n == NULL) {
        return;
    }
    CHECK_OBJ(n, NODES_MAGIC);
    for (int i = 0; i < n->count; i++) {
        struct child *c = &n->children[i];
        loop_timer_fini(&c->timer);
        if (c->pid != 0) {
            int pidfd = c->end.fd;
            loop_fd_stop(&c->end);
            close(pidfd);
            kill(c->pid, SIGKILL);
            waitpid(c->pid, NULL, 0);
        }
    }
    loop_timer_fini(&n->kill_timer);
    loop_undefer(&n->done_task);
    free_strings(n->args);
    mem_free(n->children);
    mem_free(n->dir);
    mem_free(n->binary);
    mem_free(n->coordinator);
    mem_free(n->directives);
    n->magic = 0;
    mem_free(n);
    *np = NULL;
}

int local_nodes_count(const struct local_nodes *n)
{
    return n->count;
}

int local_nodes_pid(const struct local_nodes *n, int i)
{
    INVARIANT(i >= 0);
    INVARIANT(i < n->count);
    return (int)n->children[i].pid;
}

int local_nodes_port(const struct local_nodes *n, int i)
{
    INVARIANT(i >= 0);
    INVARIANT(i < n->count);
    return n->children[i].port;
}
