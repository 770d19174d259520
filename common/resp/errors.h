// SPDX-License-Identifier: BSD-3-Clause
/* Every error text that a client can see and that proxy and node share, exactly as Redis 7 words
 * it. */
#pragma once

#include "common/base/obj.h"

#define ERR_SYNTAX       "ERR syntax error"
#define ERR_WRONGTYPE    "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_NOT_INT      "ERR value is not an integer or out of range"
#define ERR_NOT_FLOAT    "ERR value is not a valid float"
#define ERR_NO_KEY       "ERR no such key"
#define ERR_OUT_OF_RANGE "ERR index out of range"
#define ERR_NOAUTH       "NOAUTH Authentication required."
#define ERR_NOAUTH_HELLO                                                                           \
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "      \
    "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "     \
    "RESP protocol version at the same time"
#define ERR_WRONGPASS "WRONGPASS invalid username-password pair or user is disabled."
#define ERR_NOPROTO   "NOPROTO unsupported protocol version"
#define ERR_OOM       "OOM command not allowed when used memory > 'maxmemory'."
#define ERR_ENTRY                                                                                  \
    "ERR The writes of this command, script or transaction are too large for one entry of the log"
#define ERR_EXECABORT        "EXECABORT Transaction discarded because of previous errors."
#define ERR_CROSSSLOT        "CROSSSLOT Keys in request don't hash to the same slot"
#define ERR_CLUSTERDOWN      "CLUSTERDOWN Hash slot not served"
#define ERR_DB_INDEX         "ERR DB index is out of range"
#define ERR_INVALID_DB_INDEX "ERR invalid DB index"
#define ERR_INVALID_EXPIRE   "ERR invalid expire time in '%s' command"
#define ERR_WRONG_ARGS       "ERR wrong number of arguments for '%s' command"
#define ERR_CLIENT_NAME      "ERR Client names cannot contain spaces, newlines or special characters."
#define ERR_PROTECTED                                                                              \
    "DENIED this server is in protected mode: it has no password (requirepass), so it talks to "   \
    "clients on its own machine only. Set requirepass, or, where nobody else can reach it, "       \
    "protected-mode no"
#define ERR_MAX_CLIENTS "ERR max number of clients reached"
#define ERR_UNKNOWN_OUTCOME                                                                        \
    "UNKNOWNOUTCOME the connection to the node broke before it answered: the write may or may "    \
    "not have been done"
#define ERR_NOT_SERVED "ERR command '%s' is not served by this version of Shoal"

/* An argument in such a text, for "%.*s": at most 128 bytes of it. */
#define ARG_PRINT(s) (int)MIN((s).len, (size_t)128), (s).ptr
