// SPDX-License-Identifier: BSD-3-Clause
/* Which arguments of a command are keys, and what the command does with them.
 *
 * Pure and proof against hostile arguments: the work is bounded by argc whatever a numkeys says.
 * Most commands have one key at a fixed place: keys_single() says so without a search. */
#pragma once

#include "common/cmd/command.h"

struct key_ref {
    uint32_t index; /* into argv */
    uint16_t flags; /* enum key_flag, e.g. KEY_RO | KEY_ACCESS */
};

#define KEY_LIST_SMALL 32

/* Room for keys: on the stack or in a long-lived struct, used again and again. Allocates only for a
 * command with more than KEY_LIST_SMALL keys, and keeps that until key_list_fini. */
struct key_list {
    struct key_ref *keys;
    uint32_t count;
    uint32_t cap;
    struct key_ref small[KEY_LIST_SMALL];
};

void key_list_init(struct key_list *l);
void key_list_fini(struct key_list *l);

enum keys_result {
    KEYS_OK,   /* all are listed; none only where that is allowed (CF_NO_MANDATORY_KEYS: EVAL) */
    KEYS_NONE, /* the command never has keys */
    KEYS_BAD,  /* the arguments make no sense; what runs the command says what is wrong with them */
};

/* The argument that is the command's one key, 0 if it is not of that kind. Present when the arity
 * fits. */
static inline uint32_t keys_single(const struct command *c)
{
    return c->key_single;
}

/* Lists the keys in the order of the arguments of each key specification. Shard channels are listed
 * too, marked KEY_NOT_KEY. `c` is what command_find gave for argv; the arity need not fit. */
enum keys_result keys_find(const struct command *c, const struct slice *argv, size_t argc,
                           struct key_list *out);
/* Whether the command can have keys (shard channels are none). */
bool keys_possible(const struct command *c);
