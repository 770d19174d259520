// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/resp_link.h"

#include "common/base/mem.h"
#include "common/base/str.h"

#include <hiredis/hiredis.h>

#include <errno.h>
#include <unistd.h>

#define RESP_LINK_MAGIC 0x726c6e6bu
#define NIL_ARGUMENT    SIZE_MAX

/* hiredis calls back as it reads a message's parts; we lay them into one flat message instead of
 * its tree of replies, and refuse lengths before anything is allocated for them. */
struct message {
    char type;
    int refused; /* errno value: why */
    size_t argc;
    size_t room;
    size_t *lens; /* NIL_ARGUMENT: nil */
    struct slice *argv;
    struct str bytes; /* the arguments, end to end */
};

struct resp_link {
    uint32_t magic;
    struct stream *stream;
    void *owner;
    resp_link_up_fn on_up;
    resp_link_fn on_message;
    resp_link_down_fn on_down;
    redisReader *reader;
    struct message message;
    uint32_t depth; /* calls of on_message running */
    bool freed;     /* in one of them */
    bool down;
    size_t bytes_max; /* of a message */
};

static void message_fini(struct message *m)
{
    mem_free(m->lens);
    mem_free(m->argv);
    str_fini(&m->bytes);
}

static void start_message(struct message *m, char type)
{
    m->type = type;
    m->argc = 0;
    str_clear(&m->bytes);
}

/* hiredis reads a NULL as "out of memory" and stops: how we refuse. */
static void *refuse(struct message *m, int why)
{
    m->refused = why;
    return NULL;
}

static void *add_argument(const redisReadTask *task, char type, const char *ptr, size_t len)
{
    struct message *m = task->privdata;
    if (task->parent == NULL) {
        start_message(m, type);
    }
    if (m->argc == m->room) {
        m->room = MAX(m->room * 2, 16);
        m->lens = mem_realloc(m->lens, m->room * sizeof(*m->lens));
        m->argv = mem_realloc(m->argv, m->room * sizeof(*m->argv));
    }
    m->lens[m->argc++] = ptr == NULL ? NIL_ARGUMENT : len;
    if (ptr != NULL) {
        str_append(&m->bytes, ptr, len);
    }
    return m;
}

static void *on_string(const redisReadTask *task, char *ptr, size_t len)
{
    char type = '$';
    if (task->type == REDIS_REPLY_STATUS) {
        type = '+';
    } else if (task->type == REDIS_REPLY_ERROR) {
        type = '-';
    }
    return add_argument(task, type, ptr, len);
}

static void *on_array(const redisReadTask *task, int elements)
{
    struct message *m = task->privdata;
    if (task->parent != NULL) {
        return refuse(m, EPROTO);
    }
    if (elements > RESP_LINK_ARGS) {
        return refuse(m, EMSGSIZE);
    }
    start_message(m, '*');
    return m;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld", value);
    return add_argument(task, ':', text, (size_t)len);
}

static void *on_nil(const redisReadTask *task)
{
    if (task->parent == NULL) {
        start_message(task->privdata, '_');
        return task->privdata;
    }
    return add_argument(task, '$', NULL, 0);
}

static void on_free_object(void *object)
{
    (void)object; /* the message is ours and used again */
}

static redisReplyObjectFunctions reader_functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free_object,
};

static void release(struct resp_link *l)
{
    redisReaderFree(l->reader);
    message_fini(&l->message);
    l->magic = 0;
    mem_free(l);
}

/* False if the link was freed by its owner. */
static bool deliver(struct resp_link *l)
{
    struct message *m = &l->message;
    const char *at = str_cstr(&m->bytes);
    for (size_t i = 0; i < m->argc; i++) {
        bool nil = m->lens[i] == NIL_ARGUMENT;
        m->argv[i] = nil ? slice_of(NULL, 0) : slice_of(at, m->lens[i]);
        at += nil ? 0 : m->lens[i];
    }
    l->depth++;
    l->on_message(l, m->type, m->argv, m->argc);
    l->depth--;
    if (l->freed && l->depth == 0) {
        release(l);
        return false;
    }
    return true;
}

static void on_data(struct stream *s)
{
    struct resp_link *l = s->owner;
    struct slice in = inbuf_unread(&s->in);
    int rc = redisReaderFeed(l->reader, in.ptr, in.len);
    inbuf_consume(&s->in, in.len);
    while (rc == REDIS_OK && !l->down) {
        void *reply = NULL;
        rc = redisReaderGetReply(l->reader, &reply);
        if (rc != REDIS_OK) {
            break;
        }
        if (reply == NULL) {
            size_t held = l->reader->len - l->reader->pos + l->message.bytes.len;
            if (held > l->bytes_max) {
                stream_fail(s, EMSGSIZE);
            }
            return;
        }
        if (!deliver(l)) {
            return;
        }
    }
    if (rc != REDIS_OK) {
        stream_fail(s, l->message.refused != 0 ? l->message.refused : EPROTO);
    }
}

