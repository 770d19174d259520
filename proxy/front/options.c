// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/options.h"

#include "common/base/num.h"

static const char *const log_level_names[] = {"debug",   "verbose", "notice",
                                              "warning", "nothing", NULL};
static const char *const log_format_names[] = {"text", "json", NULL};
static const char *const protection_names[] = {"no", "yes", "local", NULL};
static const char *const pubsub_default_names[] = {"allchannels", "resetchannels", NULL};
static const char *const replication_mode_names[] = {"async", "sync", NULL};
static const char *const consistency_names[] = {"eventual", "strong", NULL};
static const char *const cluster_view_names[] = {"proxy", "nodes", NULL};
/* As enum read_from numbers them. */
static const char *const read_from_names[] = {"least-loaded", "round-robin", "weighted", "primary",
                                              NULL};

/* "2", "1.5": kept in percent. */
static bool factor_parse(void *field, struct slice value, struct errmsg *err)
{
    double v;
    if (!num_parse_double(value, &v) || !(v >= 1 && v <= 100)) {
        errmsg_set(err, "argument must be between 1 and 100");
        return false;
    }
    *(int64_t *)field = (int64_t)(v * 100 + 0.5);
    return true;
}

static void factor_print(const void *field, struct str *to)
{
    int64_t percent = *(const int64_t *)field;
    str_append_int(to, percent / 100);
    if (percent % 100 != 0) {
        str_printf(to, ".%02d", (int)(percent % 100));
    }
}

/* On a node it may be a percentage, of maxmemory. */
static bool memory_clients_parse(void *field, struct slice value, struct errmsg *err)
{
    uint64_t bytes;
    if (value.len > 1 && value.ptr[value.len - 1] == '%') {
        uint64_t percent;
        bool good = num_parse_u64(slice_of(value.ptr, value.len - 1), &percent);
        errmsg_set(err, !good ? "argument must be a memory or percent value"
                        : percent > 100
                            ? "percentage argument must be less or equal to 100"
                            : "argument must be bytes: a proxy has no maxmemory that it "
                              "could be a percentage of");
        return false;
    }
    if (!num_parse_memory(value, &bytes) || bytes > INT64_MAX) {
        errmsg_set(err, "argument must be a memory value");
        return false;
    }
    *(int64_t *)field = (int64_t)bytes;
    return true;
}

static void memory_clients_print(const void *field, struct str *to)
{
    str_append_int(to, *(const int64_t *)field);
}

/* The order of these includes is their meaning. */
/* clang-format off */
static const struct option rows[] = {
#define OPTIONS_AS_ROWS struct proxy_options
#include "common/app/options_macros.h"
#include "proxy/options.def"
#include "common/app/options_macros.h"
};
/* clang-format on */

const struct options_table *proxy_options_table(void)
{
    static const struct options_table table = {
        .rows = rows,
        .count = ARRAY_LEN(rows),
        .size = sizeof(struct proxy_options),
        .program = "shoal-proxy",
    };
    return &table;
}

int proxy_options_control_port(const struct proxy_options *o)
{
    if (o->control_port >= 0) {
        return (int)o->control_port;
    }
    /* Beside a port that the system chose, or a high one, any will do. */
    return o->port == 0 || o->port + 10000 > 65535 ? 0 : (int)o->port + 10000;
}

bool proxy_options_check(const struct proxy_options *o, struct errmsg *err)
{
    if (o->dead_missed < o->unhealthy_missed) {
        errmsg_set(err, "dead-missed must not be less than unhealthy-missed (%lld and %lld)",
                   (long long)o->dead_missed, (long long)o->unhealthy_missed);
        return false;
    }
    return true;
}

const char *proxy_options_node_password(const struct proxy_options *o)
{
    return o->node_password[0] != '\0' ? o->node_password : o->requirepass;
}
