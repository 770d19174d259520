// SPDX-License-Identifier: BSD-3-Clause
/* Rules: from text to users. */
#include "common/base/mem.h"
#include "common/cmd/acl_priv.h"

#include <ctype.h>

#define BAD_SYNTAX  "Syntax error"
#define BAD_COMMAND "Unknown command or category name in ACL"
#define BAD_PATTERN                                                                                \
    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have " \
    "any effect. Try 'resetkeys' to start with an empty list of patterns"
#define BAD_CHANNEL                                                                                \
    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not "  \
    "have any effect. Try 'resetchannels' to start with an empty list of channels"
#define BAD_HASH                                                                                   \
    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal "      \
    "characters"
#define NO_PASSWORD "The password you are trying to remove from the user does not exist"
#define BAD_FIRST   "Allowing first-arg of a subcommand is not supported"

/* --- selectors --- */

void selector_init(struct acl_selector *s, bool open_channels)
{
    *s = (struct acl_selector){.all_channels = open_channels};
}

static void drop_patterns(struct acl_pattern **patterns, size_t *n)
{
    for (size_t i = 0; i < *n; i++) {
        mem_free((*patterns)[i].text);
    }
    mem_free(*patterns);
    *patterns = NULL;
    *n = 0;
}

/* Of one command, or, CMD_NONE, of all. */
static void drop_firsts(struct acl_selector *s, unsigned id)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n_firsts; i++) {
        if (id == CMD_NONE || s->firsts[i].command == id) {
            mem_free(s->firsts[i].word);
        } else {
            s->firsts[kept++] = s->firsts[i];
        }
    }
    s->n_firsts = kept;
}

void selector_fini(struct acl_selector *s)
{
    drop_patterns(&s->keys, &s->n_keys);
    drop_patterns(&s->channels, &s->n_channels);
    drop_firsts(s, CMD_NONE);
    mem_free(s->firsts);
}

static void set_bit(struct acl_selector *s, unsigned id, bool on)
{
    uint64_t bit = (uint64_t)1 << (id % 64);
    if (on) {
        s->commands[id / 64] |= bit;
    } else {
        s->commands[id / 64] &= ~bit;
        s->all_commands = false;
    }
}

void selector_set(struct acl_selector *s, const struct command *c, bool on)
{
    set_bit(s, c->id, on);
    drop_firsts(s, c->id);
    for (unsigned i = 0; i < c->sub_count; i++) {
        set_bit(s, c->sub_first + i, on);
    }
}

void selector_set_category(struct acl_selector *s, uint32_t category, bool on)
{
    /* Containers come before their subcommands, which may differ from them. */
    for (unsigned id = 1; id < CMD_MAX; id++) {
        const struct command *c = command_by_id((enum command_id)id);
        if ((c->acl & category) != 0) {
            selector_set(s, c, on);
        }
    }
}

void selector_set_all(struct acl_selector *s, bool on)
{
    memset(s->commands, on ? 0xFF : 0, sizeof(s->commands));
    s->all_commands = on;
    drop_firsts(s, CMD_NONE);
}

static bool has_blank(struct slice v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '\0' || isspace((unsigned char)v.ptr[i])) {
            return true;
        }
    }
    return false;
}

static void add_pattern(struct acl_pattern **patterns, size_t *n, struct slice text, unsigned may)
{
    for (size_t i = 0; i < *n; i++) {
        struct acl_pattern *p = &(*patterns)[i];
        if (slice_eq(slice_of(p->text, p->len), text)) {
            p->may |= may;
            return;
        }
    }
    *patterns = mem_realloc(*patterns, (*n + 1) * sizeof(**patterns));
    struct acl_pattern *p = &(*patterns)[(*n)++];
    *p = (struct acl_pattern){.text = mem_zalloc(text.len + 1), .len = text.len, .may = may};
    if (text.len > 0) {
        memcpy(p->text, text.ptr, text.len);
    }
}

