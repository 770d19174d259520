// SPDX-License-Identifier: BSD-3-Clause
/* CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO: what the client has said; exec/own.h does it.
 */
#include "proxy/admin/admin_priv.h"
#include "proxy/exec/own.h"

#include "common/app/client_command.h"
#include "common/base/mem.h"
#include "common/base/num.h"

_Static_assert((int)OWN_BCAST == (int)CLIENT_TRACKING_BCAST, "the same flags");
_Static_assert((int)OWN_OPTIN == (int)CLIENT_TRACKING_OPTIN, "the same flags");
_Static_assert((int)OWN_OPTOUT == (int)CLIENT_TRACKING_OPTOUT, "the same flags");
_Static_assert((int)OWN_NOLOOP == (int)CLIENT_TRACKING_NOLOOP, "the same flags");

static bool overlaps(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len);
    return n == 0 || memcmp(a.ptr, b.ptr, n) == 0;
}

static void say_overlap(struct resp_writer *w, struct slice a, const char *what, struct slice b)
{
    resp_errorf(w,
                "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client "
                "must not overlap.",
                (int)a.len, a.ptr, what, (int)b.len, b.ptr);
}

static bool prefixes_apart(const struct own_view *own, const struct client_tracking *wish,
                           struct resp_writer *w)
{
    for (size_t i = 0; i < wish->n_prefixes; i++) {
        struct slice one = wish->prefixes[i];
        for (size_t j = 0; j < own->n_prefixes; j++) {
            if (overlaps(one, own->prefixes[j])) {
                say_overlap(w, one, "an existing", own->prefixes[j]);
                return false;
            }
        }
        for (size_t j = i + 1; j < wish->n_prefixes; j++) {
            if (overlaps(one, wish->prefixes[j])) {
                say_overlap(w, one, "another provided", wish->prefixes[j]);
                return false;
            }
        }
    }
    return true;
}

static bool is_known(void *arg, uint64_t id)
{
    (void)id;
    return *(const bool *)arg;
}

/* `known`: there is a client of the number that it redirects to. */
static enum local_result set_tracking(struct local_call *c, bool known)
{
    struct client_tracking wish;
    struct session *s = c->session;
    struct own_view own = exec_tracking(s);
    enum local_result result = LOCAL_DONE;
    if (!client_read_tracking(c->argv, c->argc, is_known, &known, &wish, c->w)) {
        client_tracking_fini(&wish);
        return LOCAL_DONE;
    }
    if (!wish.on) {
        exec_untrack(c->exec, s);
        resp_ok(c->w);
    } else if (client_tracking_fits(&wish, own.on, own.flags, c->w) &&
               prefixes_apart(&own, &wish, c->w)) {
        exec_track(c->exec, s, wish.flags, wish.redirect, wish.prefixes, wish.n_prefixes,
                   c->request);
        result = LOCAL_LATER;
    }
    client_tracking_fini(&wish);
    return result;
}

struct look_up {
    struct later *later;
    uint64_t id;
};

static void visit_known(struct worker *w, void *arg, struct str *answer)
{
    const struct look_up *l = arg;
    const struct client *c = worker_client_by_id(w, l->id);
    if (c != NULL && !c->doomed) {
        str_append_char(answer, 'x');
    }
}

static void looked_up(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct look_up *l = arg;
    size_t found = 0;
    (void)asker;
    for (int i = 0; i < n; i++) {
        found += answers[i].len;
    }
    if (later_gone(l->later)) {
        resp_ok(&l->later->w);
        later_finish(&l->later);
    } else {
        struct local_call c = later_call(l->later);
        c.w = &l->later->w;
        if (set_tracking(&c, found > 0) == LOCAL_DONE) {
            later_finish(&l->later);
        } else {
            later_drop(&l->later);
        }
    }
    mem_free(l);
}

/* Whom it asks to be told instead. */
static bool read_redirect(const struct local_call *c, uint64_t *id)
{
    for (size_t i = 3; i + 1 < c->argc; i++) {
        int64_t v;
        if (slice_is(c->argv[i], "redirect")) {
            *id = num_parse_i64(c->argv[i + 1], &v) && v > 0 ? (uint64_t)v : 0;
            return *id != 0;
        }
        i += slice_is(c->argv[i], "prefix");
    }
    return false;
}

static enum local_result do_tracking(struct local_call *c)
{
    uint64_t id;
    if (!read_redirect(c, &id)) {
        return set_tracking(c, false);
    }
    struct look_up *l = mem_zalloc(sizeof(*l));
    l->id = id;
    l->later = later_new(c);
    workers_ask(worker_of(c), visit_known, l, looked_up);
    return LOCAL_LATER;
}

static enum local_result do_caching(struct local_call *c)
{
    struct own_view own = exec_tracking(c->session);
    bool yes = slice_is(c->argv[2], "yes");
    if ((own.flags & (OWN_OPTIN | OWN_OPTOUT)) == 0) {
        client_caching(c->w);
    } else if (!yes && !slice_is(c->argv[2], "no")) {
        resp_error(c->w, ERR_SYNTAX);
    } else if ((own.flags & (yes ? OWN_OPTIN : OWN_OPTOUT)) == 0) {
        resp_errorf(c->w,
                    "ERR CLIENT CACHING %s is only valid when tracking is enabled in %s mode.",
                    yes ? "YES" : "NO", yes ? "OPTIN" : "OPTOUT");
    } else {
        exec_set_caching(c->session);
        resp_ok(c->w);
    }
    return LOCAL_DONE;
}

static enum local_result do_getredir(struct local_call *c)
{
    struct own_view own = exec_tracking(c->session);
    resp_int(c->w, own.on ? (int64_t)own.redirect : -1);
    return LOCAL_DONE;
}

static enum local_result do_trackinginfo(struct local_call *c)
{
    struct own_view own = exec_tracking(c->session);
    const struct {
        bool is;
        const char *name;
    } flags[] = {{!own.on, "off"},
                 {own.on, "on"},
                 {(own.flags & OWN_BCAST) != 0, "bcast"},
                 {(own.flags & OWN_OPTIN) != 0, "optin"},
                 {(own.flags & OWN_OPTIN) != 0 && own.caching, "caching-yes"},
                 {(own.flags & OWN_OPTOUT) != 0, "optout"},
                 {(own.flags & OWN_OPTOUT) != 0 && own.caching, "caching-no"},
                 {(own.flags & OWN_NOLOOP) != 0, "noloop"},
                 {own.broken, "broken_redirect"}};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        n += flags[i].is;
    }
    resp_map(c->w, 3);
    resp_bulkz(c->w, "flags");
    resp_set(c->w, n);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].is) {
            resp_bulkz(c->w, flags[i].name);
        }
    }
    resp_bulkz(c->w, "redirect");
    resp_int(c->w, own.on ? (int64_t)own.redirect : -1);
    resp_bulkz(c->w, "prefixes");
    resp_array(c->w, own.n_prefixes);
    for (size_t i = 0; i < own.n_prefixes; i++) {
        resp_bulk(c->w, own.prefixes[i]);
    }
    return LOCAL_DONE;
}

void admin_tracking(struct local_table *t)
{
    local_table_set(t, CMD_CLIENT_TRACKING, do_tracking, LOCAL_ORDERED);
    local_table_set(t, CMD_CLIENT_CACHING, do_caching, 0);
    local_table_set(t, CMD_CLIENT_GETREDIR, do_getredir, 0);
    local_table_set(t, CMD_CLIENT_TRACKINGINFO, do_trackinginfo, 0);
}
