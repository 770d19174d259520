// SPDX-License-Identifier: BSD-3-Clause
/* A line of a configuration file cut into words, by Redis's rules: blanks separate; "..." knows \n
 * \r \t \a \b \xHH and takes any other character behind '\' as it is; '...' knows only \'. A
 * closing quote must end the word. */
#pragma once

#include "common/base/slice.h"
#include "common/base/str.h"

/* Zero-initialised is empty; used again for the next line. */
struct words {
    struct slice *argv; /* into `bytes`; valid until the next split */
    size_t argc;
    size_t room;
    struct str bytes;
};

/* False: unbalanced quotes. */
bool words_split(struct words *w, struct slice line) MUSTCHECK;
void words_fini(struct words *w);
/* Words `first` and after, joined with a blank. */
void words_join(const struct words *w, size_t first, struct str *to);
