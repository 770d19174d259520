// SPDX-License-Identifier: BSD-3-Clause
/* Libraries and the functions in them; how a set of them is changed. The node's thread. */
#pragma once

#include "node/script/script_priv.h"

struct library {
    struct hmap_node node;
    struct library *next; /* in a change */
    bool linked;          /* in a change: it is in the tables already */
    char *name;
    struct str code;            /* all of it, with its first line */
    struct function *functions; /* in the order in which they were registered */
};

struct library *functions_library(struct scripts *s, struct slice name);

enum libraries_policy { LIBRARIES_APPEND, LIBRARIES_REPLACE, LIBRARIES_FLUSH };

/* Zero-initialised but for the policy; then filled, made, and kept or undone. After a false answer
 * of change_make nothing is left of it; change_undo does the same at any time. */
struct change {
    enum libraries_policy policy;
    struct library *come;
    struct library *gone;
};
/* False: `why`. */
bool change_add(struct scripts *s, struct change *ch, struct slice code, struct str *why) MUSTCHECK;
bool change_add_payload(struct scripts *s, struct change *ch, struct slice in,
                        struct str *why) MUSTCHECK;
void change_remove(struct scripts *s, struct change *ch, struct library *l);
bool change_make(struct scripts *s, struct change *ch, struct str *why) MUSTCHECK;
void change_undo(struct scripts *s, struct change *ch);
void change_keep(struct scripts *s, struct change *ch);
