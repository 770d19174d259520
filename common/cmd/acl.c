// SPDX-License-Identifier: BSD-3-Clause
#include "common/cmd/acl.h"

#include "common/base/glob.h"
#include "common/base/mem.h"
#include "common/cmd/acl_priv.h"

/* --- users --- */

struct acl_user *acl_user_new(struct slice name, bool open_channels)
{
    struct acl_user *u = mem_zalloc(sizeof(*u));
    u->refs = 1;
    u->name = mem_zalloc(name.len + 1);
    if (name.len > 0) {
        memcpy(u->name, name.ptr, name.len);
    }
    u->name_len = name.len;
    u->selectors = mem_alloc(sizeof(*u->selectors));
    u->n_selectors = 1;
    selector_init(u->selectors, open_channels);
    return u;
}

struct acl_user *acl_user_open(struct slice name)
{
    struct acl_user *u = acl_user_new(name, true);
    u->on = true;
    u->nopass = true;
    u->selectors->all_keys = true;
    selector_set_all(u->selectors, true);
    return u;
}

static struct acl_pattern *copy_patterns(const struct acl_pattern *from, size_t n)
{
    struct acl_pattern *to = mem_alloc((n + 1) * sizeof(*to));
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].text = mem_memdup(from[i].text, from[i].len + 1);
    }
    return to;
}

static void copy_selector(struct acl_selector *to, const struct acl_selector *from)
{
    *to = *from;
    to->keys = copy_patterns(from->keys, from->n_keys);
    to->channels = copy_patterns(from->channels, from->n_channels);
    to->firsts = mem_alloc((from->n_firsts + 1) * sizeof(*to->firsts));
    for (size_t i = 0; i < from->n_firsts; i++) {
        to->firsts[i] = from->firsts[i];
        to->firsts[i].word = mem_strdup(from->firsts[i].word);
    }
}

struct acl_user *acl_user_copy(const struct acl_user *from)
{
    struct acl_user *u = mem_alloc(sizeof(*u));
    *u = *from;
    u->refs = 1;
    u->name = mem_memdup(from->name, from->name_len + 1);
    u->hashes = mem_alloc((from->n_hashes + 1) * sizeof(*u->hashes));
    if (from->n_hashes > 0) {
        memcpy(u->hashes, from->hashes, from->n_hashes * sizeof(*u->hashes));
    }
    u->selectors = mem_alloc(from->n_selectors * sizeof(*u->selectors));
    for (size_t i = 0; i < from->n_selectors; i++) {
        copy_selector(&u->selectors[i], &from->selectors[i]);
    }
    return u;
}

struct acl_user *acl_user_ref(const struct acl_user *u)
{
    struct acl_user *mine = (struct acl_user *)(uintptr_t)u; /* only the count changes */
    __atomic_add_fetch(&mine->refs, 1, __ATOMIC_RELAXED);
    return mine;
}

void acl_user_free(struct acl_user **up)
{
    struct acl_user *u = *up;
    *up = NULL;
    if (u == NULL || __atomic_sub_fetch(&u->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (size_t i = 0; i < u->n_selectors; i++) {
        selector_fini(&u->selectors[i]);
    }
    mem_free(u->selectors);
    mem_free(u->hashes);
    mem_free(u->name);
    mem_free(u);
}

bool acl_name_ok(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '\0' || memchr(" \t\n\v\f\r", name.ptr[i], 6) != NULL) {
            return false;
        }
    }
    return true;
}

struct slice acl_user_name(const struct acl_user *u)
{
    return slice_of(u->name, u->name_len);
}

bool acl_user_on(const struct acl_user *u)
{
    return u->on;
}

bool acl_user_nopass(const struct acl_user *u)
{
    return u->nopass;
}

bool acl_user_unrestricted(const struct acl_user *u)
{
    for (size_t i = 0; i < u->n_selectors; i++) {
        const struct acl_selector *s = &u->selectors[i];
        if (s->all_commands && s->all_keys && s->all_channels) {
            return true;
        }
    }
    return false;
}

bool acl_user_accepts(const struct acl_user *u, struct slice password)
{
    uint8_t hash[SHA256_BYTES];
    bool found = u->nopass;
    sha256(password, hash);
    for (size_t i = 0; i < u->n_hashes; i++) {
        uint8_t differ = 0;
        for (size_t j = 0; j < SHA256_BYTES; j++) {
            differ |= (uint8_t)(hash[j] ^ u->hashes[i][j]);
        }
        found |= differ == 0;
    }
    return u->on && found;
}

/* --- sets --- */

