// SPDX-License-Identifier: BSD-3-Clause
<<<<<<< HEAD
#include "proxy/front/options.h"

static const char *const log_level_names[] = {"debug",   "verbose", "notice",
                                              "warning", "nothing", NULL};
static const char *const log_format_names[] = {"text", "json", NULL};
static const char *const protection_names[] = {"no", "yes", "local", NULL};
static const char *const cluster_view_names[] = {"proxy", "nodes", NULL};
/* As enum read_from numbers them. */
static const char *const read_from_names[] = {"least-loaded", "round-robin", "weighted", "primary",
                                              NULL};

/* The order of these includes is their meaning. */
/* clang-format off */
/* clang-format off */
static const struct option rows[] = {
#define OPTIONS_AS_ROWS struct proxy_options
#include "common/app/options_macros.h"
#include "proxy/options.def"
#include "common/app/options_macros.h"
};
/* clang-format on */
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

const char *proxy_options_node_password(const struct proxy_options *o)
{
    return o->node_password[0] != '\0' ? o->node_password : o->requirepass;
}
=======
#include "proxy/options.h"

#include "common/base/num.h"

#include <ctype.h>
#include <stddef.h>

static const char *const option_log_levels[] = {"debug",   "verbose", "notice",
                                                "warning", "nothing", NULL};
static const char *const option_log_formats[] = {"text", "json", NULL};
static const char *const option_cluster_views[] = {"proxy", "nodes", NULL};
static const char *const option_read_from[] = {"least-loaded", "round-robin", "weighted", "primary",
                                               NULL}; /* enum read_from */

static bool next_word(struct slice *v, struct slice *word)
{
    while (v->len > 0 && isspace((unsigned char)v->ptr[0])) {
        *v = slice_of(v->ptr + 1, v->len - 1);
    }
    size_t n = 0;
    while (n < v->len && !isspace((unsigned char)v->ptr[n])) {
        n++;
    }
    *word = slice_of(v->ptr, n);
    *v = slice_of(v->ptr + n, v->len - n);
    return n > 0;
}

static int output_class(struct slice name)
{
    if (slice_is(name, "normal")) {
        return OUTPUT_NORMAL;
    }
    if (slice_is(name, "slave") || slice_is(name, "replica")) {
        return OUTPUT_REPLICA;
    }
    return slice_is(name, "pubsub") ? OUTPUT_PUBSUB : -1;
}

/* Groups of four words; classes that are not named keep what they have. */
static bool option_output_parse(void *field, struct slice value, struct errmsg *err)
{
    struct output_limits *limits = field;
    struct output_limits next = *limits;
    struct slice word;
    bool any = false;
    while (next_word(&value, &word)) {
        struct slice hard, soft, seconds;
        int class = output_class(word);
        if (class < 0) {
            errmsg_set(err, "Invalid client class specified in buffer limit configuration.");
            return false;
        }
        struct output_limit *l = &next.of[class];
        if (!next_word(&value, &hard) || !next_word(&value, &soft) ||
            !next_word(&value, &seconds)) {
            errmsg_set(err, "Wrong number of arguments in buffer limit configuration.");
            return false;
        }
        if (!num_parse_memory(hard, &l->hard) || !num_parse_memory(soft, &l->soft) ||
            !num_parse_i64(seconds, &l->soft_seconds) || l->soft_seconds < 0) {
            errmsg_set(err, "Error in hard, soft or soft_seconds setting in buffer limit "
                            "configuration.");
            return false;
        }
        any = true;
    }
    if (!any) {
        errmsg_set(err, "Wrong number of arguments in buffer limit configuration.");
        return false;
    }
    *limits = next;
    return true;
}

static void option_output_print(const void *field, struct str *to)
{
    static const char *const names[] = {"normal", "slave", "pubsub"};
    const struct output_limits *limits = field;
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        str_printf(to, "%s%s %llu %llu %lld", i == 0 ? "" : " ", names[i],
                   (unsigned long long)limits->of[i].hard, (unsigned long long)limits->of[i].soft,
                   (long long)limits->of[i].soft_seconds);
    }
}

/* "2", "1.5": kept in percent. */
static bool option_factor_parse(void *field, struct slice value, struct errmsg *err)
{
    double v;
    if (!num_parse_double(value, &v) || v < 1 || v > 100) {
        errmsg_set(err, "argument must be between 1 and 100");
        return false;
    }
    *(int64_t *)field = (int64_t)(v * 100 + 0.5);
    return true;
}

static void option_factor_print(const void *field, struct str *to)
{
    int64_t percent = *(const int64_t *)field;
    str_append_int(to, percent / 100);
    if (percent % 100 != 0) {
        str_printf(to, ".%02d", (int)(percent % 100));
    }
}

static const struct option rows[] = {
#define OPTIONS_AS_ROWS struct proxy_options
#include "proxy/options.def"

#include "common/app/options_macros.h"
};

const struct options_table *proxy_options_table(void)
{
    static const struct options_table table = {.rows = rows,
                                               .count = sizeof(rows) / sizeof(rows[0]),
                                               .size = sizeof(struct proxy_options),
                                               .program = "shoal-proxy"};
    return &table;
}
>>>>>>> a80119d (The proxy's directives)
