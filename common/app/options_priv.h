// SPDX-License-Identifier: BSD-3-Clause
/* What reading and rewriting of a configuration file share. */
#pragma once

#include "common/app/options.h"

/* A whole file, at most OPTIONS_FILE_MAX bytes; "-" is standard input. False with err. */
#define OPTIONS_FILE_MAX (16 * 1024 * 1024)
bool options_read_file(const char *path, struct str *to, struct errmsg *err) MUSTCHECK;

/* Beside the file, then renamed over it: a crash leaves the old one or the new one. */
bool options_replace_file(const char *path, struct slice bytes, struct errmsg *err) MUSTCHECK;

/* Cuts the next line off `text`, without blanks around it. False: there is none. */
bool options_next_line(struct slice *text, struct slice *line);

/* Several values of an OPT_REPEAT option as one text. */
void options_join(const struct option *o, struct str *so_far, struct slice value);
