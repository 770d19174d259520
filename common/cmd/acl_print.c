// SPDX-License-Identifier: BSD-3-Clause
/* Users as text: their rules, and what is said of a refusal. */
#include "common/cmd/acl_priv.h"
#include "common/resp/errors.h"

/* --- commands ---
 *
 * What is kept are bits, so the rules shown are found anew: +@all or -@all, then the categories
 * that bring most of what is missing (a category is taken if it is right for more commands than
 * wrong), then single commands for what is still different. */

/* Commands of a category that `s` has and has not. */
static void count_category(const struct acl_selector *s, uint32_t category, size_t *has,
                           size_t *lacks)
{
    *has = *lacks = 0;
    for (unsigned id = 1; id < CMD_MAX; id++) {
        if ((command_by_id((enum command_id)id)->acl & category) != 0) {
            *(selector_has(s, id) ? has : lacks) += 1;
        }
    }
}

/* The category with the fewest commands for which it is wrong, then the most for which it is right;
 * ACL_BITS: none helps. */
static unsigned best_category(const struct acl_selector *left, bool adding, uint32_t used)
{
    unsigned best = ACL_BITS;
    size_t best_wrong = SIZE_MAX;
    size_t best_right = 0;
    for (unsigned bit = 0; bit < ACL_BITS; bit++) {
        size_t has, lacks;
        if ((used >> bit & 1) != 0) {
            continue;
        }
        count_category(left, (uint32_t)1 << bit, &has, &lacks);
        size_t right = adding ? has : lacks;
        size_t wrong = adding ? lacks : has;
        if (right > wrong && (wrong < best_wrong || (wrong == best_wrong && right > best_right))) {
            best = bit;
            best_wrong = wrong;
            best_right = right;
        }
    }
    return best;
}

static void print_command(const struct command *c, bool on, struct str *to)
{
    str_printf(to, " %c%s", on ? '+' : '-', c->full_name);
}

static void print_firsts(const struct acl_selector *s, const struct command *c, struct str *to)
{
    for (size_t i = 0; i < s->n_firsts; i++) {
        if (s->firsts[i].command == c->id) {
            str_printf(to, " +%s|%s", c->full_name, s->firsts[i].word);
        }
    }
}

/* What `shown` says otherwise than `s`, one by one. */
static void print_single(const struct acl_selector *s, struct acl_selector *shown, struct str *to)
{
    for (unsigned id = 1; id <= COMMAND_COUNT; id++) {
        const struct command *c = command_by_id((enum command_id)id);
        if (selector_has(s, id) != selector_has(shown, id)) {
            print_command(c, selector_has(s, id), to);
            selector_set(shown, c, selector_has(s, id));
        }
        for (unsigned i = 0; i < c->sub_count; i++) {
            unsigned sub = c->sub_first + i;
            if (selector_has(s, sub) != selector_has(shown, sub)) {
                print_command(command_by_id((enum command_id)sub), selector_has(s, sub), to);
                selector_set(shown, command_by_id((enum command_id)sub), selector_has(s, sub));
            }
        }
        if (!selector_has(s, id)) {
            print_firsts(s, c, to);
        }
    }
}

static void print_commands(const struct acl_selector *s, struct str *to)
{
    bool adding = !selector_has(s, CMD_NONE);
    struct acl_selector shown = {0};
    struct acl_selector left = {0}; /* what the categories chosen so far do not account for */
    uint32_t used = 0;
    selector_set_all(&shown, !adding);
    memcpy(left.commands, s->commands, sizeof(left.commands));
    str_appendz(to, adding ? "-@all" : "+@all");
    for (;;) {
        unsigned bit = best_category(&left, adding, used);
        if (bit == ACL_BITS) {
            break;
        }
        str_printf(to, " %c@%s", adding ? '+' : '-', command_category_name(bit));
        selector_set_category(&shown, (uint32_t)1 << bit, adding);
        selector_set_category(&left, (uint32_t)1 << bit, !adding);
        used |= (uint32_t)1 << bit;
    }
    print_single(s, &shown, to);
}

