// SPDX-License-Identifier: BSD-3-Clause
/* Random commands from a text: a line is `weight mode command...`.
 *
 *   modes      =  the reply is the same, byte for byte        ~  the same elements in any order
 *              %  the same pairs in any order                 #  the same, but numbers may be a
 *              ?  both an error, or both none                    little apart (times)
 *              !  behind the letter: never with a word too many, too few or a wrong one
 *              c  key, cursor, elements: compared where both walks begin at 0 and are complete
 *   in it      word   $name $name:2 (one of a pool, see grammar.c)
 *              ( a | b | c )   one of them      [ a ]   perhaps      { a }   one to three times
 *
 * Lines that begin with @ are the questions about each key, asked at the end ($key is the key).
 * One thread. */
#pragma once

#include "common/base/rng.h"
#include "common/base/slice.h"
#include "common/base/str.h"

enum mode { MODE_SAME, MODE_SET, MODE_PAIRS, MODE_ABOUT, MODE_KIND, MODE_CURSOR };

#define WORDS_MAX 64
#define KEYS_EACH 4 /* of a kind */

struct saying {
    enum mode mode;
    size_t n;
    struct slice words[WORDS_MAX]; /* valid until the next one is made */
};

struct grammar;

/* `spread`: keys are of many slots, those of one command in one slot. NULL: *error says why. */
struct grammar *grammar_read(const char *path, bool spread, struct str *error);
void grammar_free(struct grammar **g);
/* Leaves out commands and questions whose first word is this. */
void grammar_leave_out(struct grammar *g, const char *name);

void grammar_say(struct grammar *g, struct rng *rng, struct saying *out);

/* All keys there are, and the questions about each. */
size_t grammar_keys(const struct grammar *g);
size_t grammar_questions(const struct grammar *g);
void grammar_ask(struct grammar *g, size_t key, size_t question, struct saying *out);
