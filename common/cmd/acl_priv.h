// SPDX-License-Identifier: BSD-3-Clause
/* Shared by acl.c, acl_rules.c and acl_print.c only. */
#pragma once

#include "common/base/sha256.h"
#include "common/cmd/acl.h"

/* Bit 0, which is no command's, stands for commands that later versions will have: only +@all sets
 * it. */
#define ACL_BITS_WORDS ((CMD_MAX + 63) / 64)

enum { ACL_MAY_READ = 1, ACL_MAY_WRITE = 2 };

struct acl_pattern {
    char *text;
    size_t len;
    unsigned may; /* ACL_MAY_READ | ACL_MAY_WRITE; of channels 0 */
};

/* +select|0: the command with this first word only. */
struct acl_first {
    uint16_t command;
    char *word;
};

struct acl_selector {
    uint64_t commands[ACL_BITS_WORDS];
    bool all_commands;
    bool all_keys;
    bool all_channels;
    struct acl_pattern *keys;
    size_t n_keys;
    struct acl_pattern *channels;
    size_t n_channels;
    struct acl_first *firsts; /* in the order in which they were given, by command */
    size_t n_firsts;
};

enum acl_sanitize { ACL_SANITIZE_UNSAID, ACL_SANITIZE_YES, ACL_SANITIZE_SKIP };

struct acl_user {
    unsigned refs; /* sets that have it; atomic */
    char *name;
    size_t name_len;
    bool on;
    bool nopass;
    uint8_t sanitize; /* enum acl_sanitize */
    uint8_t (*hashes)[SHA256_BYTES];
    size_t n_hashes;
    struct acl_selector *selectors; /* the first is the user's own; at least that one */
    size_t n_selectors;
};

static inline bool selector_has(const struct acl_selector *s, unsigned id)
{
    return (s->commands[id / 64] >> (id % 64) & 1) != 0;
}

void selector_init(struct acl_selector *s, bool open_channels);
void selector_fini(struct acl_selector *s);
/* One rule of a selector. NULL or what is wrong with it. */
const char *selector_rule(struct acl_selector *s, struct slice rule);
/* Sets or clears a command with its subcommands. */
void selector_set(struct acl_selector *s, const struct command *c, bool on);
/* The same for all of a category. */
void selector_set_category(struct acl_selector *s, uint32_t category, bool on);
void selector_set_all(struct acl_selector *s, bool on);