/* The letters between '%' and '~'; 0: not such. */
static unsigned read_letters(struct slice rule, size_t *used)
{
    unsigned may = 0;
    size_t i = 1;
    for (; i < rule.len && rule.ptr[i] != '~'; i++) {
        unsigned bit = rule.ptr[i] == 'R' || rule.ptr[i] == 'r'   ? ACL_MAY_READ
                       : rule.ptr[i] == 'W' || rule.ptr[i] == 'w' ? ACL_MAY_WRITE
                                                                  : 0;
        if (bit == 0 || (may & bit) != 0) {
            return 0;
        }
        may |= bit;
    }
    *used = MIN(i + 1, rule.len); /* Redis takes "%RW" for "%RW~" */
    return may;
}

static const char *add_key(struct acl_selector *s, struct slice rule)
{
    unsigned may = ACL_MAY_READ | ACL_MAY_WRITE;
    size_t used = 1;
    if (s->all_keys) {
        return BAD_PATTERN;
    }
    if (rule.ptr[0] == '%') {
        may = read_letters(rule, &used);
    }
    struct slice text = slice_of(rule.ptr + used, rule.len - used);
    if (may == 0 || has_blank(text)) {
        return BAD_SYNTAX;
    }
    add_pattern(&s->keys, &s->n_keys, text, may);
    return NULL;
}

static const char *add_channel(struct acl_selector *s, struct slice rule)
{
    struct slice text = slice_of(rule.ptr + 1, rule.len - 1);
    if (s->all_channels) {
        return BAD_CHANNEL;
    }
    if (has_blank(text)) {
        return BAD_SYNTAX;
    }
    add_pattern(&s->channels, &s->n_channels, text, 0);
    return NULL;
}

static void add_first(struct acl_selector *s, unsigned id, struct slice word)
{
    size_t at = s->n_firsts; /* behind those of the same command */
    for (size_t i = 0; i < s->n_firsts; i++) {
        if (s->firsts[i].command == id) {
            if (slice_is(word, s->firsts[i].word)) {
                return;
            }
            at = i + 1;
        }
    }
    s->firsts = mem_realloc(s->firsts, (s->n_firsts + 1) * sizeof(*s->firsts));
    memmove(&s->firsts[at + 1], &s->firsts[at], (s->n_firsts - at) * sizeof(*s->firsts));
    s->firsts[at] = (struct acl_first){.command = (uint16_t)id, .word = mem_zalloc(word.len + 1)};
    memcpy(s->firsts[at].word, word.ptr, word.len);
    s->n_firsts++;
}

/* +container|sub, or, as older versions wrote it, +command|first-word. */
static const char *allow_part(struct acl_selector *s, struct slice whole, size_t bar)
{
    const struct command *c = command_named(slice_of(whole.ptr, bar));
    struct slice part = slice_of(whole.ptr + bar + 1, whole.len - bar - 1);
    if (c == NULL) {
        return BAD_COMMAND;
    }
    if (c->parent != NULL) {
        return BAD_FIRST;
    }
    if (part.len == 0 || has_blank(part)) {
        return BAD_SYNTAX;
    }
    if (c->sub_count == 0) {
        add_first(s, c->id, part);
        return NULL;
    }
    const struct command *sub = command_sub(c, part);
    if (sub == NULL) {
        return BAD_COMMAND;
    }
    selector_set(s, sub, true);
    return NULL;
}

static const char *set_command(struct acl_selector *s, struct slice rule)
{
    bool on = rule.ptr[0] == '+';
    struct slice name = slice_of(rule.ptr + 1, rule.len - 1);
    if (name.len > 0 && name.ptr[0] == '@') {
        struct slice category = slice_of(name.ptr + 1, name.len - 1);
        if (slice_is(category, "all")) {
            selector_set_all(s, on);
            return NULL;
        }
        uint32_t mask = command_category_mask(category);
        if (mask == 0) {
            return BAD_COMMAND;
        }
        selector_set_category(s, mask, on);
        return NULL;
    }
    const char *bar = name.len == 0 ? NULL : memrchr(name.ptr, '|', name.len);
    if (on && bar != NULL) {
        return allow_part(s, name, (size_t)(bar - name.ptr));
    }
    const struct command *c = command_named(name);
    if (c == NULL) {
        return BAD_COMMAND;
    }
    selector_set(s, c, on);
    return NULL;
}

static void open_keys(struct acl_selector *s)
{
    drop_patterns(&s->keys, &s->n_keys);
    s->all_keys = true;
}

