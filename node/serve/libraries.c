// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/libraries.h"

#include "node/link/link.h"
#include "node/serve/durable.h"
#include "node/serve/follow.h"
#include "node/serve/server.h"

#include "common/base/bytes.h"
#include "common/base/crc.h"
#include "common/base/log.h"

#define HEAD_BYTES 9 /* the frame's kind, the version */
#define TELL_MS    2000

bool libraries_changed(struct server *s, struct str *why)
{
    s->libraries_version++;
    if (!durable_libraries_changed(s, why)) {
        s->libraries_version--;
        return false;
    }
    s->libraries_tell_us = loop_now_us(s->loop) + TELL_MS * 1000;
    return true;
}

static void tell(struct server *s, struct link *l)
{
    struct str payload = {0};
    char head[HEAD_BYTES] = {(char)LIBRARIES_FRAME};
    put_le64(head + 1, s->libraries_version);
    scripts_dump(s->scripts, &payload);
    struct outbuf *out = link_frame(l, sizeof(head) + payload.len);
    outbuf_append(out, head, sizeof(head));
    outbuf_append(out, payload.ptr, payload.len);
    str_fini(&payload);
}

void libraries_link_up(struct server *s, struct link *l)
{
    if (s->libraries_version > 0) {
        tell(s, l);
    }
}

/* Whether the other's set counts and not ours: 1; ours: -1; they are the same: 0. */
static int compare(const struct server *s, uint64_t version, struct slice theirs)
{
    if (version != s->libraries_version) {
        return version > s->libraries_version ? 1 : -1;
    }
    struct str ours = {0};
    scripts_dump(s->scripts, &ours);
    uint64_t a = crc64(0, theirs.ptr, theirs.len);
    uint64_t b = crc64(0, ours.ptr, ours.len);
    str_fini(&ours);
    return a == b ? 0 : a > b ? 1 : -1;
}

static void take(struct server *s, struct slice payload, uint64_t version)
{
    struct str why = {0};
    if (!scripts_restore(s->scripts, payload, &why)) {
        log_event(LOG_WARNING, "script", "libraries of another node are not taken: %s",
                  str_cstr(&why));
    } else {
        s->libraries_version = version;
        follow_reset(s, "libraries came from another node");
        log_event(LOG_NOTICE, "script", "libraries taken from another node version=%llu",
                  (unsigned long long)version);
        str_clear(&why);
        if (!durable_libraries_changed(s, &why)) {
            log_event(LOG_WARNING, "script", "%s", str_cstr(&why));
        }
    }
    str_fini(&why);
}

bool libraries_frame(struct server *s, struct link *l, struct slice frame)
{
    if (frame.len < HEAD_BYTES) {
        return false;
    }
    uint64_t version = get_le64(frame.ptr + 1);
    struct slice payload = slice_of(frame.ptr + HEAD_BYTES, frame.len - HEAD_BYTES);
    int which = compare(s, version, payload);
    if (which > 0) {
        take(s, payload, version);
    } else if (which < 0) {
        tell(s, l);
    }
    return true;
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