/* --- keys and channels --- */

static void print_keys(const struct acl_selector *s, struct str *to)
{
    if (s->all_keys) {
        str_appendz(to, "~*");
    }
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct acl_pattern *p = &s->keys[i];
        str_appendz(to, i > 0 ? " " : "");
        /* As "~*" it would be read back as allkeys, which nothing may follow; Redis prints that. */
        bool lone_star = p->len == 1 && p->text[0] == '*';
        const char *both = lone_star ? "%RW" : "";
        str_appendz(to, p->may == ACL_MAY_READ ? "%R" : p->may == ACL_MAY_WRITE ? "%W" : both);
        str_append_char(to, '~');
        str_append(to, p->text, p->len);
    }
}

static void print_channels(const struct acl_selector *s, struct str *to)
{
    if (s->all_channels) {
        str_appendz(to, "&*");
    }
    for (size_t i = 0; i < s->n_channels; i++) {
        str_appendz(to, i > 0 ? " &" : "&");
        str_append(to, s->channels[i].text, s->channels[i].len);
    }
}

/* --- users --- */

static void print_selector(const struct acl_selector *s, struct str *to)
{
    if (s->all_keys || s->n_keys > 0) {
        print_keys(s, to);
        str_append_char(to, ' ');
    }
    if (!s->all_channels) {
        str_appendz(to, "resetchannels ");
    }
    if (s->all_channels || s->n_channels > 0) {
        print_channels(s, to);
        str_append_char(to, ' ');
    }
    print_commands(s, to);
}

static void print_hash(const uint8_t hash[SHA256_BYTES], struct str *to)
{
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        str_printf(to, "%02x", hash[i]);
    }
}

static const char *sanitize_text(const struct acl_user *u)
{
    return u->sanitize == ACL_SANITIZE_SKIP ? "skip-sanitize-payload" : "sanitize-payload";
}

void acl_user_print(const struct acl_user *u, struct str *to)
{
    str_append(to, u->name, u->name_len);
    str_appendz(to, u->on ? " on " : " off ");
    str_appendz(to, u->nopass ? "nopass " : "");
    if (u->sanitize != ACL_SANITIZE_UNSAID) {
        str_printf(to, "%s ", sanitize_text(u));
    }
    for (size_t i = 0; i < u->n_hashes; i++) {
        str_append_char(to, '#');
        print_hash(u->hashes[i], to);
        str_append_char(to, ' ');
    }
    print_selector(&u->selectors[0], to);
    for (size_t i = 1; i < u->n_selectors; i++) {
        str_appendz(to, " (");
        print_selector(&u->selectors[i], to);
        str_append_char(to, ')');
    }
}

static void reply_selector(const struct acl_selector *s, struct resp_writer *w)
{
    static const struct {
        const char *name;
        void (*print)(const struct acl_selector *s, struct str *to);
    } parts[] = {{"commands", print_commands}, {"keys", print_keys}, {"channels", print_channels}};
    struct str text = {0};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        str_clear(&text);
        parts[i].print(s, &text);
        resp_bulkz(w, parts[i].name);
        resp_bulk(w, str_slice(&text));
    }
    str_fini(&text);
}

void acl_user_reply(const struct acl_user *u, struct resp_writer *w)
{
    struct str text = {0};
    resp_map(w, 6);
    resp_bulkz(w, "flags");
    resp_set(w, 1 + (size_t)u->nopass + (u->sanitize != ACL_SANITIZE_UNSAID));
    resp_bulkz(w, u->on ? "on" : "off");
    if (u->nopass) {
        resp_bulkz(w, "nopass");
    }
    if (u->sanitize != ACL_SANITIZE_UNSAID) {
        resp_bulkz(w, sanitize_text(u));
    }
    resp_bulkz(w, "passwords");
    resp_array(w, u->n_hashes);
    for (size_t i = 0; i < u->n_hashes; i++) {
        str_clear(&text);
        print_hash(u->hashes[i], &text);
        resp_bulk(w, str_slice(&text));
    }
    reply_selector(&u->selectors[0], w);
    resp_bulkz(w, "selectors");
    resp_array(w, u->n_selectors - 1);
    for (size_t i = 1; i < u->n_selectors; i++) {
        resp_map(w, 3);
        reply_selector(&u->selectors[i], w);
    }
    str_fini(&text);
}

