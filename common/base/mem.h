// SPDX-License-Identifier: BSD-3-Clause
/* Allocation. Aborts when memory is out; sizes that a peer chose are limited before they get here.
 *
 * Everything in Shoal allocates through these, never through malloc, so that memory can be counted:
 * mem_used() is what INFO's used_memory and maxmemory go by. jemalloc counts for us per thread at
 * no cost; a sanitizer build (SHOAL_LIBC_MALLOC) counts by malloc_usable_size. Any thread. */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
/* NULL when the memory is not to be had, instead of aborting. */
void *mem_try_alloc(size_t size);
void mem_free(void *ptr);
char *mem_strdup(const char *s) __attribute__((returns_nonnull));
char *mem_memdup(const void *ptr, size_t len) __attribute__((returns_nonnull));

/* What the allocator really set aside for `ptr`, for accounting. 0 for NULL. */
size_t mem_size(const void *ptr);

/* Bytes allocated and not freed, by all threads. Cheap enough for once a command: the calling
 * thread's own count is exact, other threads' counts are as of their last mem_publish(). */
size_t mem_used(void);
/* A helper thread tells its count, at the end of a turn or a job. */
void mem_publish(void);

struct mem_stats {
    size_t used;      /* as mem_used() */
    size_t rss;       /* resident set of the process, from the system */
    size_t active;    /* allocator: bytes in active pages; rss where it does not tell */
    size_t resident;  /* allocator: bytes resident; rss where it does not tell */
    const char *name; /* "jemalloc-5.3.0" or "libc" */
};
void mem_stats(struct mem_stats *out);
/* From now on a thread of the allocator's own gives pages that are not used any more back to the
 * system: else that falls to whoever frees or allocates, all at once, for tens of milliseconds
 * where much was freed. Behind the last fork. */
void mem_purge_aside(void);
/* Gives unused pages back to the system (MEMORY PURGE). */
void mem_purge(void);
