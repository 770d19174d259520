// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/option_types.h"

#include "common/base/num.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* The next word of `v`, cut off from it; false at the end. */
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

static int output_class_named(struct slice name)
{
    if (slice_is(name, "normal")) {
        return OUTPUT_NORMAL;
    }
    if (slice_is(name, "slave") || slice_is(name, "replica")) {
        return OUTPUT_REPLICA;
    }
    return slice_is(name, "pubsub") ? OUTPUT_PUBSUB : -1;
}

bool output_limits_parse(void *field, struct slice value, struct errmsg *err)
{
    struct output_limits next = *(struct output_limits *)field;
    struct slice word;
    int classes = 0;
    while (next_word(&value, &word)) {
        struct slice hard, soft, seconds;
        int class = output_class_named(word);
        if (!next_word(&value, &hard) || !next_word(&value, &soft) ||
            !next_word(&value, &seconds)) {
            errmsg_set(err, "Wrong number of arguments in buffer limit configuration.");
            return false;
        }
        if (class < 0) {
            errmsg_set(err, "Invalid client class specified in buffer limit configuration.");
            return false;
        }
        struct output_limit *l = &next.of[class];
        if (!num_parse_memory(hard, &l->hard) || !num_parse_memory(soft, &l->soft) ||
            !num_parse_i64(seconds, &l->soft_seconds) || l->soft_seconds < 0) {
            errmsg_set(err, "Error in hard, soft or soft_seconds setting in buffer limit "
                            "configuration.");
            return false;
        }
        classes++;
    }
    if (classes == 0) {
        errmsg_set(err, "Wrong number of arguments in buffer limit configuration.");
        return false;
    }
    *(struct output_limits *)field = next;
    return true;
}

void output_limits_print(const void *field, struct str *to)
{
    static const char *const names[] = {"normal", "slave", "pubsub"};
    const struct output_limits *limits = field;
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        const struct output_limit *l = &limits->of[i];
        str_printf(to, "%s%s %llu %llu %lld", i == 0 ? "" : " ", names[i],
                   (unsigned long long)l->hard, (unsigned long long)l->soft,
                   (long long)l->soft_seconds);
    }
}

bool percentiles_parse(void *field, struct slice value, struct errmsg *err)
{
    struct percentiles next = {0};
    struct slice word;
    while (next_word(&value, &word)) {
        double p;
        if (slice_eq(word, SLICE("\"\""))) {
            continue;
        }
        if (next.count == PERCENTILES_MAX || !num_parse_double(word, &p)) {
            errmsg_set(err, "Invalid latency-tracking-info-percentiles parameters");
            return false;
        }
        if (!(p >= 0 && p <= 100)) {
            errmsg_set(err, "latency-tracking-info-percentiles parameters should sit between "
                            "[0.0,100.0]");
            return false;
        }
        next.at[next.count++] = p;
    }
    *(struct percentiles *)field = next;
    return true;
}

void percentiles_print(const void *field, struct str *to)
{
    const struct percentiles *p = field;
    for (int i = 0; i < p->count; i++) {
        char text[32]; /* as few digits as give the same number again */
        for (int digits = 3; digits <= 17; digits++) {
            (void)snprintf(text, sizeof(text), "%.*g", digits, p->at[i]);
            if (strtod(text, NULL) == p->at[i]) {
                break;
            }
        }
        str_printf(to, "%s%s", i == 0 ? "" : " ", text);
    }
}
