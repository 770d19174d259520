// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/acl_command.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"
#include "common/resp/errors.h"

#include <errno.h>
#include <sys/random.h>

#define GENPASS_BITS     256
#define GENPASS_BITS_MAX 4096
#define NO_FILE                                                                                    \
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users " \
    "via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "      \
    "configuration file set) in order to store users in the Redis configuration."

/* --- reading --- */

static void cat_categories(struct resp_writer *w)
{
    resp_array(w, ACL_BITS);
    for (unsigned bit = 0; bit < ACL_BITS; bit++) {
        resp_bulkz(w, command_category_name(bit));
    }
}

static bool is_in(const struct command *c, uint32_t mask)
{
    return (c->acl & mask) != 0 && (c->flags & CF_INTERNAL) == 0;
}

static void cat_commands(struct slice category, struct resp_writer *w)
{
    uint32_t mask = command_category_mask(category);
    size_t n = 0;
    if (mask == 0) {
        resp_errorf(w, "ERR Unknown category '%.*s'", ARG_PRINT(category));
        return;
    }
    for (unsigned id = 1; id < CMD_MAX; id++) {
        n += is_in(command_by_id((enum command_id)id), mask);
    }
    resp_array(w, n);
    for (unsigned id = 1; id < CMD_MAX; id++) {
        const struct command *c = command_by_id((enum command_id)id);
        if (is_in(c, mask)) {
            resp_bulkz(w, c->full_name);
        }
    }
}

