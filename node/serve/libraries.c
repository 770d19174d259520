// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/libraries.h"

#include "node/link/link.h"
#include "node/script/library_set.h"
#include "node/serve/durable.h"
#include "node/serve/server.h"

#include "common/base/log.h"

#define TELL_MS 2000

static void tell_soon(struct server *s)
{
    s->libraries_tell_us = loop_now_us(s->loop) + TELL_MS * 1000;
}

void libraries_note(struct server *s)
{
    library_set_note(s->libraries, s->scripts, loop_wall_ms(s->loop));
    tell_soon(s);
}

bool libraries_changed(struct server *s, struct str *why)
{
    libraries_note(s); /* if it is undone that is one more change */
    return durable_libraries_changed(s, why);
}

static void tell(struct server *s, struct link *l)
{
    struct str payload = {0};
    const char kind = (char)LIBRARIES_FRAME;
    library_set_note(s->libraries, s->scripts, loop_wall_ms(s->loop));
    library_set_write(s->libraries, s->scripts, &payload);
    struct outbuf *out = link_frame(l, 1 + payload.len);
    outbuf_append(out, &kind, 1);
    outbuf_append(out, payload.ptr, payload.len);
    str_fini(&payload);
}

void libraries_link_up(struct server *s, struct link *l)
{
    if (!library_set_is_empty(s->libraries)) {
        tell(s, l);
    }
}

static void taken(struct server *s, const struct link *l, struct str *left_out)
{
    if (left_out->len > 0) {
        log_event(LOG_WARNING, "script", "libraries that do not go together are deleted: %s",
                  str_cstr(left_out));
    }
    log_event(LOG_NOTICE, "script", "libraries taken from another node=%s", link_id(l));
    str_clear(left_out);
    if (!durable_libraries_changed(s, left_out)) {
        log_event(LOG_WARNING, "script", "%s", str_cstr(left_out));
    }
    tell_soon(s);
}

bool libraries_frame(struct server *s, struct link *l, struct slice frame)
{
    struct str why = {0};
    library_set_note(s->libraries, s->scripts, loop_wall_ms(s->loop));
    unsigned news =
        library_set_merge(s->libraries, s->scripts, slice_of(frame.ptr + 1, frame.len - 1), &why);
    if ((news & LIBRARY_SET_TAKEN) != 0) {
        taken(s, l, &why);
    }
    if ((news & LIBRARY_SET_AHEAD) != 0) {
        tell(s, l);
    }
    str_fini(&why);
    return news != LIBRARY_SET_BAD;
}

static void tell_one(void *arg, struct link *l)
{
    if (link_is_up(l)) {
        tell(arg, l);
    }
}

void libraries_tick(struct server *s)
{
    if (s->libraries_tell_us == 0 || loop_now_us(s->loop) < s->libraries_tell_us) {
        return;
    }
    s->libraries_tell_us = 0;
    if (s->links != NULL) {
        links_each(s->links, tell_one, s);
    }
}