const char *selector_rule(struct acl_selector *s, struct slice rule)
{
    if (slice_is(rule, "allkeys") || slice_eq(rule, SLICE("~*"))) {
        open_keys(s);
    } else if (slice_is(rule, "resetkeys")) {
        drop_patterns(&s->keys, &s->n_keys);
        s->all_keys = false;
    } else if (slice_is(rule, "allchannels") || slice_eq(rule, SLICE("&*"))) {
        drop_patterns(&s->channels, &s->n_channels);
        s->all_channels = true;
    } else if (slice_is(rule, "resetchannels")) {
        drop_patterns(&s->channels, &s->n_channels);
        s->all_channels = false;
    } else if (slice_is(rule, "allcommands")) {
        selector_set_all(s, true);
    } else if (slice_is(rule, "nocommands")) {
        selector_set_all(s, false);
    } else if (rule.len > 0 && (rule.ptr[0] == '~' || rule.ptr[0] == '%')) {
        return add_key(s, rule);
    } else if (rule.len > 0 && rule.ptr[0] == '&') {
        return add_channel(s, rule);
    } else if (rule.len > 0 && (rule.ptr[0] == '+' || rule.ptr[0] == '-')) {
        return set_command(s, rule);
    } else {
        return BAD_SYNTAX;
    }
    return NULL;
}

/* --- passwords --- */

static bool read_hash(struct slice hex, uint8_t out[SHA256_BYTES])
{
    if (hex.len != 2 * (size_t)SHA256_BYTES) {
        return false;
    }
    memset(out, 0, SHA256_BYTES);
    for (size_t i = 0; i < hex.len; i++) {
        char c = hex.ptr[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | digit);
    }
    return true;
}

static size_t find_hash(const struct acl_user *u, const uint8_t hash[SHA256_BYTES])
{
    size_t i = 0;
    while (i < u->n_hashes && memcmp(u->hashes[i], hash, SHA256_BYTES) != 0) {
        i++;
    }
    return i;
}

static void add_hash(struct acl_user *u, const uint8_t hash[SHA256_BYTES])
{
    if (find_hash(u, hash) == u->n_hashes) {
        u->hashes = mem_realloc(u->hashes, (u->n_hashes + 1) * sizeof(*u->hashes));
        memcpy(u->hashes[u->n_hashes++], hash, SHA256_BYTES);
    }
    u->nopass = false;
}

static void drop_hashes(struct acl_user *u)
{
    mem_free(u->hashes);
    u->hashes = NULL;
    u->n_hashes = 0;
}

void acl_user_set_password(struct acl_user *u, struct slice password)
{
    uint8_t hash[SHA256_BYTES];
    drop_hashes(u);
    u->nopass = password.len == 0;
    if (password.len > 0) {
        sha256(password, hash);
        add_hash(u, hash);
    }
}

/* '>' '#' add, '<' '!' remove; the plain ones are hashed. */
static const char *change_password(struct acl_user *u, struct slice rule)
{
    uint8_t hash[SHA256_BYTES];
    char kind = rule.ptr[0];
    struct slice text = slice_of(rule.ptr + 1, rule.len - 1);
    if (kind == '>' || kind == '<') {
        sha256(text, hash);
    } else if (!read_hash(text, hash)) {
        return BAD_HASH;
    }
    if (kind == '>' || kind == '#') {
        add_hash(u, hash);
        return NULL;
    }
    size_t at = find_hash(u, hash);
    if (at == u->n_hashes) {
        return NO_PASSWORD;
    }
    memmove(u->hashes[at], u->hashes[at + 1], (u->n_hashes - at - 1) * sizeof(*u->hashes));
    u->n_hashes--;
    return NULL;
}

/* --- users --- */

static void drop_selectors(struct acl_user *u)
{
    while (u->n_selectors > 1) {
        selector_fini(&u->selectors[--u->n_selectors]);
    }
}

