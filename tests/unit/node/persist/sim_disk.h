// SPDX-License-Identifier: BSD-3-Clause
/* A disk in memory that can crash: what was not synced is then there or not, 512 bytes by 512
 * bytes, and names made, changed or removed since the last disk_sync_dir are so up to a random one.
 * It can be full, and its syncs can fail. */
#pragma once

#include "common/base/disk.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SIM_SECTOR 512

struct sim_inode {
    struct str now;
    struct str synced;
    struct sim_write {
        uint64_t at;
        size_t len;
        bool truncates; /* to `at` */
        char *bytes;
    } * writes; /* not synced */
    size_t n_writes;
};

struct sim_name {
    char name[64];
    struct sim_inode *inode;
};

struct sim_names {
    struct sim_name of[256];
    size_t n;
};

struct sim_disk {
    struct disk disk;
    struct rng *rng;
    struct sim_names now;
    struct sim_names *history; /* after each change since the last sync_dir; [0]: synced */
    size_t n_history;
    size_t history_cap;
    struct sim_inode **inodes;
    size_t n_inodes;
    uint64_t room; /* bytes that may still be written */
    int fail_syncs;
    uint64_t syncs;
    int open_files;
};

struct sim_file {
    struct disk_file file;
    struct sim_inode *inode;
    bool writable;
};

static inline struct sim_disk *sim_of(struct disk *d)
{
    return (struct sim_disk *)(void *)d;
}

static inline struct sim_file *sim_file_of(struct disk_file *f)
{
    return (struct sim_file *)(void *)f;
}

static inline struct sim_name *sim_find(struct sim_names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->of[i].name, name) == 0) {
            return &names->of[i];
        }
    }
    return NULL;
}

static inline void sim_names_changed(struct sim_disk *s)
{
    if (s->n_history == s->history_cap) {
        s->history_cap = s->history_cap * 2 + 4;
        s->history = mem_realloc(s->history, s->history_cap * sizeof(*s->history));
    }
    s->history[s->n_history++] = s->now;
}

static inline void sim_str_write(struct str *to, uint64_t at, const char *from, size_t n)
{
    if (to->len < at + n) {
        size_t old = to->len;
        str_reserve(to, at + n - old);
        memset(to->ptr + old, 0, at + n - old);
        to->len = at + n;
    }
    if (n > 0) {
        memcpy(to->ptr + at, from, n);
    }
}

static inline void sim_note(struct sim_inode *i, uint64_t at, const char *from, size_t n,
                            bool trunc)
{
    i->writes = mem_realloc(i->writes, (i->n_writes + 1) * sizeof(*i->writes));
    i->writes[i->n_writes++] = (struct sim_write){
        .at = at, .len = n, .truncates = trunc, .bytes = n == 0 ? NULL : mem_memdup(from, n)};
}

static inline void sim_forget_writes(struct sim_inode *i)
{
    for (size_t k = 0; k < i->n_writes; k++) {
        mem_free(i->writes[k].bytes);
    }
    i->n_writes = 0;
}

static inline int sim_open(struct disk *d, const char *name, enum disk_mode mode,
                           struct disk_file **out)
{
    struct sim_disk *s = sim_of(d);
    struct sim_name *found = sim_find(&s->now, name);
    if (found == NULL && mode != DISK_CREATE) {
        return ENOENT;
    }
    if (found == NULL) {
        INVARIANT(s->now.n < ARRAY_LEN(s->now.of));
        s->inodes = mem_realloc(s->inodes, (s->n_inodes + 1) * sizeof(*s->inodes));
        found = &s->now.of[s->now.n++];
        snprintf(found->name, sizeof(found->name), "%s", name);
        found->inode = mem_zalloc(sizeof(struct sim_inode));
        s->inodes[s->n_inodes++] = found->inode;
        sim_names_changed(s);
    } else if (mode == DISK_CREATE) {
        str_clear(&found->inode->now);
        sim_note(found->inode, 0, NULL, 0, true);
    }
    struct sim_file *f = mem_alloc(sizeof(*f));
    *f = (struct sim_file){.file.disk = d, .inode = found->inode, .writable = mode != DISK_READ};
    s->open_files++;
    *out = &f->file;
    return 0;
}

static inline int sim_size(struct disk_file *f, uint64_t *out)
{
    *out = sim_file_of(f)->inode->now.len;
    return 0;
}

static inline int sim_read(struct disk_file *f, uint64_t at, void *to, size_t n, size_t *got)
{
    const struct str *now = &sim_file_of(f)->inode->now;
    *got = at >= now->len ? 0 : MIN(n, now->len - at);
    if (*got > 0) {
        memcpy(to, now->ptr + at, *got);
    }
    return 0;
}

static inline int sim_write(struct disk_file *f, uint64_t at, const void *from, size_t n)
{
    struct sim_disk *s = sim_of(f->disk);
    struct sim_inode *i = sim_file_of(f)->inode;
    INVARIANT(sim_file_of(f)->writable);
    size_t may = (size_t)MIN((uint64_t)n, s->room);
    sim_str_write(&i->now, at, from, may);
    sim_note(i, at, from, may, false);
    s->room -= may;
    return may < n ? ENOSPC : 0;
}

