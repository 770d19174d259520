// SPDX-License-Identifier: BSD-3-Clause
/* The file calls that durable code may make, on one folder: io/disk_posix.h on real files, the
 * tests' own with lost syncs, torn writes and full disks.
 *
 * Every call that can fail returns 0 or an errno. What was written is safe from a crash of the
 * process when disk_write returns, from one of the machine when disk_sync has; a new or renamed
 * name when disk_sync_dir has. Different files may be used by different threads at a time;
 * disk_sync may run beside disk_write of the same file. */
#pragma once

#include "common/base/obj.h"

struct disk;
struct disk_file;

enum disk_mode {
    DISK_READ,   /* must exist */
    DISK_CREATE, /* written from empty, whatever was there */
    DISK_EDIT,   /* must exist, may be written */
};

typedef void disk_name_fn(void *arg, const char *name);

struct disk_ops {
    int (*open)(struct disk *d, const char *name, enum disk_mode mode, struct disk_file **out);
    int (*size)(struct disk_file *f, uint64_t *out);
    int (*read)(struct disk_file *f, uint64_t at, void *to, size_t n, size_t *got);
    int (*write)(struct disk_file *f, uint64_t at, const void *from, size_t n);
    int (*sync)(struct disk_file *f);
    int (*truncate)(struct disk_file *f, uint64_t size);
    void (*close)(struct disk_file *f);
    int (*rename)(struct disk *d, const char *from, const char *to);
    int (*remove)(struct disk *d, const char *name);
    int (*sync_dir)(struct disk *d);
    int (*list)(struct disk *d, disk_name_fn *fn, void *arg);
};

/* Each implementation's own struct begins with one. */
struct disk {
    const struct disk_ops *ops;
};
struct disk_file {
    struct disk *disk;
};

static inline int disk_open(struct disk *d, const char *name, enum disk_mode mode,
                            struct disk_file **out)
{
    *out = NULL;
    return d->ops->open(d, name, mode, out);
}

static inline int disk_size(struct disk_file *f, uint64_t *out)
{
    return f->disk->ops->size(f, out);
}

/* *got < n only where the file ends. */
static inline int disk_read(struct disk_file *f, uint64_t at, void *to, size_t n, size_t *got)
{
    return f->disk->ops->read(f, at, to, n, got);
}

/* All of it, or an error and any part of it. */
static inline int disk_write(struct disk_file *f, uint64_t at, const void *from, size_t n)
{
    return f->disk->ops->write(f, at, from, n);
}

static inline int disk_sync(struct disk_file *f)
{
    return f->disk->ops->sync(f);
}

static inline int disk_truncate(struct disk_file *f, uint64_t size)
{
    return f->disk->ops->truncate(f, size);
}

static inline void disk_close(struct disk_file **f)
{
    if (*f != NULL) {
        (*f)->disk->ops->close(*f);
        *f = NULL;
    }
}

static inline int disk_rename(struct disk *d, const char *from, const char *to)
{
    return d->ops->rename(d, from, to);
}

static inline int disk_remove(struct disk *d, const char *name)
{
    return d->ops->remove(d, name);
}

static inline int disk_sync_dir(struct disk *d)
{
    return d->ops->sync_dir(d);
}

/* Names of the files, in no order. The function changes nothing. */
static inline int disk_list(struct disk *d, disk_name_fn *fn, void *arg)
{
    return d->ops->list(d, fn, arg);
}