static void genpass(const struct slice *argv, size_t argc, struct resp_writer *w)
{
    int64_t bits = GENPASS_BITS;
    unsigned char raw[(GENPASS_BITS_MAX + 7) / 8] = {0};
    char hex[2 * sizeof(raw)];
    if (argc == 3 && !num_parse_i64(argv[2], &bits)) {
        resp_error(w, ERR_NOT_INT);
        return;
    }
    if (bits <= 0 || bits > GENPASS_BITS_MAX) {
        resp_error(w, "ERR ACL GENPASS argument must be the number of bits for the output "
                      "password, a positive number up to 4096");
        return;
    }
    size_t digits = ((size_t)bits + 3) / 4;
    for (size_t got = 0; got < (digits + 1) / 2;) {
        ssize_t n = getrandom(raw + got, (digits + 1) / 2 - got, 0);
        INVARIANT(n > 0 || errno == EINTR);
        got += (size_t)MAX(n, 0);
    }
    for (size_t i = 0; i < digits; i++) {
        hex[i] = "0123456789abcdef"[raw[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    }
    resp_bulk(w, slice_of(hex, digits));
}

static void dryrun(const struct acl_users *users, const struct slice *argv, size_t argc,
                   struct key_list *keys, struct resp_writer *w)
{
    const struct acl_user *u = acl_users_find(users, argv[2]);
    if (u == NULL) {
        resp_errorf(w, "ERR User '%.*s' not found", ARG_PRINT(argv[2]));
        return;
    }
    const struct command *c = command_find(argv + 3, argc - 3);
    if (c == NULL) {
        resp_errorf(w, "ERR Command '%.*s' not found", ARG_PRINT(argv[3]));
        return;
    }
    if (!command_arity_ok(c, argc - 3)) {
        char error[COMMAND_ERROR_MAX];
        command_error_arity(error, c);
        resp_error(w, error);
        return;
    }
    size_t at;
    enum acl_answer a = acl_check(u, c, argv + 3, argc - 3, keys, &at);
    if (a == ACL_YES || a == ACL_NOT_BY || a == ACL_NOT_GET) {
        resp_ok(w); /* SORT's patterns are refused when it runs */
        return;
    }
    struct str text = {0};
    acl_dryrun_text(a, c, argv[3 + at], &text);
    resp_bulk(w, str_slice(&text));
    str_fini(&text);
}

static void list(const struct acl_users *users, struct resp_writer *w)
{
    struct str line = {0};
    resp_array(w, acl_users_count(users));
    for (size_t i = 0; i < acl_users_count(users); i++) {
        str_clear(&line);
        str_appendz(&line, "user ");
        acl_user_print(acl_users_at(users, i), &line);
        resp_bulk(w, str_slice(&line));
    }
    str_fini(&line);
}

static void names(const struct acl_users *users, struct resp_writer *w)
{
    resp_array(w, acl_users_count(users));
    for (size_t i = 0; i < acl_users_count(users); i++) {
        resp_bulk(w, acl_user_name(acl_users_at(users, i)));
    }
}

static void help(struct resp_writer *w)
{
    static const char *const lines[] = {
        "CAT [<category>]",
        "    Categories, or the commands of one.",
        "DELUSER <username> [<username> ...]",
        "    Remove users; their clients are closed.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Whether the user may run the command, without running it.",
        "GETUSER <username>",
        "    What a user may do.",
        "GENPASS [<bits>]",
        "    A random password, of 256 bits unless told otherwise.",
        "LIST",
        "    All users, as an ACL file has them.",
        "LOAD",
        "    Take the users of the ACL file.",
        "LOG [<count> | RESET]",
        "    What was refused lately, or forget that.",
        "SAVE",
        "    Write the users into the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Make or change a user.",
        "USERS",
        "    The names of all users.",
        "WHOAMI",
        "    The user of this connection.",
        NULL};
    command_help_reply(w, "ACL", lines);
}

static void refuse_count(const struct slice *argv, struct resp_writer *w)
{
    resp_errorf(w, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ACL HELP.",
                ARG_PRINT(argv[1]));
}

bool acl_command_read(const struct acl_users *users, const struct acl_user *self,
                      const struct command *c, const struct slice *argv, size_t argc,
                      struct key_list *keys, struct resp_writer *w)
{
    const struct acl_user *u;
    switch (c->id) {
    case CMD_ACL_CAT:
    case CMD_ACL_GENPASS:
        if (argc > 3) {
            refuse_count(argv, w);
        } else if (c->id == CMD_ACL_GENPASS) {
            genpass(argv, argc, w);
        } else if (argc == 2) {
            cat_categories(w);
        } else {
            cat_commands(argv[2], w);
        }
        return true;
    case CMD_ACL_DRYRUN:
        dryrun(users, argv, argc, keys, w);
        return true;
    case CMD_ACL_GETUSER:
        u = acl_users_find(users, argv[2]);
        if (u == NULL) {
            resp_nil(w);
        } else {
            acl_user_reply(u, w);
        }
        return true;
    case CMD_ACL_LIST:
        list(users, w);
        return true;
    case CMD_ACL_USERS:
        names(users, w);
        return true;
    case CMD_ACL_WHOAMI:
        resp_bulk(w, acl_user_name(self));
        return true;
    case CMD_ACL_HELP:
        help(w);
        return true;
    default:
        return false;
    }
}

/* --- changing --- */

static struct acl_users *setuser(const struct acl_users *users, const struct acl_sources *from,
                                 const struct slice *argv, size_t argc, struct resp_writer *w)
{
    struct str error = {0};
    struct acl_users *next = NULL;
    if (!acl_name_ok(argv[2])) {
        resp_error(w, "ERR Usernames can't contain spaces or null characters");
        return NULL;
    }
    const struct acl_user *old = acl_users_find(users, argv[2]);
    struct acl_user *u =
        old != NULL ? acl_user_copy(old) : acl_user_new(argv[2], from->open_channels);
    if (acl_user_apply(u, argv + 3, argc - 3, from->open_channels, &error)) {
        next = acl_users_with(users, u);
        resp_ok(w);
    } else {
        acl_user_free(&u);
        resp_errorf(w, "ERR %s", str_cstr(&error));
    }
    str_fini(&error);
    return next;
}

static struct acl_users *deluser(const struct acl_users *users, const struct slice *argv,
                                 size_t argc, struct resp_writer *w)
{
    struct acl_users *next = NULL;
    int64_t deleted = 0;
    for (size_t i = 2; i < argc; i++) {
        if (slice_eq(argv[i], SLICE(ACL_DEFAULT))) {
            resp_error(w, "ERR The 'default' user cannot be removed");
            return NULL;
        }
    }
    for (size_t i = 2; i < argc; i++) {
        const struct acl_users *now = next == NULL ? users : next;
        if (acl_users_find(now, argv[i]) != NULL) {
            struct acl_users *less = acl_users_without(now, argv[i]);
            acl_users_unref(&next);
            next = less;
            deleted++;
        }
    }
    resp_int(w, deleted);
    return next;
}

static struct acl_users *load(const struct acl_sources *from, struct resp_writer *w)
{
    struct str errors = {0};
    struct acl_users *next = acl_file_load(from, &errors);
    if (next == NULL) {
        resp_errorf(w, "ERR %s", str_cstr(&errors));
    } else {
        resp_ok(w);
    }
    str_fini(&errors);
    return next;
}

static void save(const struct acl_users *users, const struct acl_sources *from,
                 struct resp_writer *w)
{
    struct errmsg err;
    if (acl_file_save(from, users, &err)) {
        resp_ok(w);
    } else {
        log_event(LOG_WARNING, "acl", "not saved reason=\"%s\"", err.text);
        resp_error(w, "ERR There was an error trying to save the ACLs. Please check the server "
                      "logs for more information");
    }
}

struct acl_users *acl_command_change(const struct acl_users *users, const struct acl_sources *from,
                                     const struct command *c, const struct slice *argv, size_t argc,
                                     struct resp_writer *w)
{
    bool of_file = c->id == CMD_ACL_LOAD || c->id == CMD_ACL_SAVE;
    if (of_file && from->file[0] == '\0') {
        resp_error(w, NO_FILE);
        return NULL;
    }
    switch (c->id) {
    case CMD_ACL_SETUSER:
        return setuser(users, from, argv, argc, w);
    case CMD_ACL_DELUSER:
        return deluser(users, argv, argc, w);
    case CMD_ACL_LOAD:
        return load(from, w);
    case CMD_ACL_SAVE:
        save(users, from, w);
        return NULL;
    default:
        INVARIANT(!"a command that changes users");
        return NULL;
    }
}

/* --- AUTH --- */

bool auth_read(const struct acl_users *users, const struct slice *argv, size_t argc,
               struct slice *user, struct slice *pass, struct resp_writer *w)
{
    if (argc > 3) {
        resp_error(w, ERR_SYNTAX);
        return false;
    }
    if (argc == 2 && acl_user_nopass(acl_users_default(users))) {
        resp_error(w, "ERR AUTH <password> called without any password configured for the "
                      "default user. Are you sure your configuration is correct?");
        return false;
    }
    *user = argc == 3 ? argv[1] : SLICE(ACL_DEFAULT);
    *pass = argv[argc - 1];
    return true;
}

const struct acl_user *auth_check(const struct acl_users *users, struct slice user,
                                  struct slice pass, struct resp_writer *w)
{
    const struct acl_user *u = acl_users_find(users, user);
    if (u == NULL || !acl_user_accepts(u, pass)) {
        resp_error(w, ERR_WRONGPASS);
        return NULL;
    }
    return u;
}

bool auth_needed(const struct acl_users *users)
{
    const struct acl_user *u = acl_users_default(users);
    return !acl_user_on(u) || !acl_user_nopass(u);
}

struct acl_users *acl_with_requirepass(const struct acl_users *users, const char *password)
{
    struct acl_user *u = acl_user_copy(acl_users_default(users));
    acl_user_set_password(u, slice_str(password));
    return acl_users_with(users, u);
}

/* --- what is not shown --- */

void acl_redact(const struct command *c, struct slice *argv, size_t argc)
{
    const struct slice hidden = SLICE("(redacted)");
    if (c->id == CMD_AUTH || c->id == CMD_ACL_SETUSER || c->id == CMD_ACL_DELUSER ||
        c->id == CMD_ACL_GETUSER) {
        for (size_t i = c->id == CMD_AUTH ? 1 : 2; i < argc; i++) {
            argv[i] = hidden;
        }
    } else if (c->id == CMD_HELLO) {
        for (size_t i = 2; i + 2 < argc; i++) {
            if (slice_is(argv[i], "auth")) {
                argv[i + 1] = hidden;
                argv[i + 2] = hidden;
            }
        }
    } else if (c->id == CMD_MIGRATE) {
        for (size_t i = 6; i < argc && !slice_is(argv[i], "keys"); i++) {
            size_t secrets = slice_is(argv[i], "auth") ? 1 : slice_is(argv[i], "auth2") ? 2 : 0;
            for (; secrets > 0 && i + 1 < argc; secrets--) {
                argv[++i] = hidden;
            }
        }
    }
}