static void on_close(struct stream *s, int err)
{
    struct resp_link *l = s->owner;
    l->down = true;
    l->on_down(l, err);
}

static void on_connect(struct stream *s, int err)
{
    struct resp_link *l = s->owner;
    if (err != 0) {
        on_close(s, err);
    } else if (l->on_up != NULL) {
        l->on_up(l);
    }
}

static struct resp_link *make(void *owner, resp_link_fn on_message, resp_link_down_fn on_down)
{
    struct resp_link *l = mem_zalloc(sizeof(*l));
    l->magic = RESP_LINK_MAGIC;
    l->owner = owner;
    l->on_message = on_message;
    l->on_down = on_down;
    l->bytes_max = RESP_LINK_BYTES;
    l->reader = redisReaderCreateWithFunctions(&reader_functions);
    INVARIANT(l->reader != NULL);
    l->reader->privdata = &l->message;
    return l;
}

struct resp_link *resp_link_accept(struct loop *loop, int fd, void *owner, resp_link_fn on_message,
                                   resp_link_down_fn on_down)
{
    struct resp_link *l = make(owner, on_message, on_down);
    l->stream = stream_new(loop, fd, l, on_data, on_close);
    return l;
}

struct resp_link *resp_link_connect(struct loop *loop, const char *host, int port,
                                    int64_t timeout_ms, void *owner, resp_link_up_fn on_up,
                                    resp_link_fn on_message, resp_link_down_fn on_down)
{
    struct resp_link *l = make(owner, on_message, on_down);
    l->on_up = on_up;
    l->stream = stream_connect(loop, host, port, timeout_ms, l, on_connect, on_data, on_close);
    return l;
}

void resp_link_free(struct resp_link **lp)
{
    struct resp_link *l = *lp;
    *lp = NULL;
    if (l == NULL) {
        return;
    }
    CHECK_OBJ(l, RESP_LINK_MAGIC);
    l->down = true;
    stream_free(&l->stream);
    if (l->depth > 0) {
        l->freed = true;
    } else {
        release(l);
    }
}

void resp_link_limit(struct resp_link *l, size_t bytes)
{
    CHECK_OBJ(l, RESP_LINK_MAGIC);
    l->bytes_max = bytes;
}

void *resp_link_owner(const struct resp_link *l)
{
    return l->owner;
}

void resp_link_send_raw(struct resp_link *l, struct slice bytes)
{
    CHECK_OBJ(l, RESP_LINK_MAGIC);
    if (!l->down) {
        outbuf_append(&l->stream->out, bytes.ptr, bytes.len);
        stream_flush_later(l->stream);
    }
}

void resp_link_send(struct resp_link *l, const struct slice *argv, size_t argc)
{
    INVARIANT(argc <= RESP_LINK_ARGS);
    const char **ptrs = mem_alloc(argc * sizeof(*ptrs));
    size_t *lens = mem_alloc(argc * sizeof(*lens));
    for (size_t i = 0; i < argc; i++) {
        ptrs[i] = argv[i].ptr;
        lens[i] = argv[i].len;
    }
    char *text = NULL;
    int len = redisFormatCommandArgv(&text, (int)argc, ptrs, lens);
    INVARIANT(len > 0);
    resp_link_send_raw(l, slice_of(text, (size_t)len));
    redisFreeCommand(text);
    mem_free(ptrs);
    mem_free(lens);
}

void resp_link_sendf(struct resp_link *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    int len = redisvFormatCommand(&text, fmt, ap);
    va_end(ap);
    INVARIANT(len > 0);
    resp_link_send_raw(l, slice_of(text, (size_t)len));
    redisFreeCommand(text);
}

void resp_link_flush_now(struct resp_link *l)
{
    if (l->stream != NULL) {
        stream_flush_now(l->stream);
    }
}

void resp_link_close_after_flush(struct resp_link *l)
{
    CHECK_OBJ(l, RESP_LINK_MAGIC);
    if (!l->down) {
        stream_close_after_flush(l->stream);
    }
}

void resp_link_peer(const struct resp_link *l, char *to, size_t size)
{
    stream_peer(l->stream, to, size);
}

void resp_link_local(const struct resp_link *l, char *to, size_t size)
{
    stream_local(l->stream, to, size);
}

size_t resp_link_queued(const struct resp_link *l)
{
    return l->stream->out.bytes;
}

int64_t resp_link_active_us(const struct resp_link *l)
{
    return l->stream->active_us;
}
