// SPDX-License-Identifier: BSD-3-Clause
/* Replies and requests into an outbuf. Where RESP2 and RESP3 differ, the writer knows the client's
 * protocol: a map is a flat array in RESP2, a set an array, a double a bulk string, and so on.
 * A reply's shape is right on return; element counts are the caller's promise. Pure. */
#pragma once

#include "common/base/buf.h"

#define RESP_CODE_MAX 24

struct resp_writer {
    struct outbuf *out;
    int proto;                /* 2 or 3 */
    uint32_t errors;          /* error replies written through this writer, for statistics */
    char code[RESP_CODE_MAX]; /* the last one's first word: "WRONGTYPE"; set when errors > 0 */
};

void resp_simple(struct resp_writer *w, const char *text); /* +OK */
void resp_ok(struct resp_writer *w);
/* `text` with its code, without '-': "ERR syntax error". CR and LF in it become spaces. */
void resp_error(struct resp_writer *w, const char *text);
void resp_errorf(struct resp_writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void resp_int(struct resp_writer *w, int64_t v);
void resp_bulk(struct resp_writer *w, struct slice v);
void resp_bulkz(struct resp_writer *w, const char *text);
void resp_bulk_int(struct resp_writer *w, int64_t v); /* the number as a bulk string */
void resp_nil(struct resp_writer *w);                 /* $-1 or _ */
void resp_nil_array(struct resp_writer *w);           /* *-1 or _ */
void resp_array(struct resp_writer *w, size_t n);
void resp_map(struct resp_writer *w, size_t pairs);       /* *2n or %n */
void resp_set(struct resp_writer *w, size_t n);           /* * or ~ */
void resp_push(struct resp_writer *w, size_t n);          /* * or > */
void resp_attribute(struct resp_writer *w, size_t pairs); /* RESP3 only */
void resp_bool(struct resp_writer *w, bool v);            /* :1/:0 or #t/#f */
void resp_double(struct resp_writer *w, double v);
void resp_bignum(struct resp_writer *w, const char *digits);
/* ext is three letters, "txt" or "mkd"; a bulk string in RESP2. */
void resp_verbatim(struct resp_writer *w, const char *ext, struct slice v);
/* A request: header then each argument with resp_bulk. Same bytes as resp_array. */
void resp_request(struct outbuf *out, const struct slice *argv, size_t argc);