static inline int sim_sync(struct disk_file *f)
{
    struct sim_disk *s = sim_of(f->disk);
    struct sim_inode *i = sim_file_of(f)->inode;
    s->syncs++;
    if (s->fail_syncs > 0) {
        s->fail_syncs--;
        return EIO;
    }
    str_clear(&i->synced);
    str_append_slice(&i->synced, str_slice(&i->now));
    sim_forget_writes(i);
    return 0;
}

static inline int sim_truncate(struct disk_file *f, uint64_t size)
{
    struct sim_inode *i = sim_file_of(f)->inode;
    if (size < i->now.len) {
        i->now.len = size;
    }
    sim_note(i, size, NULL, 0, true);
    return 0;
}

static inline void sim_close(struct disk_file *f)
{
    sim_of(f->disk)->open_files--;
    mem_free(f);
}

static inline int sim_remove(struct disk *d, const char *name)
{
    struct sim_disk *s = sim_of(d);
    struct sim_name *found = sim_find(&s->now, name);
    if (found == NULL) {
        return ENOENT;
    }
    *found = s->now.of[--s->now.n];
    sim_names_changed(s);
    return 0;
}

static inline int sim_rename(struct disk *d, const char *from, const char *to)
{
    struct sim_disk *s = sim_of(d);
    struct sim_name *found = sim_find(&s->now, from);
    if (found == NULL) {
        return ENOENT;
    }
    struct sim_inode *inode = found->inode;
    *found = s->now.of[--s->now.n];
    struct sim_name *there = sim_find(&s->now, to);
    if (there == NULL) {
        there = &s->now.of[s->now.n++];
        snprintf(there->name, sizeof(there->name), "%s", to);
    }
    there->inode = inode;
    sim_names_changed(s);
    return 0;
}

static inline int sim_sync_dir(struct disk *d)
{
    struct sim_disk *s = sim_of(d);
    s->history[0] = s->now;
    s->n_history = 1;
    return 0;
}

static inline int sim_list(struct disk *d, disk_name_fn *fn, void *arg)
{
    struct sim_disk *s = sim_of(d);
    for (size_t i = 0; i < s->now.n; i++) {
        fn(arg, s->now.of[i].name);
    }
    return 0;
}

static inline struct sim_disk *sim_disk_new(struct rng *rng)
{
    static const struct disk_ops ops = {sim_open,   sim_size,     sim_read,  sim_write,
                                        sim_sync,   sim_truncate, sim_close, sim_rename,
                                        sim_remove, sim_sync_dir, sim_list};
    struct sim_disk *s = mem_zalloc(sizeof(*s));
    s->disk.ops = &ops;
    s->rng = rng;
    s->room = UINT64_MAX;
    sim_names_changed(s);
    return s;
}

static inline void sim_disk_free(struct sim_disk **sp)
{
    struct sim_disk *s = *sp;
    INVARIANT(s->open_files == 0);
    for (size_t i = 0; i < s->n_inodes; i++) {
        sim_forget_writes(s->inodes[i]);
        mem_free(s->inodes[i]->writes);
        str_fini(&s->inodes[i]->now);
        str_fini(&s->inodes[i]->synced);
        mem_free(s->inodes[i]);
    }
    mem_free(s->inodes);
    mem_free(s->history);
    mem_free(s);
    *sp = NULL;
}

/* Each sector of each write that was not synced arrives or does not. */
static inline void sim_crash_inode(struct sim_disk *s, struct sim_inode *i)
{
    for (size_t k = 0; k < i->n_writes; k++) {
        const struct sim_write *w = &i->writes[k];
        if (w->truncates) {
            if (rng_below(s->rng, 2) == 0 && i->synced.len > w->at) {
                i->synced.len = w->at;
            }
            continue;
        }
        unsigned odds = (unsigned)rng_below(s->rng, 3); /* mostly there, half, hardly */
        for (uint64_t at = w->at; at < w->at + w->len;) {
            uint64_t end = MIN((at / SIM_SECTOR + 1) * SIM_SECTOR, w->at + w->len);
            if (rng_below(s->rng, 4) > odds) {
                sim_str_write(&i->synced, at, w->bytes + (at - w->at), end - at);
            }
            at = end;
        }
    }
    sim_forget_writes(i);
    str_clear(&i->now);
    str_append_slice(&i->now, str_slice(&i->synced));
}

/* The machine loses its power. All files must be closed. */
static inline void sim_disk_crash(struct sim_disk *s)
{
    INVARIANT(s->open_files == 0);
    for (size_t i = 0; i < s->n_inodes; i++) {
        sim_crash_inode(s, s->inodes[i]);
    }
    s->now = s->history[rng_below(s->rng, s->n_history)];
    s->history[0] = s->now;
    s->n_history = 1;
}

/* The bytes of a file, to be damaged; NULL: there is none. */
static inline struct str *sim_disk_bytes(struct sim_disk *s, const char *name)
{
    struct sim_name *found = sim_find(&s->now, name);
    return found == NULL ? NULL : &found->inode->now;
}
