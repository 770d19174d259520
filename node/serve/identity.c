// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4096

bool identity_parse(const char *text, struct identity *me)
{
    char id[NODE_ID_LEN + 2];
    unsigned long long incarnation;
    int used = 0;
    if (sscanf(text, "id %41s\nincarnation %20llu\n%n", id, &incarnation, &used) != 2 ||
        used == 0 || text[used] != '\0') {
        return false;
    }
    if (strlen(id) != NODE_ID_LEN || strspn(id, "0123456789abcdef") != NODE_ID_LEN) {
        return false;
    }
    memcpy(me->id, id, sizeof(me->id));
    me->incarnation = incarnation;
    return true;
}

static bool take_lock(struct identity *me, const char *dir, struct errmsg *err)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/shoal-node.lock", dir);
    me->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (me->lock_fd < 0) {
        errmsg_set(err, "%s: %s", path, strerror(errno));
        return false;
    }
    if (flock(me->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        errmsg_set(err, "%s: another shoal-node uses this directory", path);
        close(me->lock_fd);
        me->lock_fd = -1;
        return false;
    }
    return true;
}

/* False and err only if there is a file that can't be read. */
static bool read_file(struct identity *me, const char *path, struct errmsg *err)
{
    char text[256];
    FILE *f = fopen(path, "re");
    if (f == NULL && errno == ENOENT) {
        return true;
    }
    if (f == NULL) {
        errmsg_set(err, "%s: %s", path, strerror(errno));
        return false;
    }
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    if (!identity_parse(text, me)) {
        errmsg_set(err, "%s: not a node's identity; remove it to start as a new node", path);
        return false;
    }
    return true;
}

/* Written aside, made durable, renamed into place. */
static bool write_file(const struct identity *me, const char *dir, const char *path,
                       struct errmsg *err)
{
    char aside[PATH_ROOM];
    snprintf(aside, sizeof(aside), "%s/shoal-node.id.new", dir);
    FILE *f = fopen(aside, "we");
    bool ok = f != NULL;
    if (ok) {
        fprintf(f, "id %s\nincarnation %llu\n", me->id, (unsigned long long)me->incarnation);
        ok = fflush(f) == 0 && fsync(fileno(f)) == 0;
        ok = fclose(f) == 0 && ok;
    }
    ok = ok && rename(aside, path) == 0;
    if (!ok) {
        errmsg_set(err, "%s: %s", path, strerror(errno));
        return false;
    }
    int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d >= 0) {
        (void)fsync(d);
        close(d);
    }
    return true;
}

bool identity_load(struct identity *me, const char *dir, const char *fresh_id, struct errmsg *err)
{
    char path[PATH_ROOM];
    *me = (struct identity){.lock_fd = -1};
    snprintf(me->id, sizeof(me->id), "%s", fresh_id);
    snprintf(path, sizeof(path), "%s/shoal-node.id", dir);
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        errmsg_set(err, "%s: %s", dir, strerror(errno));
        return false;
    }
    if (!take_lock(me, dir, err) || !read_file(me, path, err)) {
        identity_release(me);
        return false;
    }
    me->incarnation++;
    if (!write_file(me, dir, path, err)) {
        identity_release(me);
        return false;
    }
    return true;
}

void identity_release(struct identity *me)
{
    if (me->lock_fd >= 0) {
        close(me->lock_fd);
        me->lock_fd = -1;
    }
}
