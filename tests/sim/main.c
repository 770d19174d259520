// SPDX-License-Identifier: BSD-3-Clause
/* Runs seeds, several processes at a time:
 *
 *   sim --seed N [--verbose]            one seed, told in full
 *   sim --first N --seeds M [--jobs J]  M seeds from N on
 *   sim --hours H [--first N]           until so many virtual hours of a cluster have passed
 *   sim --seconds T                     until so much real time has passed, from a seed of its own
 *   sim --plants M                      each planted bug: the first of M seeds that finds it
 *   sim --plant NAME ...                with that bug in it
 *   sim --quiet S ...                   at most S virtual seconds between storms: for finding
 * faults
 *
 * Ends with 1 if a check failed; the seed is printed, and runs again exactly. */
#include "common/base/mem.h"

#include "tests/sim/sim.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct options {
    uint64_t first;
    uint64_t seeds;
    double hours;
    double seconds;
    int jobs;
    bool one;
    bool verbose;
    uint64_t plants;
    const char *plant;
    double quiet_s; /* 0: as the seed says */
};

/* What a seed came to; written to the parent's pipe in one piece. */
struct outcome {
    uint64_t seed;
    bool ok;
    int64_t virtual_us;
    uint64_t events;
    struct sim_counts counts;
    char failure[512];
};

static char running[64]; /* for the signal handler: which seed */

static void on_abort(int sig)
{
    ssize_t done = write(STDERR_FILENO, running, strlen(running));
    (void)done;
    signal(sig, SIG_DFL);
    raise(sig);
}

