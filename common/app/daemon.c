// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

bool daemon_detach(struct errmsg *err)
{
    pid_t child = fork();
    if (child < 0) {
        errmsg_set(err, "can't go into the background: fork: %s", strerror(errno));
        return false;
    }
    if (child > 0) {
        _exit(0);
    }
    (void)setsid();
    int null = open("/dev/null", O_RDWR);
    if (null < 0) {
        errmsg_set(err, "/dev/null: %s", strerror(errno));
        return false;
    }
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO);
    (void)dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO) {
        close(null);
    }
    return true;
}

void daemon_notify(const char *state)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (name == NULL || (name[0] != '/' && name[0] != '@') || strlen(name) >= sizeof(to.sun_path)) {
        return;
    }
    size_t len = strlen(name);
    memcpy(to.sun_path, name, len);
    if (name[0] == '@') {
        to.sun_path[0] = '\0'; /* the abstract name space */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    /* Nobody listening is no reason to stop. */
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
}

bool daemon_write_pidfile(const char *path, struct errmsg *err)
{
    if (path[0] == '\0') {
        return true;
    }
    FILE *f = fopen(path, "we");
    bool ok = f != NULL && fprintf(f, "%d\n", (int)getpid()) > 0;
    if (f != NULL && fclose(f) != 0) {
        ok = false;
    }
    if (!ok) {
        errmsg_set(err, "can't write the pid file '%s': %s", path, strerror(errno));
    }
    return ok;
}

void daemon_remove_pidfile(const char *path)
{
    if (path[0] != '\0') {
        (void)unlink(path);
    }
}

uint64_t daemon_raise_files(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    if (limit.rlim_cur >= wanted) {
        return limit.rlim_cur;
    }
    struct rlimit raised = {.rlim_cur = wanted, .rlim_max = MAX(limit.rlim_max, wanted)};
    if (setrlimit(RLIMIT_NOFILE, &raised) != 0) {
        /* Not allowed to raise the hard limit: up to it then. */
        raised = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        (void)setrlimit(RLIMIT_NOFILE, &raised);
    }
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

int64_t daemon_clients_possible(int64_t wanted, int64_t spare)
{
    uint64_t may = daemon_raise_files((uint64_t)wanted + (uint64_t)spare);
    if (may >= (uint64_t)wanted + (uint64_t)spare) {
        return wanted;
    }
    /* Where there is very little, clients get the most of it. */
    return MAX((int64_t)(may - MIN((uint64_t)spare, may / 4)), 1);
}
