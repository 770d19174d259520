// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/info_process.h"

#include "common/app/info.h"
#include "common/app/version.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LRU_CLOCK_MASK 0xffffff

void info_server(const struct info_server *s, struct str *to)
{
    struct utsname u = {0};
    (void)uname(&u);
    info_str(to, "redis_version", SHOAL_REDIS_VERSION);
    info_str(to, "shoal_version", SHOAL_VERSION);
    str_appendz(to, "redis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0\r\n");
    info_str(to, "redis_mode", s->cluster ? "cluster" : "standalone");
    str_printf(to, "os:%s %s %s\r\n", u.sysname, u.release, u.machine);
    info_int(to, "arch_bits", (int64_t)sizeof(void *) * 8);
    info_str(to, "monotonic_clock", s->clock);
    str_appendz(to, "multiplexing_api:epoll\r\natomicvar_api:c11-builtin\r\n");
    str_printf(to, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
    info_int(to, "process_id", (int64_t)getpid());
    info_str(to, "process_supervised", getenv("NOTIFY_SOCKET") != NULL ? "systemd" : "no");
    info_str(to, "run_id", s->run_id);
    info_int(to, "tcp_port", s->port);
    info_int(to, "server_time_usec", s->wall_ms * 1000);
    info_int(to, "uptime_in_seconds", s->uptime_s);
    info_int(to, "uptime_in_days", s->uptime_s / 86400);
    info_int(to, "hz", s->hz);
    info_int(to, "configured_hz", s->hz);
    info_int(to, "lru_clock", (s->wall_ms / 1000) & LRU_CLOCK_MASK);
    info_str(to, "executable", s->executable == NULL ? "" : s->executable);
    info_str(to, "config_file", s->conf_path == NULL ? "" : s->conf_path);
    info_int(to, "io_threads_active", s->threads);
}

static void put_usage(struct str *to, int who, const char *suffix)
{
    struct rusage u = {0};
    (void)getrusage(who, &u);
    str_printf(to, "used_cpu_sys%s:%ld.%06ld\r\nused_cpu_user%s:%ld.%06ld\r\n", suffix,
               (long)u.ru_stime.tv_sec, (long)u.ru_stime.tv_usec, suffix, (long)u.ru_utime.tv_sec,
               (long)u.ru_utime.tv_usec);
}

void info_cpu(struct str *to)
{
    put_usage(to, RUSAGE_SELF, "");
    put_usage(to, RUSAGE_CHILDREN, "_children");
    put_usage(to, RUSAGE_THREAD, "_main_thread");
}

static void put_ratio(struct str *to, const char *ratio, const char *bytes, size_t what, size_t of)
{
    str_printf(to, "%s:%.2f\r\n%s:%lld\r\n", ratio, (double)what / (double)MAX(of, 1UL), bytes,
               (long long)what - (long long)of);
}

void info_fragmentation(const struct mem_stats *m, struct str *to)
{
    put_ratio(to, "allocator_frag_ratio", "allocator_frag_bytes", m->active, m->used);
    put_ratio(to, "allocator_rss_ratio", "allocator_rss_bytes", m->resident, m->active);
    put_ratio(to, "rss_overhead_ratio", "rss_overhead_bytes", m->rss, m->resident);
    put_ratio(to, "mem_fragmentation_ratio", "mem_fragmentation_bytes", m->rss, m->used);
}