struct acl_users {
    unsigned refs; /* atomic */
    size_t n;
    struct acl_user *users[]; /* by name */
};

static int compare(struct slice a, struct slice b)
{
    int c = a.len == 0 || b.len == 0 ? 0 : memcmp(a.ptr, b.ptr, MIN(a.len, b.len));
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

/* Where a user of that name stands or would stand. */
static size_t place_of(const struct acl_users *s, struct slice name, bool *found)
{
    size_t low = 0;
    size_t high = s->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(acl_user_name(s->users[middle]), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < s->n && compare(acl_user_name(s->users[low]), name) == 0;
    return low;
}

static struct acl_users *make_set(size_t n)
{
    struct acl_users *s = mem_zalloc(sizeof(*s) + n * sizeof(s->users[0]));
    s->refs = 1;
    s->n = n;
    return s;
}

struct acl_users *acl_users_new(void)
{
    struct acl_users *s = make_set(1);
    s->users[0] = acl_user_open(SLICE(ACL_DEFAULT));
    return s;
}

struct acl_users *acl_users_ref(struct acl_users *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void acl_users_unref(struct acl_users **sp)
{
    struct acl_users *s = *sp;
    *sp = NULL;
    if (s == NULL || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        acl_user_free(&s->users[i]);
    }
    mem_free(s);
}

struct acl_users *acl_users_with(const struct acl_users *s, struct acl_user *u)
{
    bool found;
    size_t at = place_of(s, acl_user_name(u), &found);
    struct acl_users *next = make_set(s->n + (found ? 0 : 1));
    for (size_t i = 0, from = 0; i < next->n; i++) {
        if (i == at) {
            next->users[i] = u;
            from += found ? 1 : 0;
        } else {
            next->users[i] = acl_user_ref(s->users[from++]);
        }
    }
    return next;
}

struct acl_users *acl_users_without(const struct acl_users *s, struct slice name)
{
    bool found;
    size_t at = place_of(s, name, &found);
    struct acl_users *next = make_set(s->n - (found ? 1 : 0));
    for (size_t i = 0; i < next->n; i++) {
        next->users[i] = acl_user_ref(s->users[i + (found && i >= at ? 1 : 0)]);
    }
    return next;
}

size_t acl_users_count(const struct acl_users *s)
{
    return s->n;
}

const struct acl_user *acl_users_at(const struct acl_users *s, size_t i)
{
    INVARIANT(i < s->n);
    return s->users[i];
}

const struct acl_user *acl_users_find(const struct acl_users *s, struct slice name)
{
    bool found;
    size_t at = place_of(s, name, &found);
    return found ? s->users[at] : NULL;
}

const struct acl_user *acl_users_default(const struct acl_users *s)
{
    const struct acl_user *u = acl_users_find(s, SLICE(ACL_DEFAULT));
    INVARIANT(u != NULL);
    return u;
}

/* --- checking --- */

/* One command being checked; its keys are found when a selector needs them, and then once. */
struct check {
    const struct command *c;
    const struct slice *argv;
    size_t argc;
    struct key_list *keys;
    bool keys_known;
    size_t at; /* of the last refusal */
};

static bool allows_command(const struct acl_selector *s, const struct check *k)
{
    if (s->all_commands || (k->c->flags & CF_NO_AUTH) != 0 || selector_has(s, k->c->id)) {
        return true;
    }
    size_t word = k->c->parent != NULL ? 2 : 1;
    for (size_t i = 0; i < s->n_firsts && word < k->argc; i++) {
        if (s->firsts[i].command == k->c->id && slice_is(k->argv[word], s->firsts[i].word)) {
            return true;
        }
    }
    return false;
}

static unsigned needs_of(unsigned key_flags)
{
    unsigned needs = (key_flags & KEY_ACCESS) != 0 ? ACL_MAY_READ : 0;
    return needs | ((key_flags & (KEY_INSERT | KEY_DELETE | KEY_UPDATE)) != 0 ? ACL_MAY_WRITE : 0);
}

static bool allows_key(const struct acl_selector *s, struct slice key, unsigned needs)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct acl_pattern *p = &s->keys[i];
        if ((p->may & needs) == needs && glob_match(slice_of(p->text, p->len), key, false)) {
            return true;
        }
    }
    return false;
}

static bool allows_keys(const struct acl_selector *s, struct check *k)
{
    if (s->all_keys || !keys_possible(k->c)) {
        return true;
    }
    if (!k->keys_known) {
        k->keys_known = true;
        if (keys_find(k->c, k->argv, k->argc, k->keys) != KEYS_OK) {
            k->keys->count = 0; /* what runs the command refuses it */
        }
    }
    for (uint32_t i = 0; i < k->keys->count; i++) {
        const struct key_ref *r = &k->keys->keys[i];
        if ((r->flags & KEY_NOT_KEY) == 0 &&
            !allows_key(s, k->argv[r->index], needs_of(r->flags))) {
            k->at = r->index;
            return false;
        }
    }
    return true;
}

static bool allows_channel(const struct acl_selector *s, struct slice channel, bool pattern)
{
    for (size_t i = 0; i < s->n_channels; i++) {
        struct slice p = slice_of(s->channels[i].text, s->channels[i].len);
        if (pattern ? slice_eq(p, channel) : glob_match(p, channel, false)) {
            return true;
        }
    }
    return s->all_channels;
}

static bool allows_channels(const struct acl_selector *s, struct check *k)
{
    size_t last = 0;
    if (s->all_channels) {
        return true;
    }
    switch (k->c->id) {
    case CMD_PUBLISH:
    case CMD_SPUBLISH:
        last = 1;
        break;
    case CMD_SUBSCRIBE:
    case CMD_PSUBSCRIBE:
    case CMD_SSUBSCRIBE:
        last = k->argc - 1;
        break;
    default:
        break;
    }
    for (size_t i = 1; i <= last && i < k->argc; i++) {
        if (!allows_channel(s, k->argv[i], k->c->id == CMD_PSUBSCRIBE)) {
            k->at = i;
            return false;
        }
    }
    return true;
}

static enum acl_answer ask_selector(const struct acl_selector *s, struct check *k)
{
    k->at = 0;
    if (!allows_command(s, k)) {
        return ACL_NOT_COMMAND;
    }
    if (!allows_keys(s, k)) {
        return ACL_NOT_KEY;
    }
    return allows_channels(s, k) ? ACL_YES : ACL_NOT_CHANNEL;
}

static bool reads_everything(const struct acl_selector *s)
{
    bool any = s->all_keys;
    for (size_t i = 0; i < s->n_keys; i++) {
        any |= (s->keys[i].may & ACL_MAY_READ) != 0 && s->keys[i].len == 1 &&
               s->keys[i].text[0] == '*';
    }
    return any;
}

/* The word of SORT that reads keys by a pattern; 0: it has none. */
static size_t sort_pattern(const struct slice *argv, size_t argc)
{
    for (size_t i = 2; i + 1 < argc; i++) {
        if (slice_is(argv[i], "limit")) {
            i += 2;
        } else if (slice_is(argv[i], "store")) {
            i++;
        } else if (slice_is(argv[i], "get")) {
            return i;
        } else if (slice_is(argv[i], "by")) {
            if (argv[i + 1].len > 0 && memchr(argv[i + 1].ptr, '*', argv[i + 1].len) != NULL) {
                return i;
            }
            i++;
        }
    }
    return 0;
}

/* SORT's patterns need a selector that allows the command and reading every key. */
static enum acl_answer check_sort(const struct acl_user *u, struct check *k)
{
    size_t at = sort_pattern(k->argv, k->argc);
    for (size_t i = 0; at != 0 && i < u->n_selectors; i++) {
        if (ask_selector(&u->selectors[i], k) == ACL_YES && reads_everything(&u->selectors[i])) {
            at = 0;
        }
    }
    k->at = at;
    return at == 0 ? ACL_YES : slice_is(k->argv[at], "by") ? ACL_NOT_BY : ACL_NOT_GET;
}

enum acl_answer acl_check(const struct acl_user *u, const struct command *c,
                          const struct slice *argv, size_t argc, struct key_list *keys, size_t *at)
{
    struct check k = {.c = c, .argv = argv, .argc = argc, .keys = keys};
    /* Of several refusals the one is told that came furthest. */
    enum acl_answer worst = ACL_NOT_COMMAND;
    *at = 0;
    for (size_t i = 0; i < u->n_selectors; i++) {
        enum acl_answer a = ask_selector(&u->selectors[i], &k);
        if (a == ACL_YES) {
            if (c->id != CMD_SORT && c->id != CMD_SORT_RO) {
                return ACL_YES;
            }
            a = check_sort(u, &k);
            *at = k.at;
            return a;
        }
        if (a > worst || (a == worst && k.at > *at)) {
            worst = a;
            *at = k.at;
        }
    }
    return worst;
}

bool acl_channel_ok(const struct acl_user *u, struct slice channel, bool pattern)
{
    for (size_t i = 0; i < u->n_selectors; i++) {
        if (allows_channel(&u->selectors[i], channel, pattern)) {
            return true;
        }
    }
    return false;
}