/* --- refusals --- */

void acl_error(enum acl_answer a, const struct command *c, struct str *to)
{
    switch (a) {
    case ACL_YES:
        break;
    case ACL_NOT_COMMAND:
        str_printf(to, "NOPERM this user has no permissions to run the '%s' command", c->full_name);
        break;
    case ACL_NOT_KEY:
        str_appendz(to, "NOPERM this user has no permissions to access one of the keys used as "
                        "arguments");
        break;
    case ACL_NOT_CHANNEL:
        str_appendz(to, "NOPERM this user has no permissions to access one of the channels used as "
                        "arguments");
        break;
    case ACL_NOT_AUTH:
        str_appendz(to, ERR_WRONGPASS);
        break;
    case ACL_NOT_BY:
        str_appendz(to, "ERR BY option of SORT denied due to insufficient ACL permissions.");
        break;
    case ACL_NOT_GET:
        str_appendz(to, "ERR GET option of SORT denied due to insufficient ACL permissions.");
        break;
    }
}

const char *acl_script_error(enum acl_answer a)
{
    switch (a) {
    case ACL_NOT_KEY:
        return "The user executing the script can't access at least one of the keys mentioned in "
               "the command arguments";
    case ACL_NOT_CHANNEL:
        return "The user executing the script can't publish to the channel mentioned in the "
               "command";
    case ACL_NOT_BY:
        return "BY option of SORT denied due to insufficient ACL permissions.";
    case ACL_NOT_GET:
        return "GET option of SORT denied due to insufficient ACL permissions.";
    case ACL_YES:
    case ACL_NOT_COMMAND:
    case ACL_NOT_AUTH:
        break;
    }
    return "The user executing the script can't run this command or subcommand";
}

const char *acl_exec_error(enum acl_answer a)
{
    switch (a) {
    case ACL_NOT_KEY:
        return "NOPERM ACLs rules changed between the moment the transaction was accumulated and "
               "the EXEC call. This command is no longer allowed for the following reason: no "
               "permission to touch the specified keys";
    case ACL_NOT_CHANNEL:
        return "NOPERM ACLs rules changed between the moment the transaction was accumulated and "
               "the EXEC call. This command is no longer allowed for the following reason: no "
               "permission to access one of the channels used as arguments to the command";
    case ACL_NOT_BY:
        return "ERR BY option of SORT denied due to insufficient ACL permissions.";
    case ACL_NOT_GET:
        return "ERR GET option of SORT denied due to insufficient ACL permissions.";
    case ACL_YES:
    case ACL_NOT_COMMAND:
    case ACL_NOT_AUTH:
        break;
    }
    return "NOPERM ACLs rules changed between the moment the transaction was accumulated and the "
           "EXEC call. This command is no longer allowed for the following reason: no permission "
           "to execute the command or subcommand";
}

void acl_dryrun_text(enum acl_answer a, const struct command *c, struct slice word, struct str *to)
{
    if (a == ACL_NOT_KEY || a == ACL_NOT_CHANNEL) {
        str_appendz(to, "This user has no permissions to access the '");
        str_append_slice(to, word);
        str_appendz(to, a == ACL_NOT_KEY ? "' key" : "' channel");
    } else {
        str_printf(to, "This user has no permissions to run the '%s' command", c->full_name);
    }
}

const char *acl_answer_name(enum acl_answer a)
{
    switch (a) {
    case ACL_NOT_KEY:
        return "key";
    case ACL_NOT_CHANNEL:
        return "channel";
    case ACL_NOT_AUTH:
        return "auth";
    case ACL_YES:
    case ACL_NOT_COMMAND:
    case ACL_NOT_BY:
    case ACL_NOT_GET:
        break;
    }
    return "command";
}
