// SPDX-License-Identifier: BSD-3-Clause
/* Libraries of functions beside the log: a file of their own, replaced whole at each change. */
#include "node/script/library_set.h"
#include "node/serve/durable_priv.h"

#include "common/base/bytes.h"
#include "common/base/crc.h"
#include "common/base/log.h"
#include "common/io/disk_posix.h"

#include <errno.h>
#include <string.h>

#define NAME      DURABLE_LIBRARIES
#define SUM_BYTES 8 /* behind the set */

int durable_write_libraries(struct durable *d)
{
    struct str payload = {0};
    struct disk_file *f;
    char sum[SUM_BYTES];
    library_set_note(d->s->libraries, d->s->scripts, loop_wall_ms(d->s->loop));
    library_set_write(d->s->libraries, d->s->scripts, &payload);
    put_le64(sum, crc64(0, payload.ptr, payload.len));
    str_append(&payload, sum, sizeof(sum));
    int error = disk_open(d->disk, NAME ".new", DISK_CREATE, &f);
    if (error == 0) {
        error = disk_write(f, 0, payload.ptr, payload.len);
        error = error != 0 ? error : disk_sync(f);
        disk_close(&f);
        error = error != 0 ? error : disk_rename(d->disk, NAME ".new", NAME);
        error = error != 0 ? error : disk_sync_dir(d->disk);
    }
    str_fini(&payload);
    return error;
}

static int read_file(struct durable *d, struct str *to)
{
    struct disk_file *f;
    uint64_t size = 0;
    size_t got = 0;
    int error = disk_open(d->disk, NAME, DISK_READ, &f);
    if (error != 0) {
        return error;
    }
    error = disk_size(f, &size);
    if (error == 0) {
        error = disk_read(f, 0, str_reserve(to, size), size, &got);
        to->len = got;
    }
    disk_close(&f);
    return error;
}

static bool restore(struct durable *d, struct slice file, struct str *why)
{
    size_t len = file.len - MIN(file.len, (size_t)SUM_BYTES);
    if (file.len < SUM_BYTES || crc64(0, file.ptr, len) != get_le64(file.ptr + len) ||
        library_set_merge(d->s->libraries, d->s->scripts, slice_of(file.ptr, len), why) ==
            LIBRARY_SET_BAD) {
        str_appendz(why, "wrong checksum, or no libraries");
    }
    return why->len == 0;
}

bool durable_read_libraries(struct durable *d, struct errmsg *err)
{
    struct str payload = {0};
    struct str why = {0};
    int error = read_file(d, &payload);
    if (error != 0 && error != ENOENT) {
        str_appendz(&why, strerror(error));
    } else if (error == 0 && !restore(d, str_slice(&payload), &why)) {
        error = EINVAL;
    }
    bool good = error == 0 || error == ENOENT;
    if (!good && d->s->settings->recover_damaged) {
        log_event(LOG_WARNING, DURABLE_AREA, "libraries of functions are left out: %s",
                  str_cstr(&why));
        good = true;
    } else if (!good) {
        errmsg_set(err, NAME ": %s", str_cstr(&why));
    }
    str_fini(&payload);
    str_fini(&why);
    return good;
}

bool durable_libraries_changed(struct server *s, struct str *why)
{
    struct durable *d = s->durable;
    s->ks->stats.dirty++; /* a save point counts it */
    if (d == NULL || d->wal == NULL) {
        return true;
    }
    int error = durable_write_libraries(d);
    if (error != 0) {
        str_printf(why, "MISCONF Errors writing the libraries of functions: %s", strerror(error));
    }
    return error == 0;
}
