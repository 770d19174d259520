// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/session.h"

#include "common/base/mem.h"

void session_init(struct session *s, uint64_t id, struct outbuf *out)
{
    *s = (struct session){
        .magic = SESSION_MAGIC, .proto = 2, .id = id, .out = out, .out_watch = SIZE_MAX};
    list_init(&s->wait);
    list_init(&s->holds);
}

void session_fini(struct session *s)
{
    CHECK_OBJ(s, SESSION_MAGIC);
    INVARIANT(s->head == NULL);
    INVARIANT(s->tx == NULL);
    INVARIANT(list_empty(&s->wait));
    INVARIANT(list_empty(&s->holds));
    mem_free(s->name);
    mem_free(s->lib_name);
    mem_free(s->lib_version);
    s->magic = 0;
}

void session_set_name(struct session *s, const char *ptr, size_t len)
{
    CHECK_OBJ(s, SESSION_MAGIC);
    mem_free(s->name);
    s->name = NULL;
    if (len > 0) {
        s->name = mem_alloc(len + 1);
        memcpy(s->name, ptr, len);
        s->name[len] = '\0';
    }
}