static const char *add_selector(struct acl_user *u, struct slice rule, bool open_channels)
{
    struct acl_selector s;
    const char *wrong = NULL;
    size_t i = 1;
    if (rule.ptr[rule.len - 1] != ')' || rule.len < 2) {
        return BAD_SYNTAX;
    }
    selector_init(&s, open_channels);
    while (wrong == NULL) {
        while (i < rule.len - 1 && isspace((unsigned char)rule.ptr[i])) {
            i++;
        }
        size_t from = i;
        while (i < rule.len - 1 && !isspace((unsigned char)rule.ptr[i])) {
            i++;
        }
        if (i == from) {
            break;
        }
        /* Redis takes "(~a))", and then can't read what it prints. */
        wrong = rule.ptr[i - 1] == ')' ? BAD_SYNTAX
                                       : selector_rule(&s, slice_of(rule.ptr + from, i - from));
    }
    if (wrong != NULL) {
        selector_fini(&s);
        return wrong;
    }
    u->selectors = mem_realloc(u->selectors, (u->n_selectors + 1) * sizeof(*u->selectors));
    u->selectors[u->n_selectors++] = s;
    return NULL;
}

static void reset(struct acl_user *u, bool open_channels)
{
    drop_selectors(u);
    selector_fini(u->selectors);
    selector_init(u->selectors, open_channels);
    drop_hashes(u);
    u->on = false;
    u->nopass = false;
    u->sanitize = ACL_SANITIZE_YES;
}

const char *acl_user_rule(struct acl_user *u, struct slice rule, bool open_channels)
{
    if (rule.len == 0) {
        return NULL;
    }
    if (slice_is(rule, "on") || slice_is(rule, "off")) {
        u->on = rule.len == 2;
    } else if (slice_is(rule, "nopass")) {
        drop_hashes(u);
        u->nopass = true;
    } else if (slice_is(rule, "resetpass")) {
        drop_hashes(u);
        u->nopass = false;
    } else if (slice_is(rule, "sanitize-payload")) {
        u->sanitize = ACL_SANITIZE_YES;
    } else if (slice_is(rule, "skip-sanitize-payload")) {
        u->sanitize = ACL_SANITIZE_SKIP;
    } else if (slice_is(rule, "clearselectors")) {
        drop_selectors(u);
    } else if (slice_is(rule, "reset")) {
        reset(u, open_channels);
    } else if (memchr("><#!", rule.ptr[0], 4) != NULL) {
        return change_password(u, rule);
    } else if (rule.ptr[0] == '(') {
        return add_selector(u, rule, open_channels);
    } else {
        return selector_rule(u->selectors, rule);
    }
    return NULL;
}

/* The words of a selector that begins with words[*i] joined; *i is moved to its last one. False: it
 * is never closed. */
static bool join_selector(const struct slice *words, size_t n, size_t *i, struct str *to)
{
    for (size_t j = *i; j < n; j++) {
        if (j > *i) {
            str_append_char(to, ' ');
        }
        str_append_slice(to, words[j]);
        if (words[j].len > 0 && words[j].ptr[words[j].len - 1] == ')') {
            *i = j;
            return true;
        }
    }
    return false;
}

bool acl_user_apply(struct acl_user *u, const struct slice *rules, size_t n, bool open_channels,
                    struct str *error)
{
    struct str joined = {0};
    bool ok = true;
    /* A parenthesis that is not closed is found before anything is done. */
    for (size_t i = 0; ok && i < n; i++) {
        size_t first = i;
        str_clear(&joined);
        if (rules[i].len > 0 && rules[i].ptr[0] == '(' && !join_selector(rules, n, &i, &joined)) {
            str_appendz(error, "Unmatched parenthesis in acl selector starting at '");
            str_append_slice(error, rules[first]);
            str_appendz(error, "'.");
            ok = false;
        }
    }
    for (size_t i = 0; ok && i < n; i++) {
        struct slice rule = rules[i];
        if (rule.len > 0 && rule.ptr[0] == '(') {
            str_clear(&joined);
            (void)join_selector(rules, n, &i, &joined);
            rule = str_slice(&joined);
        }
        const char *wrong = acl_user_rule(u, rule, open_channels);
        if (wrong != NULL) {
            str_appendz(error, "Error in ACL SETUSER modifier '");
            str_append_slice(error, rule);
            str_printf(error, "': %s", wrong);
            ok = false;
        }
    }
    str_fini(&joined);
    return ok;
}
