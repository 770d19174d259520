// SPDX-License-Identifier: BSD-3-Clause
/* The last words of a process that a fault ends (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT):
 * program, version, signal, a backtrace, into the log; then the signal takes its course, core dump
 * included. Nothing in a sanitizer build, which has its own. */
#pragma once

/* Once, early in main. `program` must stay valid. */
void crash_install(const char *program);
/* Where the report goes; standard error until told. */
void crash_set_fd(int fd);
/* One line more for the report: what the process was about; must stay valid. NULL: none. */
void crash_set_note(const char *note);
