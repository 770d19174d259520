// SPDX-License-Identifier: BSD-3-Clause
/* The command table: what every command of Redis 7.0, and each of our own, is. One for proxy and
 * node.
 *
 * Rows are in commands.def and subcommands.def; a program that needs a table of its own per command
 * (handlers, routes) makes an array of CMD_MAX entries indexed by `id`, or includes the .def files.
 * The table is complete before main() runs and constant from then on: any thread, no locks, no
 * allocation. Rows are compared by pointer. Pure. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

/* One number space for both: CMD_GET, CMD_CLIENT, ..., then CMD_CLIENT_LIST, ... 0 is no command.
 */
enum command_id {
    CMD_NONE,
#define COMMAND(ID, ...)               CMD_##ID,
#define SUBCOMMAND(CONTAINER, ID, ...) CMD_##CONTAINER##_##ID,
#include "common/cmd/commands.def"
#include "common/cmd/subcommands.def"
#undef COMMAND
#undef SUBCOMMAND
    CMD_MAX
};

/* Those that are no subcommands have the ids 1 to COMMAND_COUNT. */
enum {
    COMMAND_COUNT = 0
#define COMMAND(...) +1
#include "common/cmd/commands.def"
#undef COMMAND
};

/* In the order in which COMMAND INFO lists them; the last three are not shown there. */
enum command_flag {
    CF_WRITE = 1 << 0,
    CF_READONLY = 1 << 1,
    CF_DENYOOM = 1 << 2,
    CF_MODULE = 1 << 3,
    CF_ADMIN = 1 << 4,
    CF_PUBSUB = 1 << 5,
    CF_NOSCRIPT = 1 << 6,
    CF_BLOCKING = 1 << 7,
    CF_LOADING = 1 << 8,
    CF_STALE = 1 << 9,
    CF_SKIP_MONITOR = 1 << 10,
    CF_SKIP_SLOWLOG = 1 << 11,
    CF_ASKING = 1 << 12,
    CF_FAST = 1 << 13,
    CF_NO_AUTH = 1 << 14,
    CF_NO_MANDATORY_KEYS = 1 << 15,
    CF_NO_ASYNC_LOADING = 1 << 16,
    CF_NO_MULTI = 1 << 17,
    CF_MOVABLEKEYS = 1 << 18,
    CF_ALLOW_BUSY = 1 << 19,
    CF_MAY_REPLICATE = 1 << 20, /* no write by itself, yet may cause one: EVAL, PUBLISH, PFCOUNT */
    CF_PROTECTED = 1 << 21,     /* only with enable-debug-command, enable-module-command */
    CF_INTERNAL = 1 << 22, /* between our programs: no client is told of it, a proxy has it not */
};

/* ACL categories; bit i is the i-th name of command_category_name(). */
/* It never settles on this one. */
/* clang-format off */
#define COMMAND_CATEGORIES(X) \
    X(KEYSPACE, "keyspace") X(READ, "read") X(WRITE, "write") X(SET, "set") \
    X(SORTEDSET, "sortedset") X(LIST, "list") X(HASH, "hash") X(STRING, "string") \
    X(BITMAP, "bitmap") X(HYPERLOGLOG, "hyperloglog") X(GEO, "geo") X(STREAM, "stream") \
    X(PUBSUB, "pubsub") X(ADMIN, "admin") X(FAST, "fast") X(SLOW, "slow") \
    X(BLOCKING, "blocking") X(DANGEROUS, "dangerous") X(CONNECTION, "connection") \
    X(TRANSACTION, "transaction") X(SCRIPTING, "scripting")
/* clang-format on */

enum command_category_bit {
#define X(ID, name) ACL_BIT_##ID,
    COMMAND_CATEGORIES(X)
#undef X
        ACL_BITS
};

enum command_category {
#define X(ID, name) ACL_##ID = 1 << ACL_BIT_##ID,
    COMMAND_CATEGORIES(X)
#undef X
};

enum command_group {
    GROUP_GENERIC,
    GROUP_STRING,
    GROUP_BITMAP,
    GROUP_HASH,
    GROUP_LIST,
    GROUP_SET,
    GROUP_SORTED_SET,
    GROUP_STREAM,
    GROUP_GEO,
    GROUP_HYPERLOGLOG,
    GROUP_PUBSUB,
    GROUP_TRANSACTIONS,
    GROUP_SCRIPTING,
    GROUP_CONNECTION,
    GROUP_SERVER,
    GROUP_CLUSTER,
};

/* Where a command without a single key goes, and how the answers become one (Redis's command tips).
 */
enum request_policy {
    REQUEST_NONE, /* by its keys' slots; keyless: any node */
    REQUEST_ALL_NODES,
    REQUEST_ALL_SHARDS,
    REQUEST_MULTI_SHARD,
    REQUEST_SPECIAL,
};
enum response_policy {
    RESPONSE_NONE, /* keyless: the answers' elements together; with keys: in the order of the keys
                    */
    RESPONSE_ONE_SUCCEEDED,
    RESPONSE_ALL_SUCCEEDED,
    RESPONSE_AGG_LOGICAL_AND,
    RESPONSE_AGG_LOGICAL_OR,
    RESPONSE_AGG_MIN,
    RESPONSE_AGG_MAX,
    RESPONSE_AGG_SUM,
    RESPONSE_SPECIAL,
};
enum command_tip {
    TIP_OUTPUT_VARIES = 1, /* nondeterministic_output */
    TIP_ORDER_VARIES = 2,  /* nondeterministic_output_order */
};

