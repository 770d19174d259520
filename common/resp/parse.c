// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/parse.h"

#include "common/base/mem.h"
#include "common/base/num.h"

#include <stdio.h>

enum {
    SLOTS_FIRST = 16,
    SLOTS_KEEP = 1024, /* more than this is given back by trim */
    SCRATCH_KEEP = 4096,
    UNAUTHENTICATED_ARGS = 10,
    UNAUTHENTICATED_BULK = 16384,
    SMALLEST_BULK = 6, /* "$0\r\n\r\n" */
};

void resp_parser_init(struct resp_parser *p)
{
    *p = (struct resp_parser){
        .bulk_max = RESP_BULK_MAX, .args_max = RESP_ARGS_MAX, .remaining = -1, .bulk_len = -1};
}

void resp_parser_fini(struct resp_parser *p)
{
    mem_free(p->argv);
    mem_free(p->scratch);
    *p = (struct resp_parser){.remaining = -1, .bulk_len = -1};
}

void resp_parser_trim(struct resp_parser *p)
{
    if (p->remaining >= 0) {
        return;
    }
    if (p->argv_slots > SLOTS_KEEP) {
        mem_free(p->argv);
        p->argv = NULL;
        p->argv_slots = 0;
        p->argc = 0;
    }
    if (p->scratch_cap > SCRATCH_KEEP) {
        mem_free(p->scratch);
        p->scratch = NULL;
        p->scratch_cap = 0;
        p->argc = 0;
    }
}

size_t resp_parser_memory(const struct resp_parser *p)
{
    return p->argv_slots * sizeof *p->argv + p->scratch_cap;
}

/* The next call starts a message. */
static inline void rewind_parser(struct resp_parser *p)
{
    p->remaining = -1;
    p->bulk_len = -1;
    p->pos = 0;
    p->searched = 0;
}

void resp_parser_restart(struct resp_parser *p)
{
    rewind_parser(p);
    p->argc = 0;
}

static inline enum resp_status done(struct resp_parser *p, uint32_t argc, size_t used)
{
    p->argc = argc;
    p->used = used;
    rewind_parser(p);
    return RESP_OK;
}

static enum resp_status fail(struct resp_parser *p, const char *text)
{
    p->error = text;
    p->argc = 0;
    rewind_parser(p);
    return RESP_ERROR;
}

static inline enum resp_status more(struct resp_parser *p, size_t need)
{
    p->need = need;
    return RESP_MORE;
}

static __attribute__((noinline)) struct slice *grow_argv(struct resp_parser *p)
{
    p->argv_slots = p->argv_slots == 0 ? SLOTS_FIRST : p->argv_slots * 2;
    p->argv = mem_realloc(p->argv, p->argv_slots * sizeof *p->argv);
    return p->argv;
}

/* Where the line that starts at `from` has its `end` byte. Lines longer than RESP_INLINE_MAX fail
 * with `too_long`, wherever the bytes were cut. */
static enum resp_status find_line_end(struct resp_parser *p, struct slice in, size_t from, char end,
                                      const char *too_long, size_t *at)
{
    size_t limit = MIN(in.len, from + RESP_INLINE_MAX + 1);
    size_t start = MAX(from, p->searched);
    const char *hit = start < limit ? memchr(in.ptr + start, end, limit - start) : NULL;
    if (hit != NULL) {
        *at = (size_t)(hit - in.ptr);
        return RESP_OK;
    }
    if (in.len - from > RESP_INLINE_MAX) {
        return fail(p, too_long);
    }
    p->searched = limit;
    return more(p, 1);
}

/* ---- inline commands: words and quotes, as a shell would read them ---- */

static inline bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape of a double-quoted word; `at` is behind the backslash and before the end. */
static const char *undo_escape(const char *at, const char *end, char *to)
{
    static const char names[] = "nrtba";
    static const char values[] = "\n\r\t\b\a";

    if (*at == 'x' && end - at >= 3 && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
        *to = (char)(hex_digit(at[1]) << 4 | hex_digit(at[2]));
        return at + 3;
    }
    const char *name = *at == '\0' ? NULL : strchr(names, *at);
    *to = name == NULL ? *at : values[name - names];
    return at + 1;
}

/* The rest of a quoted word; `at` is behind its opening quote. Returns where the word ends, NULL if
 * its closing quote is missing or not followed by a space. */
