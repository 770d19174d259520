// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/client_command.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/str.h"
#include "common/cmd/reply.h"
#include "common/resp/errors.h"

#define PAUSE_MS_MAX (INT64_MAX / 4000)

bool client_name_ok(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '!' || name.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

void client_setinfo(const struct slice *argv, char **lib_name, char **lib_version,
                    struct resp_writer *w)
{
    bool lib = slice_is(argv[2], "lib-name");
    if (!lib && !slice_is(argv[2], "lib-ver")) {
        resp_errorf(w, "ERR Unrecognized option '%.*s'", ARG_PRINT(argv[2]));
        return;
    }
    if (!client_name_ok(argv[3])) {
        resp_errorf(w, "ERR %s cannot contain spaces, newlines or special characters.",
                    lib ? "lib-name" : "lib-ver");
        return;
    }
    char **to = lib ? lib_name : lib_version;
    struct str copy = {0};
    str_append_slice(&copy, argv[3]);
    mem_free(*to);
    *to = str_steal(&copy);
    resp_ok(w);
}

bool client_read_on_off(struct slice word, bool *on, struct resp_writer *w)
{
    *on = slice_is(word, "on");
    if (!*on && !slice_is(word, "off")) {
        resp_error(w, ERR_SYNTAX);
        return false;
    }
    return true;
}

enum client_say client_read_reply(struct slice word, struct resp_writer *w)
{
    if (slice_is(word, "on")) {
        return CLIENT_SAY_ON;
    }
    if (slice_is(word, "off")) {
        return CLIENT_SAY_OFF;
    }
    if (slice_is(word, "skip")) {
        return CLIENT_SAY_SKIP;
    }
    resp_error(w, ERR_SYNTAX);
    return CLIENT_SAY_BAD;
}

bool client_read_pause(const struct slice *argv, size_t argc, bool *writes_only, int64_t *ms,
                       struct resp_writer *w)
{
    *writes_only = argc == 4 && slice_is(argv[3], "write");
    if (argc > 4) {
        resp_error(w, ERR_SYNTAX);
    } else if (argc == 4 && !*writes_only && !slice_is(argv[3], "all")) {
        resp_error(w, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    } else if (!num_parse_i64(argv[2], ms) || *ms > PAUSE_MS_MAX) {
        resp_error(w, "ERR timeout is not an integer or out of range");
    } else if (*ms < 0) {
        resp_error(w, "ERR timeout is negative");
    } else {
        return true;
    }
    return false;
}

bool client_read_unblock(const struct slice *argv, size_t argc, int64_t *id, struct resp_writer *w)
{
    if (argc > 4 || (argc == 4 && !slice_is(argv[3], "timeout") && !slice_is(argv[3], "error"))) {
        resp_error(w, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return false;
    }
    if (!num_parse_i64(argv[2], id)) {
        resp_error(w, ERR_NOT_INT);
        return false;
    }
    return true;
}

static bool read_option(const struct slice *argv, size_t argc, size_t *i,
                        bool (*exists)(void *arg, uint64_t id), void *arg,
                        struct client_tracking *to, struct resp_writer *w)
{
    static const struct {
        const char *word;
        uint32_t flag;
    } flags[] = {{"bcast", CLIENT_TRACKING_BCAST},
                 {"optin", CLIENT_TRACKING_OPTIN},
                 {"optout", CLIENT_TRACKING_OPTOUT},
                 {"noloop", CLIENT_TRACKING_NOLOOP}};
    for (size_t f = 0; f < ARRAY_LEN(flags); f++) {
        if (slice_is(argv[*i], flags[f].word)) {
            to->flags |= flags[f].flag;
            return true;
        }
    }
    bool more = *i + 1 < argc;
    if (more && slice_is(argv[*i], "prefix")) {
        to->prefixes = mem_realloc(to->prefixes, (to->n_prefixes + 1) * sizeof(*to->prefixes));
        to->prefixes[to->n_prefixes++] = argv[++*i];
        return true;
    }
    int64_t id;
    if (!more || !slice_is(argv[*i], "redirect")) {
        resp_error(w, ERR_SYNTAX);
    } else if (to->redirect != 0) {
        resp_error(w, "ERR A client can only redirect to a single other client");
    } else if (!num_parse_i64(argv[++*i], &id)) {
        resp_error(w, ERR_NOT_INT);
    } else if (id <= 0 || !exists(arg, (uint64_t)id)) {
        resp_error(w, "ERR The client ID you want redirect to does not exist");
    } else {
        to->redirect = (uint64_t)id;
        return true;
    }
    return false;
}

bool client_read_tracking(const struct slice *argv, size_t argc,
                          bool (*exists)(void *arg, uint64_t id), void *arg,
                          struct client_tracking *to, struct resp_writer *w)
{
    *to = (struct client_tracking){0};
    for (size_t i = 3; i < argc; i++) {
        if (!read_option(argv, argc, &i, exists, arg, to, w)) {
            return false;
        }
    }
    return client_read_on_off(argv[2], &to->on, w);
}

void client_tracking_fini(struct client_tracking *t)
{
    mem_free(t->prefixes);
    *t = (struct client_tracking){0};
}

bool client_tracking_fits(const struct client_tracking *t, bool was, uint32_t flags,
                          struct resp_writer *w)
{
    const uint32_t opting = CLIENT_TRACKING_OPTIN | CLIENT_TRACKING_OPTOUT;
    bool bcast = (t->flags & CLIENT_TRACKING_BCAST) != 0;
    uint32_t both = (t->flags | (was ? flags : 0)) & opting;
    if (!bcast && t->n_prefixes > 0) {
        resp_error(w, "ERR PREFIX option requires BCAST mode to be enabled");
    } else if (was && bcast != ((flags & CLIENT_TRACKING_BCAST) != 0)) {
        resp_error(w, "ERR You can't switch BCAST mode on/off before disabling tracking for this "
                      "client, and then re-enabling it with a different mode.");
    } else if (bcast && (t->flags & opting) != 0) {
        resp_error(w, "ERR OPTIN and OPTOUT are not compatible with BCAST");
    } else if ((t->flags & opting) == opting) {
        resp_error(w, "ERR You can't specify both OPTIN mode and OPTOUT mode");
    } else if ((t->flags & opting) != 0 && both == opting) {
        resp_error(w, "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this "
                      "client, and then re-enabling it with a different mode.");
    } else {
        return true;
    }
    return false;
}

void client_tracking(const struct slice *argv, size_t argc, struct resp_writer *w)
{
    if (argc == 3 && slice_is(argv[2], "off")) {
        resp_ok(w);
    } else if (slice_is(argv[2], "on") || slice_is(argv[2], "off")) {
        resp_errorf(w, ERR_NOT_SERVED, "client|tracking");
    } else {
        resp_error(w, ERR_SYNTAX);
    }
}

void client_caching(struct resp_writer *w)
{
    resp_error(w, "ERR CLIENT CACHING can be called only when the client is in tracking mode "
                  "with OPTIN or OPTOUT mode enabled");
}

void client_getredir(struct resp_writer *w)
{
    resp_int(w, -1);
}

void client_trackinginfo(struct resp_writer *w)
{
    resp_map(w, 3);
    resp_bulkz(w, "flags");
    resp_set(w, 1);
    resp_bulkz(w, "off");
    resp_bulkz(w, "redirect");
    resp_int(w, -1);
    resp_bulkz(w, "prefixes");
    resp_array(w, 0);
}

void client_help(struct resp_writer *w)
{
    static const char *const lines[] = {
        "GETNAME",
        "    Return the name of this connection.",
        "GETREDIR",
        "    Return the client that tracking is redirected to: none here.",
        "ID",
        "    Return the number of this connection.",
        "INFO",
        "    Describe this connection.",
        "KILL <ip:port>",
        "    Close the connection from that address.",
        "KILL <option> <value> [<option> <value> ...]",
        "    Close the connections that match:",
        "    * ID <client-id>",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "    * ADDR <ip:port>, LADDR <ip:port>",
        "    * USER <username>",
        "    * SKIPME (YES|NO)",
        "LIST [TYPE <type> | ID <client-id> ...]",
        "    Describe this process's connections, one a line.",
        "NO-EVICT (ON|OFF)",
        "    Protect this connection from being closed to save memory.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Let commands wait for so many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Answer to commands, or not, or not to the next one.",
        "SETINFO <LIB-NAME|LIB-VER> <value>",
        "    Tell which client library this is.",
        "SETNAME <name>",
        "    Name this connection.",
        "TRACKINGINFO",
        "    Report the state of tracking.",
        "UNPAUSE",
        "    End a pause.",
        NULL};
    command_help_reply(w, "CLIENT", lines);
}
