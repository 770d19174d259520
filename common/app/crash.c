// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/crash.h"

#include "common/app/version.h"
#include "common/base/obj.h"

#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define FRAMES 64

/* A signal handler can be given nothing else. */
static const char *the_program;
static _Atomic int the_fd = STDERR_FILENO;
static const char *_Atomic the_note;

/* Only what may be called in a signal handler. */
static void put(int fd, const char *text)
{
    ssize_t n = write(fd, text, strlen(text));
    (void)n;
}

static void put_number(int fd, uintptr_t v, unsigned base)
{
    char digits[2 * sizeof(v) + 8];
    char *at = digits + sizeof(digits) - 1;
    *at = '\0';
    do {
        *--at = "0123456789abcdef"[v % base];
        v /= base;
    } while (v > 0);
    put(fd, at);
}

static void report(int signo, siginfo_t *info, void *context)
{
    (void)context;
    int fd = atomic_load(&the_fd);
    const char *note = atomic_load(&the_note);
    void *frames[FRAMES] = {NULL};
    put(fd, "\n=== ");
    put(fd, the_program);
    put(fd, " " SHOAL_VERSION " ends by signal ");
    put_number(fd, (uintptr_t)signo, 10);
    put(fd, " (");
    put(fd, sigabbrev_np(signo) == NULL ? "?" : sigabbrev_np(signo));
    put(fd, ") at address 0x");
    put_number(fd, (uintptr_t)info->si_addr, 16);
    put(fd, ", pid ");
    put_number(fd, (uintptr_t)getpid(), 10);
    put(fd, "\n");
    if (note != NULL) {
        put(fd, note);
        put(fd, "\n");
    }
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), fd);
    put(fd, "=== end of report\n");
    (void)raise(signo); /* SA_RESETHAND: now the default */
}

void crash_install(const char *program)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static char stack[64 * 1024];
    the_program = program;
#ifndef SHOAL_LIBC_MALLOC
    /* The first call loads a library, which a handler must not. */
    void *frame[1];
    (void)backtrace(frame, 1);
    /* An overflown stack can't carry the handler. */
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof(stack)};
    (void)sigaltstack(&alternative, NULL);
    struct sigaction action = {.sa_sigaction = report,
                               .sa_flags =
                                   SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
#else
    (void)signals;
    (void)stack;
    (void)report;
#endif
}

void crash_set_fd(int fd)
{
    atomic_store(&the_fd, fd);
}

void crash_set_note(const char *note)
{
    atomic_store(&the_note, note);
}