/* What a command does with a key. */
enum key_flag {
    KEY_RO = 1 << 0,     /* reads the value, never changes it */
    KEY_RW = 1 << 1,     /* reads and changes, or changes a part */
    KEY_OW = 1 << 2,     /* overwrites without looking */
    KEY_RM = 1 << 3,     /* removes without looking */
    KEY_ACCESS = 1 << 4, /* gives data of the value to the client */
    KEY_UPDATE = 1 << 5,
    KEY_INSERT = 1 << 6,
    KEY_DELETE = 1 << 7,
    KEY_NOT_KEY = 1 << 8, /* hashes to a slot, but is none: a shard channel */
    KEY_INCOMPLETE = 1 << 9,
    KEY_VARIABLE_FLAGS = 1 << 10, /* the flags depend on the other arguments */
};

enum key_begin { KEY_BEGIN_UNKNOWN, KEY_BEGIN_INDEX, KEY_BEGIN_KEYWORD };
enum key_find { KEY_FIND_UNKNOWN, KEY_FIND_RANGE, KEY_FIND_KEYNUM };

/* One key specification; see commands.def for the meaning of the numbers. */
struct key_spec {
    uint16_t flags;
    uint8_t begin;       /* enum key_begin */
    uint8_t find;        /* enum key_find */
    int16_t pos;         /* INDEX: argument; KEYWORD: where to start */
    int16_t find_arg[3]; /* RANGE: last, step, limit; KEYNUM: count's argument, first, step */
    const char *keyword;
    const char *note;
};

struct command {
    uint16_t id;        /* enum command_id */
    int16_t arity;      /* words with the name; -n: n or more */
    uint32_t flags;     /* enum command_flag */
    uint32_t acl;       /* enum command_category */
    uint8_t key_single; /* the one key is this argument, always; 0: not so simple, see keys.h */
    uint8_t key_flags;  /* what is done with it at most: RO to DELETE of enum key_flag */
    uint8_t request;    /* enum request_policy */
    uint8_t response;   /* enum response_policy */
    uint8_t tips;       /* enum command_tip */
    uint8_t group;      /* enum command_group */
    uint8_t spec_count;
    int8_t key_step; /* as COMMAND shows: first, last (negative: from the end), step */
    int16_t key_first;
    int16_t key_last;
    uint16_t parent_id; /* the container's id; 0: a command of its own */
    uint16_t sub_first; /* id of the first subcommand */
    uint16_t sub_count;
    const struct key_spec *specs;
    const struct command *parent;
    const char *name;      /* "get"; of a subcommand "list" */
    const char *full_name; /* "get"; "client|list" */
    const char *since;
};

static inline bool command_is_write(const struct command *c)
{
    return (c->flags & CF_WRITE) != 0;
}

/* EVAL, FCALL and their kin: what they do is what they call. */
static inline bool command_is_script(const struct command *c)
{
    return c->id == CMD_EVAL || c->id == CMD_EVALSHA || c->id == CMD_EVAL_RO ||
           c->id == CMD_EVALSHA_RO || c->id == CMD_FCALL || c->id == CMD_FCALL_RO;
}

static inline bool command_arity_ok(const struct command *c, size_t argc)
{
    return c->arity >= 0 ? argc == (size_t)c->arity : argc >= (size_t)-c->arity;
}

/* The row of an id in 1..CMD_MAX-1. */
const struct command *command_by_id(enum command_id id);
/* The row for a request, the subcommand's where there is one. NULL: unknown. A container without a
 * second word gives its own row (whose arity then does not fit). argc >= 1. */
const struct command *command_find(const struct slice *argv, size_t argc);
/* By name, "get" or "client|list". NULL: unknown. */
const struct command *command_named(struct slice name);
/* The subcommand of a container. NULL: it has none of that name. */
const struct command *command_sub(const struct command *container, struct slice name);

#define COMMAND_ERROR_MAX 512
/* command_find and the arity check in one: the row, or NULL and the error's text as Redis words it.
 */
const struct command *command_resolve(const struct slice *argv, size_t argc,
                                      char error[COMMAND_ERROR_MAX]);
/* "ERR unknown command 'x', with args beginning with: ..." or "ERR unknown subcommand 'x'. Try ...
 * HELP." */
void command_error_unknown(char error[COMMAND_ERROR_MAX], const struct slice *argv, size_t argc);
/* What browsers can be made to begin a request with: who says it is closed, before it gets to what
 * the rest of the request may hold. */
bool command_is_http(struct slice name);
void command_error_arity(char error[COMMAND_ERROR_MAX], const struct command *c);

/* "write", "readonly", ... for one bit; NULL for those that COMMAND does not show. */
const char *command_flag_name(enum command_flag flag);
/* "keyspace" for ACL_BIT_KEYSPACE ... */
const char *command_category_name(enum command_category_bit bit);
/* The category's bit as a mask, by its name without '@', case-blind; 0: no such. */
uint32_t command_category_mask(struct slice name);
const char *command_group_name(enum command_group group);
/* "all_shards"; NULL for REQUEST_NONE, RESPONSE_NONE. */
const char *command_request_name(enum request_policy policy);
const char *command_response_name(enum response_policy policy);
