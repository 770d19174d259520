// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/mem.h"

#include "common/base/obj.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What all threads together have published, and what this thread has of it. Memory that one thread
 * allocates and another frees makes the one's count grow and the other's shrink, below zero too:
 * only the sum means something, so everything is added modulo 2^64. */
static _Atomic uint64_t published_all;
static _Thread_local uint64_t published_own;

#ifdef SHOAL_LIBC_MALLOC

static _Thread_local uint64_t own;

static uint64_t own_bytes(void)
{
    return own;
}

static void *counted(void *ptr)
{
    own += malloc_usable_size(ptr);
    return ptr;
}

static void uncount(void *ptr)
{
    own -= malloc_usable_size(ptr);
}

#else

/* jemalloc is linked under the standard names; declared here so that nothing depends on how its
 * header was configured. */
int mallctl(const char *name, void *old, size_t *oldlen, void *newval, size_t newlen);

/* jemalloc's own counters of this thread: reading them is two loads. */
static _Thread_local const uint64_t *allocated;
static _Thread_local const uint64_t *deallocated;

static __attribute__((noinline)) void find_counters(void)
{
    size_t len = sizeof allocated;
    INVARIANT(mallctl("thread.allocatedp", &allocated, &len, NULL, 0) == 0);
    INVARIANT(mallctl("thread.deallocatedp", &deallocated, &len, NULL, 0) == 0);
}

static uint64_t own_bytes(void)
{
    if (UNLIKELY(allocated == NULL)) {
        find_counters();
    }
    return *allocated - *deallocated;
}

static inline void *counted(void *ptr)
{
    return ptr;
}

static inline void uncount(void *ptr)
{
    (void)ptr;
}

#endif

static NORETURN __attribute__((noinline, cold)) void out_of_memory(size_t size)
{
    fprintf(stderr, "out of memory: cannot allocate %zu bytes\n", size);
    fflush(stderr);
    abort();
}

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size == 0 ? 1 : size);
    if (UNLIKELY(ptr == NULL)) {
        out_of_memory(size);
    }
    return counted(ptr);
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, size == 0 ? 1 : size);
    if (UNLIKELY(ptr == NULL)) {
        out_of_memory(size);
    }
    return counted(ptr);
}

void *mem_realloc(void *ptr, size_t size)
{
    if (ptr != NULL) {
        uncount(ptr);
    }
    void *grown = realloc(ptr, size == 0 ? 1 : size);
    if (UNLIKELY(grown == NULL)) {
        out_of_memory(size);
    }
    return counted(grown);
}

void *mem_try_alloc(size_t size)
{
    /* malloc of more than PTRDIFF_MAX is an error that sanitizers report: refuse it ourselves. */
    if (size > PTRDIFF_MAX) {
        return NULL;
    }
    void *ptr = malloc(size == 0 ? 1 : size);
    return ptr == NULL ? NULL : counted(ptr);
}

void mem_free(void *ptr)
{
    if (ptr != NULL) {
        uncount(ptr);
        free(ptr);
    }
}

char *mem_strdup(const char *s)
{
    return mem_memdup(s, strlen(s) + 1);
}

char *mem_memdup(const void *ptr, size_t len)
{
    char *copy = mem_alloc(len);
    if (len > 0) {
        memcpy(copy, ptr, len);
    }
    return copy;
}

size_t mem_size(const void *ptr)
{
    /* malloc_usable_size only reads, whatever its prototype says. */
    return ptr == NULL ? 0 : malloc_usable_size((void *)(uintptr_t)ptr);
}

size_t mem_used(void)
{
    uint64_t others = atomic_load_explicit(&published_all, memory_order_relaxed) - published_own;
    int64_t sum = (int64_t)(others + own_bytes());
    /* Another thread's frees may be told before our share of the allocations is. */
    return sum < 0 ? 0 : (size_t)sum;
}

void mem_publish(void)
{
    uint64_t now = own_bytes();
    if (now != published_own) {
        atomic_fetch_add_explicit(&published_all, now - published_own, memory_order_relaxed);
        published_own = now;
    }
}

static size_t resident_set(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';
    char *second = strchr(text, ' ');
    return second == NULL ? 0 : (size_t)strtoull(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

#ifdef SHOAL_LIBC_MALLOC

static void allocator_stats(struct mem_stats *out)
{
    out->name = "libc";
}

void mem_purge(void)
{
    malloc_trim(0);
}

void mem_purge_aside(void)
{
}

#else

static size_t read_stat(const char *name)
{
    size_t value = 0;
    size_t len = sizeof value;
    return mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

static void allocator_stats(struct mem_stats *out)
{
    static _Thread_local char name[32]; /* "jemalloc-5.3.0", without the commit behind it */
    uint64_t epoch = 1;
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch); /* makes the statistics of now */
    out->active = read_stat("stats.active");
    out->resident = read_stat("stats.resident");

    const char *version = "";
    size_t len = sizeof(void *);
    mallctl("version", &version, &len, NULL, 0);
    snprintf(name, sizeof name, "jemalloc-%.*s", (int)strcspn(version, "-"), version);
    out->name = name;
}

void mem_purge(void)
{
    mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* 4096: all arenas */
}

void mem_purge_aside(void)
{
    bool on = true;
    size_t threads = 1;
    /* An allocator that was built without them goes on as before. */
    mallctl("max_background_threads", NULL, NULL, &threads, sizeof threads);
    mallctl("background_thread", NULL, NULL, &on, sizeof on);
}

#endif

void mem_stats(struct mem_stats *out)
{
    *out = (struct mem_stats){.used = mem_used(), .rss = resident_set()};
    allocator_stats(out);
    out->resident = out->resident != 0 ? out->resident : out->rss;
    out->active = out->active != 0 ? out->active : out->rss;
}