static void run_seed(uint64_t seed, const struct options *with, bool verbose, struct outcome *o)
{
    static struct sim sim;
    sim.quiet_us_max = (int64_t)(with->quiet_s * 1e6);
    (void)snprintf(running, sizeof(running), "seed %llu: ended by a signal\n",
                   (unsigned long long)seed);
    *o = (struct outcome){.seed = seed};
    o->ok = sim_run(&sim, seed, verbose);
    o->virtual_us = sim.world.now_us;
    o->events = sim.world.events_done;
    o->counts = sim.counts;
    snprintf(o->failure, sizeof(o->failure), "%s", sim.world.failure);
    sim_fini(&sim);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void add_counts(struct sim_counts *to, const struct sim_counts *c)
{
    const uint64_t *from = (const uint64_t *)c;
    uint64_t *sum = (uint64_t *)to;
    for (size_t i = 0; i < sizeof(*c) / sizeof(uint64_t); i++) {
        sum[i] += from[i];
    }
}

struct total {
    uint64_t seeds;
    uint64_t failed;
    uint64_t first_failed;
    double hours;
    uint64_t events;
    struct sim_counts counts;
};

static void print_failure(const struct options *o, const struct outcome *r)
{
    printf("FAILED seed %llu: %s\n", (unsigned long long)r->seed, r->failure);
    if (o->plant == NULL) {
        printf("       replay: make sim SEED=%llu\n", (unsigned long long)r->seed);
    }
    fflush(stdout);
}

static void take(const struct options *o, struct total *t, const struct outcome *r)
{
    t->seeds++;
    t->hours += (double)r->virtual_us / 3.6e9;
    t->events += r->events;
    add_counts(&t->counts, &r->counts);
    if (!r->ok) {
        t->first_failed = t->failed == 0 ? r->seed : MIN(t->first_failed, r->seed);
        t->failed++;
        if (o->plants == 0) {
            print_failure(o, r);
        }
    }
}

/* A child runs every jobs-th seed until it is told to stop by the pipe's other end being closed. */
static void child(const struct options *o, uint64_t seed, uint64_t end, int to)
{
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    signal(SIGPIPE, SIG_DFL);
    for (; seed < end; seed += (uint64_t)o->jobs) {
        struct outcome r;
        run_seed(seed, o, false, &r);
        if (write(to, &r, sizeof(r)) != (ssize_t)sizeof(r)) {
            break;
        }
    }
    _exit(0);
}

struct worker {
    pid_t pid;
    int from;
    uint64_t seed; /* that it runs */
    bool done;
};

static bool enough(const struct options *o, const struct total *t, double began)
{
    return (o->hours > 0 && t->hours >= o->hours) ||
           (o->seconds > 0 && seconds_now() - began >= o->seconds) ||
           (t->failed != 0 && o->plants != 0);
}

static void start(struct worker *w, const struct options *o, uint64_t seed, uint64_t end)
{
    int pipes[2];
    if (pipe(pipes) != 0) {
        perror("pipe");
        exit(2);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(pipes[0]);
        child(o, seed, end, pipes[1]);
    }
    close(pipes[1]);
    *w = (struct worker){.pid = pid, .from = pipes[0], .seed = seed};
}

/* Its process ended in the middle of a seed: that is a failure, too; the next seed goes on. */
static void died(struct worker *w, const struct options *o, struct total *t, uint64_t end)
{
    close(w->from);
    int status = 0;
    waitpid(w->pid, &status, 0);
    if (w->seed >= end || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        w->done = true;
        return;
    }
    struct outcome r = {.seed = w->seed};
    snprintf(r.failure, sizeof(r.failure), "the simulator ended by signal %d: an invariant",
             WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    take(o, t, &r);
    start(w, o, w->seed + (uint64_t)o->jobs, end);
}

static void run_seeds(const struct options *o, struct total *t)
{
    double began = seconds_now();
    uint64_t end = o->seeds == 0 ? UINT64_MAX : o->first + o->seeds;
    struct worker workers[64] = {0};
    *t = (struct total){0};
    for (int i = 0; i < o->jobs; i++) {
        start(&workers[i], o, o->first + (uint64_t)i, end);
    }
    for (int open = o->jobs; open != 0 && !enough(o, t, began);) {
        struct pollfd polls[64];
        for (int i = 0; i < o->jobs; i++) {
            polls[i] =
                (struct pollfd){.fd = workers[i].done ? -1 : workers[i].from, .events = POLLIN};
        }
        poll(polls, (nfds_t)o->jobs, 200);
        for (int i = 0; i < o->jobs; i++) {
            struct worker *w = &workers[i];
            struct outcome r;
            if (polls[i].revents == 0) {
                continue;
            }
            if (read(w->from, &r, sizeof(r)) == (ssize_t)sizeof(r)) {
                take(o, t, &r);
                w->seed += (uint64_t)o->jobs;
            } else {
                died(w, o, t, end);
                open -= w->done;
            }
        }
    }
    for (int i = 0; i < o->jobs; i++) {
        if (!workers[i].done) {
            kill(workers[i].pid, SIGKILL);
            waitpid(workers[i].pid, NULL, 0);
            close(workers[i].from);
        }
    }
}

static void print_total(const struct total *t, double seconds)
{
    const struct sim_counts *c = &t->counts;
    printf("%llu seeds, %.0f virtual hours, %.1fM events in %.0f s: %llu failed\n",
           (unsigned long long)t->seeds, t->hours, (double)t->events / 1e6, seconds,
           (unsigned long long)t->failed);
    printf("writes acknowledged %llu, reads %llu, unknown %llu, refused %llu, resolved by FATE "
           "%llu, sent again %llu\n",
           (unsigned long long)c->acknowledged, (unsigned long long)c->reads,
           (unsigned long long)c->unknown, (unsigned long long)c->refused,
           (unsigned long long)c->resolved, (unsigned long long)c->resent);
    printf("faults %llu, new primaries %llu, hand-overs %llu, full copies %llu, portraits in "
           "them %llu, shards whose whole in-sync set lost its tail %llu, keys undecided %llu\n",
           (unsigned long long)c->faults, (unsigned long long)c->failovers,
           (unsigned long long)c->handovers, (unsigned long long)c->copies,
           (unsigned long long)c->portraits, (unsigned long long)c->lost_allowed,
           (unsigned long long)c->undecided);
}

static int run_plants(struct options *o)
{
    int missed = 0;
    for (size_t i = 0; plant_name(i) != NULL; i++) {
        if (o->plant != NULL && strcmp(o->plant, plant_name(i)) != 0) {
            continue;
        }
        if (!plant_set(plant_name(i))) {
            printf("this build has no planted bugs\n");
            return 2;
        }
        struct total t;
        struct options with = *o;
        with.plant = plant_name(i);
        with.seeds = o->plants;
        double began = seconds_now();
        run_seeds(&with, &t);
        if (t.failed != 0) {
            printf("%-20s found by seed %-6llu (%3.0f s)  %s\n", plant_name(i),
                   (unsigned long long)t.first_failed, seconds_now() - began, plant_what(i));
        } else {
            printf("%-20s NOT FOUND in %llu seeds  %s\n", plant_name(i),
                   (unsigned long long)t.seeds, plant_what(i));
            missed++;
        }
        fflush(stdout);
    }
    return missed != 0;
}

static int run_one(const struct options *o)
{
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    struct outcome r;
    run_seed(o->first, o, o->verbose, &r);
    if (!r.ok) {
        print_failure(o, &r);
    }
    struct total t = {0};
    struct options silent = *o;
    silent.plants = 1;
    take(&silent, &t, &r);
    print_total(&t, 0);
    return !r.ok;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--verbose") == 0) {
            o->verbose = true;
            continue;
        }
        if (i + 1 == argc) {
            return false;
        }
        const char *value = argv[++i];
        if (strcmp(name, "--seed") == 0) {
            o->one = true;
            o->first = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--first") == 0) {
            o->first = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--seeds") == 0) {
            o->seeds = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--hours") == 0) {
            o->hours = strtod(value, NULL);
        } else if (strcmp(name, "--seconds") == 0) {
            o->seconds = strtod(value, NULL);
        } else if (strcmp(name, "--jobs") == 0) {
            o->jobs = atoi(value);
        } else if (strcmp(name, "--plants") == 0) {
            o->plants = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--quiet") == 0) {
            o->quiet_s = strtod(value, NULL);
        } else if (strcmp(name, "--plant") == 0) {
            o->plant = value;
        } else {
            return false;
        }
    }
    return o->jobs >= 1 && o->jobs <= 64;
}

int main(int argc, char **argv)
{
    struct options o = {.first = 0, .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    if (!read_options(argc, argv, &o)) {
        fprintf(stderr, "usage: see tests/sim/README.md\n");
        return 2;
    }
    if (o.plants != 0) {
        return run_plants(&o);
    }
    if (o.plant != NULL && !plant_set(o.plant)) {
        fprintf(stderr, "no such planted bug in this build\n");
        return 2;
    }
    if (o.one) {
        return run_one(&o);
    }
    if (o.first == 0) {
        o.first = (uint64_t)time(NULL) * 1000;
    }
    if (o.seeds == 0 && o.hours <= 0 && o.seconds <= 0) {
        o.seeds = 100;
    }
    printf("from seed %llu on\n", (unsigned long long)o.first);
    struct total t;
    double began = seconds_now();
    run_seeds(&o, &t);
    print_total(&t, seconds_now() - began);
    printf("sim: %llu passed, %llu failed\n", (unsigned long long)(t.seeds - t.failed),
           (unsigned long long)t.failed);
    return t.failed != 0;
}
