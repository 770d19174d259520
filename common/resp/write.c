// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/write.h"

#include "common/base/num.h"
#include "common/base/str.h"

#include <stdarg.h>

enum {
    HEADER_MAX = 1 + NUM_I64_MAX_LEN + 2,
    SMALL_BULK = 1024, /* up to here a bulk string is formatted in one go into the tail */
};

static inline char *put_crlf(char *to)
{
    memcpy(to, "\r\n", 2);
    return to + 2;
}

/* "$12\r\n" and the like; returns behind it. */
static inline char *put_header(char *to, char type, uint64_t n)
{
    *to++ = type;
    if (LIKELY(n < 10)) {
        *to++ = (char)('0' + n);
    } else {
        to += num_print_u64(to, n);
    }
    return put_crlf(to);
}

static void write_header(struct outbuf *out, char type, uint64_t n)
{
    char *start = outbuf_reserve(out, HEADER_MAX);
    outbuf_commit(out, (size_t)(put_header(start, type, n) - start));
}

static inline void write_bulk(struct outbuf *out, struct slice v)
{
    if (LIKELY(v.len <= SMALL_BULK)) {
        char *start = outbuf_reserve(out, v.len + HEADER_MAX + 2);
        char *to = put_header(start, '$', v.len);
        if (v.len > 0) {
            memcpy(to, v.ptr, v.len);
        }
        outbuf_commit(out, (size_t)(put_crlf(to + v.len) - start));
        return;
    }
    /* In one piece: one buffer less to allocate and to send. */
    char *start = outbuf_reserve_large(out, v.len + HEADER_MAX + 2);
    char *to = put_header(start, '$', v.len);
    memcpy(to, v.ptr, v.len);
    outbuf_commit(out, (size_t)(put_crlf(to + v.len) - start));
}

/* A whole line: the type, the text with its line ends made spaces, CRLF. */
static void write_line(struct outbuf *out, char type, struct slice text)
{
    text.len = MIN(text.len, (size_t)OUTBUF_CHUNK / 2); /* an error that long says enough */
    char *start = outbuf_reserve(out, text.len + 3);
    char *to = start;
    *to++ = type;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        *to++ = (char)(c == '\r' || c == '\n' ? ' ' : c);
    }
    outbuf_commit(out, (size_t)(put_crlf(to) - start));
}

void resp_simple(struct resp_writer *w, const char *text)
{
    write_line(w->out, '+', slice_str(text));
}

void resp_ok(struct resp_writer *w)
{
    outbuf_append(w->out, "+OK\r\n", 5);
}

static void write_error(struct resp_writer *w, struct slice text)
{
    size_t n = 0;
    while (n < MIN(text.len, (size_t)RESP_CODE_MAX - 1) && text.ptr[n] != ' ') {
        w->code[n] = text.ptr[n];
        n++;
    }
    w->code[n] = '\0';
    w->errors++;
    write_line(w->out, '-', text);
}

void resp_error(struct resp_writer *w, const char *text)
{
    write_error(w, slice_str(text));
}

void resp_errorf(struct resp_writer *w, const char *fmt, ...)
{
    struct str text = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vprintf(&text, fmt, ap);
    va_end(ap);
    /* As Redis: line ends of what a client sent are cut at the end, and blanks elsewhere. */
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r')) {
        text.len--;
    }
    write_error(w, str_slice(&text));
    str_fini(&text);
}

void resp_int(struct resp_writer *w, int64_t v)
{
    char *start = outbuf_reserve(w->out, HEADER_MAX);
    start[0] = ':';
    char *to = put_crlf(start + 1 + num_print_i64(start + 1, v));
    outbuf_commit(w->out, (size_t)(to - start));
}

void resp_bulk(struct resp_writer *w, struct slice v)
{
    write_bulk(w->out, v);
}

void resp_bulkz(struct resp_writer *w, const char *text)
{
    write_bulk(w->out, slice_str(text));
}

void resp_bulk_int(struct resp_writer *w, int64_t v)
{
    char digits[NUM_I64_MAX_LEN];
    write_bulk(w->out, slice_of(digits, num_print_i64(digits, v)));
}

void resp_nil(struct resp_writer *w)
{
    if (w->proto == 3) {
        outbuf_append(w->out, "_\r\n", 3);
    } else {
        outbuf_append(w->out, "$-1\r\n", 5);
    }
}

void resp_nil_array(struct resp_writer *w)
{
    if (w->proto == 3) {
        outbuf_append(w->out, "_\r\n", 3);
    } else {
        outbuf_append(w->out, "*-1\r\n", 5);
    }
}

void resp_array(struct resp_writer *w, size_t n)
{
    write_header(w->out, '*', n);
}

void resp_map(struct resp_writer *w, size_t pairs)
{
    if (w->proto == 3) {
        write_header(w->out, '%', pairs);
    } else {
        write_header(w->out, '*', pairs * 2);
    }
}

void resp_set(struct resp_writer *w, size_t n)
{
    write_header(w->out, w->proto == 3 ? '~' : '*', n);
}

void resp_push(struct resp_writer *w, size_t n)
{
    write_header(w->out, w->proto == 3 ? '>' : '*', n);
}

void resp_attribute(struct resp_writer *w, size_t pairs)
{
    INVARIANT(w->proto == 3); /* RESP2 has no place for its elements either */
    write_header(w->out, '|', pairs);
}

void resp_bool(struct resp_writer *w, bool v)
{
    if (w->proto == 3) {
        outbuf_append(w->out, v ? "#t\r\n" : "#f\r\n", 4);
    } else {
        outbuf_append(w->out, v ? ":1\r\n" : ":0\r\n", 4);
    }
}

void resp_double(struct resp_writer *w, double v)
{
    char digits[40];
    struct slice text = slice_of(digits, num_print_double(digits, v));
    if (w->proto == 3) {
        write_line(w->out, ',', text);
    } else {
        write_bulk(w->out, text);
    }
}

void resp_bignum(struct resp_writer *w, const char *digits)
{
    if (w->proto == 3) {
        write_line(w->out, '(', slice_str(digits));
    } else {
        write_bulk(w->out, slice_str(digits));
    }
}

void resp_verbatim(struct resp_writer *w, const char *ext, struct slice v)
{
    if (w->proto != 3) {
        write_bulk(w->out, v);
        return;
    }
    INVARIANT(strlen(ext) == 3);
    write_header(w->out, '=', v.len + 4);
    outbuf_append(w->out, ext, 3);
    outbuf_append(w->out, ":", 1);
    outbuf_append(w->out, v.ptr, v.len);
    outbuf_append(w->out, "\r\n", 2);
}

void resp_request(struct outbuf *out, const struct slice *argv, size_t argc)
{
    write_header(out, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        write_bulk(out, argv[i]);
    }
}