static const char *take_quoted(const char *at, const char *end, char quote, char **to)
{
    while (at < end && *at != quote) {
        if (*at != '\\' || end - at < 2) {
            *(*to)++ = *at++;
        } else if (quote == '"') {
            at = undo_escape(at + 1, end, (*to)++);
        } else if (at[1] == '\'') {
            *(*to)++ = '\'';
            at += 2;
        } else {
            *(*to)++ = *at++;
        }
    }
    if (at == end || (at + 1 < end && !is_space(at[1]))) {
        return NULL;
    }
    return at + 1;
}

static const char *take_word(const char *at, const char *end, char **to)
{
    for (; at < end; at++) {
        if (*at == '"' || *at == '\'') {
            return take_quoted(at + 1, end, *at, to);
        }
        if (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') {
            return at;
        }
        *(*to)++ = *at;
    }
    return at;
}

/* Splits a line into argv, copied to the scratch space: undoing quotes never makes it longer. */
static bool split_line(struct resp_parser *p, struct slice line)
{
    if (line.len > p->scratch_cap) {
        p->scratch = mem_realloc(p->scratch, line.len);
        p->scratch_cap = line.len;
    }
    const char *end = line.ptr + line.len;
    char *to = p->scratch;
    for (const char *at = line.ptr;;) {
        while (at < end && is_space(*at)) {
            at++;
        }
        if (at == end) {
            return true;
        }
        char *word = to;
        at = take_word(at, end, &to);
        if (at == NULL) {
            return false;
        }
        if (p->argc == p->argv_slots) {
            grow_argv(p);
        }
        p->argv[p->argc++] = slice_of(word, (size_t)(to - word));
    }
}

static enum resp_status parse_inline(struct resp_parser *p, struct slice in)
{
    size_t end;
    enum resp_status found = find_line_end(p, in, 0, '\n', "too big inline request", &end);
    if (found != RESP_OK) {
        return found;
    }
    size_t len = end > 0 && in.ptr[end - 1] == '\r' ? end - 1 : end;
    p->is_inline = true;
    if (!split_line(p, slice_of(in.ptr, len))) {
        return fail(p, "unbalanced quotes in request");
    }
    return done(p, p->argc, end + 1);
}

/* ---- arrays of bulk strings ---- */

/* The number of a header line "*123\r\n" or "$123\r\n" whose first byte is at `from`; *next is
 * behind the line. As in Redis the '\r' ends it and the byte behind is not looked at. */
static enum resp_status read_header(struct resp_parser *p, struct slice in, size_t from,
                                    const char *too_long, struct slice *digits, size_t *next)
{
    size_t end;
    enum resp_status found = find_line_end(p, in, from, '\r', too_long, &end);
    if (found != RESP_OK) {
        return found;
    }
    if (end + 2 > in.len) {
        return more(p, 1);
    }
    *digits = slice_of(in.ptr + from + 1, end - from - 1);
    *next = end + 2;
    return RESP_OK;
}

/* The message's first line: sets remaining and pos. */
static enum resp_status parse_count(struct resp_parser *p, struct slice in)
{
    int64_t count;
    struct slice digits;
    unsigned digit = in.len >= 4 ? (unsigned char)in.ptr[1] - (unsigned)'0' : 10;
    if (LIKELY(digit < 10 && in.ptr[2] == '\r')) {
        count = digit;
        p->pos = 4;
    } else {
        enum resp_status read =
            read_header(p, in, 0, "too big mbulk count string", &digits, &p->pos);
        if (read != RESP_OK) {
            return read;
        }
        if (!num_parse_i64(digits, &count)) {
            return fail(p, "invalid multibulk length");
        }
    }
    if (UNLIKELY(count > p->args_max || count > INT32_MAX)) {
        return fail(p, "invalid multibulk length");
    }
    if (UNLIKELY(p->unauthenticated && count > UNAUTHENTICATED_ARGS)) {
        return fail(p, "unauthenticated multibulk length");
    }
    p->remaining = MAX(count, 0);
    return RESP_OK;
}

