// SPDX-License-Identifier: BSD-3-Clause
/* Incremental parser of requests: RESP arrays of bulk strings, and inline commands.
 *
 * Works in place over the unread bytes of an inbuf. A whole message is parsed in one pass; of an
 * incomplete one the parser remembers how far it came (arguments as offsets from the message's
 * start, so the bytes may move between calls), and a 1M-element command costs linear time however
 * it is cut. Nothing is allocated from a length that a peer claims: argument slots grow with the
 * bytes that really came. Error texts are Redis 7's. Pure. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

#define RESP_INLINE_MAX (64 * 1024)
#define RESP_ARGS_MAX   (1024 * 1024)
#define RESP_BULK_MAX   (512LL * 1024 * 1024)

enum resp_status {
    RESP_OK,    /* one whole command is in `argv` (argc may be 0: an empty line or "*0", skip it) */
    RESP_MORE,  /* incomplete; `need` more bytes at least. argv means nothing */
    RESP_ERROR, /* `error` is the text behind "-ERR Protocol error: "; close after replying */
};

struct resp_parser {
    /* result */
    struct slice *argv; /* into the bytes given; valid until they move or the next resp_parse */
    uint32_t argc;
    bool is_inline; /* quotes were undone: argv points into `scratch`, not into the input */
    size_t used;    /* bytes that the command took */
    size_t need;    /* RESP_MORE: at least so many more bytes are missing (a bulk's rest) */
    const char *error;
    /* limits */
    int64_t bulk_max;     /* proto-max-bulk-len */
    int64_t args_max;     /* RESP_ARGS_MAX */
    bool unauthenticated; /* a password is asked for and not yet given: 10 arguments of 16 KiB */
    /* private: where an incomplete message stopped. Of one, argv holds offsets, not pointers. */
    uint32_t argv_slots;
    int64_t remaining; /* arguments still to come; -1: at the start of a message */
    int64_t bulk_len;  /* length of the argument being read; -1: its header is next */
    size_t pos;        /* parsed so far, from the message's start */
    size_t searched;   /* no line end before this; a long line is searched once */
    char *scratch;
    size_t scratch_cap;
    char error_text[32];
};

void resp_parser_init(struct resp_parser *p);
void resp_parser_fini(struct resp_parser *p);
/* `in` starts at the message's start each time, with at least the bytes of the last call. After
 * RESP_OK the next message starts `used` bytes further on. */
enum resp_status resp_parse(struct resp_parser *p, struct slice in);
/* Forgets a message that was begun: the next call starts another. */
void resp_parser_restart(struct resp_parser *p);
/* Gives back what an unusually large command made it take; inside a message it does nothing, what
 * was taken is still needed. */
void resp_parser_trim(struct resp_parser *p);
/* Bytes of memory held. */
size_t resp_parser_memory(const struct resp_parser *p);
