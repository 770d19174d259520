// SPDX-License-Identifier: BSD-3-Clause
#include "common/resp/skip.h"

#include "common/resp/number_priv.h"

/* One element, or the header of an aggregate: how long it is, and how many elements follow inside.
 */
struct element {
    size_t len;
    int64_t children; /* 0: none, or it is no aggregate */
};

void resp_skip_init(struct resp_skip *s)
{
    *s = (struct resp_skip){0};
}

static enum resp_skip_status more(size_t *need, size_t n)
{
    *need = n;
    return SKIP_MORE;
}

/* A line of text. */
static enum resp_skip_status skip_line(struct resp_skip *s, struct slice in, struct element *e,
                                       size_t *need)
{
    size_t from = MAX(s->pos + 1, s->searched);
    const char *cr = from < in.len ? memchr(in.ptr + from, '\r', in.len - from) : NULL;
    if (cr == NULL) {
        s->searched = in.len;
        return more(need, 2);
    }
    size_t at = (size_t)(cr - in.ptr);
    if (at + 1 == in.len) {
        s->searched = at;
        return more(need, 1);
    }
    e->len = at + 2 - s->pos;
    return cr[1] == '\n' ? SKIP_OK : SKIP_BAD;
}

static inline enum resp_skip_status skip_bulk(const char *at, const char *end, struct element *e,
                                              size_t *need)
{
    int64_t len;
    const char *body;
    enum resp_skip_status read = reply_number(at + 1, end, &len, &body);
    if (UNLIKELY(read != SKIP_OK)) {
        *need = 1;
        return read;
    }
    if (UNLIKELY(!reply_bulk_length_ok(*at, len))) {
        return SKIP_BAD;
    }
    if (len < 0) {
        e->len = (size_t)(body - at);
        return SKIP_OK;
    }
    if (UNLIKELY(end - body < len + 2)) {
        return more(need, (size_t)(len + 2 - (end - body)));
    }
    e->len = (size_t)(body + len + 2 - at);
    return body[len] == '\r' && body[len + 1] == '\n' ? SKIP_OK : SKIP_BAD;
}

static enum resp_skip_status skip_count(const char *at, const char *end, struct element *e,
                                        size_t *need)
{
    int64_t count;
    const char *next;
    enum resp_skip_status read = reply_number(at + 1, end, &count, &next);
    if (read != SKIP_OK) {
        *need = 1;
        return read;
    }
    if (!reply_count_ok(*at, count)) {
        return SKIP_BAD;
    }
    e->len = (size_t)(next - at);
    if (*at == '%') {
        count *= 2;
    } else if (*at == '|') {
        count = count * 2 + 1; /* the reply that it belongs to is its last element */
    }
    e->children = MAX(count, 0);
    return SKIP_OK;
}

/* "_\r\n", "#t\r\n": `len` bytes in all. */
static enum resp_skip_status skip_fixed(const char *at, const char *end, size_t len,
                                        struct element *e, size_t *need)
{
    size_t have = (size_t)(end - at);
    if (*at == '#' && have > 1 && at[1] != 't' && at[1] != 'f') {
        return SKIP_BAD;
    }
    if (have < len) {
        return more(need, len - have);
    }
    e->len = len;
    return at[len - 2] == '\r' && at[len - 1] == '\n' ? SKIP_OK : SKIP_BAD;
}

static inline enum resp_skip_status skip_element(struct resp_skip *s, struct slice in,
                                                 struct element *e, size_t *need)
{
    const char *at = in.ptr + s->pos;
    const char *end = in.ptr + in.len;
    int64_t number;
    const char *next;
    enum resp_skip_status read;

    switch (*at) {
    case '$':
    case '=':
    case '!':
        return skip_bulk(at, end, e, need);
    case '+':
        if (end - at >= 5 && memcmp(at, "+OK\r\n", 5) == 0) {
            e->len = 5;
            return SKIP_OK;
        }
        return skip_line(s, in, e, need);
    case '-':
    case ',':
    case '(':
        return skip_line(s, in, e, need);
    case ':':
        read = reply_number(at + 1, end, &number, &next);
        if (read == SKIP_OK) {
            e->len = (size_t)(next - at);
        }
        *need = 1;
        return read;
    case '_':
        return skip_fixed(at, end, 3, e, need);
    case '#':
        return skip_fixed(at, end, 4, e, need);
    case '*':
    case '~':
    case '>':
    case '%':
    case '|':
        return skip_count(at, end, e, need);
    default:
        return SKIP_BAD;
    }
}

/* Notes the kind of the reply itself, once its attributes are behind. */
static inline void note_type(struct resp_skip *s, char type)
{
    if (s->depth == s->attributes && (s->depth == 0 || s->left[s->depth - 1] == 1)) {
        s->type = type;
        s->attributes += type == '|';
    }
}

/* Behind a string's header "$<one or two digits>\r\n", its body and their line ends; NULL if there
 * is something else or not all of it. */
static inline const char *behind_short_string(const char *at, const char *end)
{
    if (end - at < 6 || at[0] != '$') {
        return NULL;
    }
    unsigned len = (unsigned char)at[1] - (unsigned)'0';
    const char *body = at + 4;
    if (len > 9) {
        return NULL;
    }
    if (at[2] != '\r') {
        unsigned digit = (unsigned char)at[2] - (unsigned)'0';
        if (digit > 9) {
            return NULL;
        }
        len = len * 10 + digit;
        body++;
    }
    if (end - body < (ptrdiff_t)len + 2 || memcmp(body - 2, "\r\n", 2) != 0 ||
        memcmp(body + len, "\r\n", 2) != 0) {
        return NULL;
    }
    return body + len + 2;
}

/* Long arrays hold short strings: those at hand are passed in one tight loop, all but the array's
 * last element, with which it ends. */
static inline void skip_short_strings(struct resp_skip *s, struct slice in)
{
    int64_t left = s->left[s->depth - 1];
    const char *at = in.ptr + s->pos;
    const char *end = in.ptr + in.len;
    const char *next;
    while (left > 1 && (next = behind_short_string(at, end)) != NULL) {
        at = next;
        left--;
    }
    s->left[s->depth - 1] = left;
    s->pos = (size_t)(at - in.ptr);
}

enum resp_skip_status resp_skip(struct resp_skip *s, struct slice in, size_t *end)
{
    for (;;) {
        if (s->depth > s->attributes) { /* below the reply itself: its type is known */
            skip_short_strings(s, in);
        }
        if (UNLIKELY(s->pos >= in.len)) {
            return more(end, 1);
        }
        struct element e = {0};
        enum resp_skip_status status = skip_element(s, in, &e, end);
        if (UNLIKELY(status != SKIP_OK)) {
            return status;
        }
        note_type(s, in.ptr[s->pos]);
        s->pos += e.len;
        if (e.children > 0) {
            if (s->depth == RESP_SKIP_DEPTH) {
                return SKIP_BAD;
            }
            s->left[s->depth++] = e.children;
            continue;
        }
        while (s->depth > 0 && --s->left[s->depth - 1] == 0) {
            s->depth--;
        }
        if (s->depth == 0) {
            *end = s->pos;
            s->pos = 0;
            s->searched = 0;
            s->attributes = 0;
            return SKIP_OK;
        }
    }
}
