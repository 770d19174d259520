// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/disk_posix.h"

#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct posix_disk {
    struct disk disk;
    int fd; /* of the folder */
};

struct posix_file {
    struct disk_file file;
    int fd;
};

static int fd_of(const struct disk_file *f)
{
    return ((const struct posix_file *)(const void *)f)->fd;
}

static int dir_of(const struct disk *d)
{
    return ((const struct posix_disk *)(const void *)d)->fd;
}

static int open_file(struct disk *d, const char *name, enum disk_mode mode, struct disk_file **out)
{
    int flags = mode == DISK_READ   ? O_RDONLY
                : mode == DISK_EDIT ? O_RDWR
                                    : O_RDWR | O_CREAT | O_TRUNC;
    int fd = openat(dir_of(d), name, flags | O_CLOEXEC, 0644);
    if (fd < 0) {
        return errno;
    }
    struct posix_file *f = mem_alloc(sizeof(*f));
    f->file.disk = d;
    f->fd = fd;
    *out = &f->file;
    return 0;
}

static int size_of(struct disk_file *f, uint64_t *out)
{
    struct stat st;
    if (fstat(fd_of(f), &st) != 0) {
        return errno;
    }
    *out = (uint64_t)st.st_size;
    return 0;
}

static int read_at(struct disk_file *f, uint64_t at, void *to, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        ssize_t r = pread(fd_of(f), (char *)to + *got, n - *got, (off_t)(at + *got));
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r < 0) {
            return errno;
        }
        if (r == 0) {
            break;
        }
        *got += (size_t)r;
    }
    return 0;
}

static int write_at(struct disk_file *f, uint64_t at, const void *from, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(fd_of(f), (const char *)from + done, n - done, (off_t)(at + done));
        if (w < 0 && errno == EINTR) {
            continue;
        }
        if (w < 0) {
            return errno;
        }
        done += (size_t)w;
    }
    return 0;
}

static int sync_file(struct disk_file *f)
{
    return fdatasync(fd_of(f)) == 0 ? 0 : errno;
}

static int truncate_file(struct disk_file *f, uint64_t size)
{
    return ftruncate(fd_of(f), (off_t)size) == 0 ? 0 : errno;
}

static void close_file(struct disk_file *f)
{
    close(fd_of(f));
    mem_free(f);
}

static int rename_file(struct disk *d, const char *from, const char *to)
{
    return renameat(dir_of(d), from, dir_of(d), to) == 0 ? 0 : errno;
}

static int remove_file(struct disk *d, const char *name)
{
    return unlinkat(dir_of(d), name, 0) == 0 ? 0 : errno;
}

static int sync_dir(struct disk *d)
{
    return fsync(dir_of(d)) == 0 ? 0 : errno;
}

static int list_files(struct disk *d, disk_name_fn *fn, void *arg)
{
    int fd = openat(dir_of(d), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] != '.') {
            fn(arg, e->d_name);
        }
    }
    closedir(dir);
    return 0;
}

static const struct disk_ops ops = {.open = open_file,
                                    .size = size_of,
                                    .read = read_at,
                                    .write = write_at,
                                    .sync = sync_file,
                                    .truncate = truncate_file,
                                    .close = close_file,
                                    .rename = rename_file,
                                    .remove = remove_file,
                                    .sync_dir = sync_dir,
                                    .list = list_files};

struct disk *disk_posix_new(const char *dir, struct errmsg *err)
{
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        errmsg_set(err, "%s: %s", dir, strerror(errno));
        return NULL;
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        errmsg_set(err, "%s: %s", dir, strerror(errno));
        return NULL;
    }
    struct posix_disk *d = mem_alloc(sizeof(*d));
    d->disk.ops = &ops;
    d->fd = fd;
    return &d->disk;
}

bool disk_posix_lock(struct disk *d)
{
    return flock(dir_of(d), LOCK_EX | LOCK_NB) == 0;
}

void disk_posix_free(struct disk **dp)
{
    struct posix_disk *d = (struct posix_disk *)(void *)*dp;
    if (d != NULL) {
        close(d->fd);
        mem_free(d);
        *dp = NULL;
    }
}
