// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/words.h"

#include "common/base/mem.h"

struct cursor {
    const char *at;
    const char *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
        return (c | 0x20) - 'a' + 10;
    }
    return -1;
}

/* Behind a backslash within double quotes; c->at is at the character that it marks. */
static char read_escape(struct cursor *c)
{
    if (*c->at == 'x' && c->end - c->at >= 3 && hex_digit(c->at[1]) >= 0 &&
        hex_digit(c->at[2]) >= 0) {
        char byte = (char)(hex_digit(c->at[1]) * 16 + hex_digit(c->at[2]));
        c->at += 3;
        return byte;
    }
    char plain = *c->at++;
    switch (plain) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'a':
        return '\a';
    case 'b':
        return '\b';
    default:
        return plain;
    }
}

static bool read_quoted(struct cursor *c, char quote, struct str *to)
{
    while (c->at < c->end) {
        if (*c->at == quote) {
            c->at++;
            return c->at == c->end || is_blank(*c->at);
        }
        if (*c->at == '\\' && c->end - c->at >= 2) {
            if (quote == '"') {
                c->at++;
                str_append_char(to, read_escape(c));
                continue;
            }
            if (c->at[1] == '\'') {
                c->at++;
            }
        }
        str_append_char(to, *c->at++);
    }
    return false;
}

static bool read_word(struct cursor *c, struct str *to)
{
    while (c->at < c->end && !is_blank(*c->at)) {
        if (*c->at == '"' || *c->at == '\'') {
            char quote = *c->at++;
            return read_quoted(c, quote, to);
        }
        str_append_char(to, *c->at++);
    }
    return true;
}

static void add_word(struct words *w, size_t len)
{
    if (w->argc == w->room) {
        w->room = MAX(w->room * 2, (size_t)8);
        w->argv = mem_realloc(w->argv, w->room * sizeof(*w->argv));
    }
    w->argv[w->argc++] = slice_of(NULL, len); /* its place is known when all are read */
}

bool words_split(struct words *w, struct slice line)
{
    struct cursor c = {.at = line.ptr, .end = line.ptr + line.len};
    w->argc = 0;
    str_clear(&w->bytes);
    for (;;) {
        while (c.at < c.end && is_blank(*c.at)) {
            c.at++;
        }
        if (c.at == c.end) {
            break;
        }
        size_t start = w->bytes.len;
        if (!read_word(&c, &w->bytes)) {
            w->argc = 0;
            return false;
        }
        add_word(w, w->bytes.len - start);
    }
    const char *at = str_cstr(&w->bytes);
    for (size_t i = 0; i < w->argc; i++) {
        w->argv[i].ptr = at;
        at += w->argv[i].len;
    }
    return true;
}

void words_fini(struct words *w)
{
    mem_free(w->argv);
    str_fini(&w->bytes);
    w->argv = NULL;
    w->argc = w->room = 0;
}

void words_join(const struct words *w, size_t first, struct str *to)
{
    for (size_t i = first; i < w->argc; i++) {
        if (i > first) {
            str_append_char(to, ' ');
        }
        str_append_slice(to, w->argv[i]);
    }
}
