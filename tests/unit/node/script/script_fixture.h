// SPDX-License-Identifier: BSD-3-Clause
/* A keyspace with scripts beside its commands; the outside world is under the test's hand. */
#pragma once

#include "node/script/script.h"

#include "tests/unit/node/cmd/node_fixture.h"

struct scripted {
    struct fixture f;
    struct scripts *scripts;
    struct script_settings settings;
    int64_t now_us;
    int64_t step_us;    /* the clock goes on by so much each time it is read */
    const char *refuse; /* what port.may_call answers; NULL: it may */
    void (*on_busy)(struct scripted *t);
    uint64_t busy; /* times */
    uint64_t alive;
    bool marks_errors;
    uint64_t ended; /* times, after busy */
    uint64_t rejected;
    uint64_t told; /* of changed libraries */
    bool cannot_keep;
};

static inline int64_t port_now_us(void *arg)
{
    struct scripted *t = arg;
    t->now_us += t->step_us;
    return t->now_us;
}

static inline unsigned port_began(void *arg, struct call *c)
{
    (void)arg;
    (void)c;
    return 1000;
}

static inline bool port_may_call(void *arg, const struct call *c, const struct call *inner,
                                 struct str *why)
{
    const struct scripted *t = arg;
    (void)c;
    (void)inner;
    if (t->refuse != NULL) {
        str_appendz(why, t->refuse);
    }
    return t->refuse == NULL;
}

static inline bool port_may_write(void *arg, const struct call *c, struct str *why)
{
    return port_may_call(arg, c, NULL, why);
}

static inline void port_rejected(void *arg, const struct command *cmd, const char *code)
{
    (void)cmd;
    (void)code;
    ((struct scripted *)arg)->rejected++;
}

static inline void port_busy(void *arg)
{
    struct scripted *t = arg;
    t->busy++;
    if (t->on_busy != NULL) {
        t->on_busy(t);
    }
}

static inline bool port_marks_errors(void *arg, const struct call *c)
{
    (void)c;
    return ((struct scripted *)arg)->marks_errors;
}

static inline void port_alive(void *arg)
{
    ((struct scripted *)arg)->alive++;
}

static inline void port_ended(void *arg)
{
    ((struct scripted *)arg)->ended++;
}

static inline void port_log(void *arg, int level, struct slice text)
{
    (void)arg;
    (void)level;
    (void)text;
}

static inline bool port_libraries_changed(void *arg, struct str *why)
{
    struct scripted *t = arg;
    t->told++;
    if (t->cannot_keep) {
        str_appendz(why, "MISCONF no");
    }
    return !t->cannot_keep;
}

static inline void scripted_open(struct scripted *t)
{
    *t = (struct scripted){.settings = {.busy_threshold_ms = 100}};
    fixture_open(&t->f);
    const struct script_port port = {
        .arg = t,
        .now_us = port_now_us,
        .began = port_began,
        .marks_errors = port_marks_errors,
        .may_call = port_may_call,
        .may_write = port_may_write,
        .rejected = port_rejected,
        .alive = port_alive,
        .busy = port_busy,
        .ended = port_ended,
        .log = port_log,
        .libraries_changed = port_libraries_changed,
    };
    t->scripts = scripts_new(&port, &t->settings, 5);
    scripts_handlers(&t->f.table, t->scripts);
}

static inline void scripted_close(struct scripted *t)
{
    scripts_free(&t->scripts);
    fixture_close(&t->f);
}

/* "EVAL script 0", or another command of that shape; NULL ends the arguments behind it. */
static inline const char *say_words(struct scripted *t, const char *const *words)
{
    struct slice argv[16];
    size_t argc = 0;
    for (; words[argc] != NULL; argc++) {
        assert_true(argc < 16);
        argv[argc] = slice_str(words[argc]);
    }
    return say_args(&t->f, &t->f.session, argv, argc);
}

#define SAY(t, ...)                   say_words((t), (const char *const[]){__VA_ARGS__, NULL})
#define EVAL(t, script)               SAY((t), "EVAL", (script), "0")
#define EXPECT_EVAL(t, script, reply) assert_string_equal(EVAL((t), (script)), reply)
/* The reply begins so: behind it comes the script's SHA1. */
#define EXPECT_ERROR(t, script, begin)                                                             \
    assert_int_equal(strncmp(EVAL((t), (script)), begin, strlen(begin)), 0)
