// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/debug_command.h"

#include "common/base/glob.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/cmd/reply.h"
#include "common/resp/errors.h"

#define SLEEP_SECONDS_MAX 86400.0
#define STRINGMATCH_LEN   32
#define STRINGMATCH_TURNS 100000
#define STRINGMATCH_SEED  0x5ca1ab1e

static void debug_log(const struct slice *argv, struct resp_writer *w)
{
    log_event(LOG_WARNING, "debug", "DEBUG LOG: %.*s", ARG_PRINT(argv[2]));
    resp_ok(w);
}

/* --- PROTOCOL: one of each type --- */

static void protocol_array(struct resp_writer *w)
{
    resp_array(w, 3);
    for (int i = 0; i < 3; i++) {
        resp_int(w, i);
    }
}

static void protocol_set(struct resp_writer *w)
{
    resp_set(w, 3);
    for (int i = 0; i < 3; i++) {
        resp_int(w, i);
    }
}

static void protocol_map(struct resp_writer *w)
{
    resp_map(w, 3);
    for (int i = 0; i < 3; i++) {
        resp_int(w, i);
        resp_bool(w, i == 1);
    }
}

static void protocol_attrib(struct resp_writer *w)
{
    if (w->proto >= 3) {
        resp_attribute(w, 1);
        resp_bulkz(w, "key-popularity");
        resp_array(w, 2);
        resp_bulkz(w, "key:123");
        resp_int(w, 90);
    }
    resp_bulkz(w, "Some real reply following the attribute");
}

static void protocol_push(struct resp_writer *w)
{
    if (w->proto < 3) {
        resp_error(w, "ERR RESP2 is not supported by this command");
        return;
    }
    resp_push(w, 2);
    resp_bulkz(w, "server-cpu-usage");
    resp_int(w, 42);
    resp_bulkz(w, "Some real reply following the push reply");
}

static void protocol_string(struct resp_writer *w)
{
    resp_bulkz(w, "Hello World");
}

static void protocol_integer(struct resp_writer *w)
{
    resp_int(w, 12345);
}

static void protocol_double(struct resp_writer *w)
{
    resp_double(w, 3.141);
}

static void protocol_null(struct resp_writer *w)
{
    resp_nil(w);
}

static void protocol_bignum(struct resp_writer *w)
{
    resp_bignum(w, "1234567999999999999999999999999999999");
}

static void protocol_verbatim(struct resp_writer *w)
{
    resp_verbatim(w, "txt", SLICE("This is a verbatim\nstring"));
}

static void protocol_true(struct resp_writer *w)
{
    resp_bool(w, true);
}

static void protocol_false(struct resp_writer *w)
{
    resp_bool(w, false);
}

static void debug_protocol(const struct slice *argv, struct resp_writer *w)
{
    static const struct {
        const char *name;
        void (*write)(struct resp_writer *w);
    } kinds[] = {
        {"string", protocol_string},    {"integer", protocol_integer}, {"double", protocol_double},
        {"null", protocol_null},        {"array", protocol_array},     {"set", protocol_set},
        {"map", protocol_map},          {"attrib", protocol_attrib},   {"push", protocol_push},
        {"bignum", protocol_bignum},    {"true", protocol_true},       {"false", protocol_false},
        {"verbatim", protocol_verbatim}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_is(argv[2], kinds[i].name)) {
            kinds[i].write(w);
            return;
        }
    }
    resp_error(w,
               "ERR Wrong protocol type name. Please use one of the following: "
               "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

static void debug_error(const struct slice *argv, struct resp_writer *w)
{
    struct str text = {0};
    str_append_slice(&text, argv[2]);
    resp_error(w, str_cstr(&text));
    str_fini(&text);
}

/* Patterns and texts of a few characters that patterns are made of: short, and all cases. */
static void debug_stringmatch(const struct slice *argv, struct resp_writer *w)
{
    static const char letters[] = "*?[]^-\\abAB";
    struct rng rng;
    char text[2][STRINGMATCH_LEN];
    (void)argv;
    rng_init(&rng, STRINGMATCH_SEED);
    for (int turn = 0; turn < STRINGMATCH_TURNS; turn++) {
        struct slice s[2];
        for (int k = 0; k < 2; k++) {
            s[k] = slice_of(text[k], rng_below(&rng, STRINGMATCH_LEN + 1));
            for (size_t i = 0; i < s[k].len; i++) {
                text[k][i] = letters[rng_below(&rng, sizeof(letters) - 1)];
            }
        }
        (void)glob_match(s[0], s[1], turn % 2 == 0);
    }
    resp_simple(w, "Apparently Redis did not crash: test passed");
}

bool debug_read_seconds(struct slice text, double *seconds, struct resp_writer *w)
{
    if (num_parse_double(text, seconds) && *seconds >= 0 && *seconds <= SLEEP_SECONDS_MAX) {
        return true;
    }
    resp_error(w, ERR_NOT_FLOAT);
    return false;
}

bool debug_common(const struct slice *argv, size_t argc, struct resp_writer *w)
{
    static const struct {
        const char *name;
        size_t argc;
        void (*fn)(const struct slice *argv, struct resp_writer *w);
    } handlers[] = {{"log", 3, debug_log},
                    {"protocol", 3, debug_protocol},
                    {"error", 3, debug_error},
                    {"stringmatch-test", 2, debug_stringmatch}};
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        if (argc == handlers[i].argc && slice_is(argv[1], handlers[i].name)) {
            handlers[i].fn(argv, w);
            return true;
        }
    }
    return false;
}

/* A heading at the left margin and the indented lines below it are one entry. */
static size_t put_entry(const char *const *lines, size_t at, const char **to, size_t *n)
{
    to[(*n)++] = lines[at++];
    while (lines[at] != NULL && lines[at][0] == ' ') {
        to[(*n)++] = lines[at++];
    }
    return at;
}

/* Both lists are sorted, and so is the whole. */
void debug_help_reply(const char *const *lines, struct resp_writer *w)
{
    static const char *const common[] = {"ERROR <string>",
                                         "    Answer with this error.",
                                         "LOG <message>",
                                         "    Write a line to the log.",
                                         "PROTOCOL <type>",
                                         "    Answer with a value of that type.",
                                         "STRINGMATCH-TEST",
                                         "    Match random patterns with random texts.",
                                         NULL};
    const char *all[DEBUG_HELP_MAX];
    size_t n = 0;
    for (size_t i = 0, k = 0; lines[i] != NULL || common[k] != NULL;) {
        INVARIANT(n + 4 < DEBUG_HELP_MAX);
        if (common[k] == NULL || (lines[i] != NULL && strcmp(lines[i], common[k]) < 0)) {
            i = put_entry(lines, i, all, &n);
        } else {
            k = put_entry(common, k, all, &n);
        }
    }
    all[n] = NULL;
    command_help_reply(w, "DEBUG", all);
}