/* The header of an argument by its general rules: sets bulk_len and moves *at behind it. */
static __attribute__((noinline)) enum resp_status
parse_bulk_header(struct resp_parser *p, struct slice in, const char **at)
{
    struct slice digits;
    size_t next;
    size_t from = (size_t)(*at - in.ptr);
    enum resp_status read = read_header(p, in, from, "too big bulk count string", &digits, &next);
    if (read != RESP_OK) {
        return read;
    }
    if (**at != '$') {
        snprintf(p->error_text, sizeof p->error_text, "expected '$', got '%c'", **at);
        return fail(p, p->error_text);
    }
    int64_t len;
    if (!num_parse_i64(digits, &len) || len < 0 || len > p->bulk_max) {
        return fail(p, "invalid bulk length");
    }
    if (p->unauthenticated && len > UNAUTHENTICATED_BULK) {
        return fail(p, "unauthenticated bulk length");
    }
    p->bulk_len = len;
    *at = in.ptr + next;
    return RESP_OK;
}

/* The length in a header of one to three digits, as nearly all have; -1 if it is something else.
 * At least SMALLEST_BULK bytes are there. */
static inline int64_t short_bulk_header(const char **at)
{
    const char *p = *at;
    unsigned a = (unsigned char)p[1] - (unsigned)'0';
    unsigned b = (unsigned char)p[2] - (unsigned)'0';
    if (p[0] != '$' || a > 9) {
        return -1;
    }
    if (p[2] == '\r') {
        *at = p + 4;
        return a;
    }
    if (b > 9 || a == 0) {
        return -1;
    }
    if (p[3] == '\r') {
        *at = p + 5;
        return a * 10 + b;
    }
    unsigned c = (unsigned char)p[3] - (unsigned)'0';
    if (c > 9 || p[4] != '\r') {
        return -1;
    }
    *at = p + 6;
    return a * 100 + b * 10 + c;
}

/* Adds `by` to every argument's address. Numbers, not pointers: an offset points nowhere. */
static void shift_argv(struct resp_parser *p, uintptr_t by)
{
    for (uint32_t i = 0; i < p->argc; i++) {
        p->argv[i].ptr = (const char *)((uintptr_t)p->argv[i].ptr + by);
    }
}

/* Arguments go to argv as base + offset: pointers when the message began in this call (base is
 * where it starts), offsets when it is being resumed (base is 0). So each is touched at most twice.
 */
static enum resp_status parse_args(struct resp_parser *p, struct slice in, uintptr_t base)
{
    const char *at = in.ptr + p->pos;
    const char *end = in.ptr + in.len;
    struct slice *argv = p->argv;
    uint32_t argc = p->argc;
    uint32_t last = argc + (uint32_t)p->remaining;
    int64_t len = p->bulk_len;
    enum resp_status status = RESP_OK;

    while (argc < last) {
        if (LIKELY(len < 0)) {
            const char *header = at;
            if (LIKELY(end - at >= SMALLEST_BULK)) {
                len = short_bulk_header(&at);
            }
            if (UNLIKELY(len < 0 || len > p->bulk_max)) {
                at = header;
                len = -1;
                status = parse_bulk_header(p, in, &at);
                if (status != RESP_OK) {
                    break;
                }
                len = p->bulk_len;
            }
        }
        if (UNLIKELY(end - at - 2 < len)) {
            status = more(p, (size_t)len + 2 - (size_t)(end - at));
            break;
        }
        if (UNLIKELY(argc == p->argv_slots)) {
            argv = grow_argv(p);
        }
        argv[argc++] = slice_of((const char *)(base + (uintptr_t)(at - in.ptr)), (size_t)len);
        at += len + 2;
        len = -1;
    }
    if (UNLIKELY(status == RESP_ERROR)) {
        return status;
    }
    p->argc = argc;
    if (UNLIKELY(status == RESP_MORE)) {
        p->remaining = last - argc;
        p->bulk_len = len;
        p->pos = (size_t)(at - in.ptr);
        if (base != 0) {
            shift_argv(p, -base);
        }
        return status;
    }
    if (UNLIKELY(base == 0)) {
        shift_argv(p, (uintptr_t)in.ptr);
    }
    return done(p, argc, (size_t)(at - in.ptr));
}

enum resp_status resp_parse(struct resp_parser *p, struct slice in)
{
    if (UNLIKELY(p->remaining >= 0)) {
        return parse_args(p, in, 0);
    }
    p->argc = 0;
    p->is_inline = false;
    if (UNLIKELY(in.len == 0)) {
        return more(p, 1);
    }
    if (UNLIKELY(in.ptr[0] != '*')) {
        return parse_inline(p, in);
    }
    enum resp_status status = parse_count(p, in);
    return status == RESP_OK ? parse_args(p, in, (uintptr_t)in.ptr) : status;
}
