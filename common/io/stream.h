// SPDX-License-Identifier: BSD-3-Clause
/* A connected byte stream (TCP or a Unix socket) on one loop.
 *
 * Reading: when bytes came, `on_data` is called; the callback consumes what it can of stream->in
 * and may keep references to the chunk (chunk_ref(s->in.chunk)). An idle stream holds no buffer:
 * bytes are read into a scratch chunk of the loop. What stays unread after on_data is moved into a
 * small chunk of the stream's own, and the next read puts it before the new bytes again, so every
 * read is a large one; bytes may therefore move between two calls of on_data, never during one. One
 * read per stream and turn. When the owner misses much (stream->want), the bytes are read into a
 * chunk of the stream's own, which grows by what really arrived, never by what a peer claims.
 * Writing: append to stream->out, then stream_flush_later(); all flushes happen at the end of the
 * turn, one system call a stream. What the socket does not take is sent when it is writable again.
 * Holding: bytes from position hold_at on (counted as bytes_out is, over the stream's life) stay in
 * `out` until the owner moves the mark and flushes; whatever is appended behind them waits too.
 * Closing: on_close is called exactly once, from the loop, never from inside a call into the
 * stream; afterwards the owner calls stream_free. `err` is an errno value, 0 for an orderly end by
 * the peer. Until then the owner may still append and flush; after a failure the bytes go nowhere.
 * The peer's end (it may have closed its sending half only, and wait for answers): on_eof if the
 * owner set it, else what is queued is still sent, then on_close(0). With on_eof the stream still
 * writes; the owner ends it by stream_close_after_flush or stream_free when it has answered all.
 * Costs per request: no epoll_ctl, no allocation, no clock call. */
#pragma once

#include "common/io/loop.h"

struct stream;
typedef void (*stream_fn)(struct stream *s);
typedef void (*stream_close_fn)(struct stream *s, int err);

#define STREAM_FREE UINT64_MAX

struct stream {
    uint32_t magic;
    int fd;
    struct loop *loop;
    struct inbuf in;
    struct outbuf out;
    void *owner;
    stream_fn on_data;
    stream_close_fn on_close;
    stream_fn on_drained; /* may be NULL: everything in `out` was written; from the loop */
    stream_fn on_eof;     /* may be NULL: the peer sends nothing more; all it sent was given */
    bool drop_at_eof;     /* no on_eof: what is queued is for nobody then, on_close comes at once */
    size_t want;          /* bytes the owner misses to complete a message: the next read's size */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t
        hold_at; /* bytes_out stops here: what stands behind it waits; STREAM_FREE: nothing does */
    uint64_t reads; /* system calls, for the benchmark's figures */
    uint64_t writes;
    int64_t active_us; /* loop time of the last bytes in */
    struct stream_impl *impl;
};

/* Takes the connected, non-blocking descriptor. */
struct stream *stream_new(struct loop *l, int fd, void *owner, stream_fn on_data,
                          stream_close_fn on_close);
/* Starts to connect to a host's name, number or path; on_connect(err) is called once from the loop,
 * then data flows. Bytes may be appended before; they leave after the connection stands. timeout_ms
 * > 0. If err is not 0 (as addr_error() knows it; ETIMEDOUT when the time is over) on_close will
 * not be called: free the stream. Nothing blocks: a name is looked up beside the loop (names.h),
 * within the same time. */
struct stream *stream_connect(struct loop *l, const char *host, int port, int64_t timeout_ms,
                              void *owner, stream_close_fn on_connect, stream_fn on_data,
                              stream_close_fn on_close);
/* Closes the descriptor and frees; on_close is not called. Safe inside any of its callbacks. What
 * was queued and not flushed is lost. */
void stream_free(struct stream **s);
/* The same, and the system forgets as well what it took and the peer has not acknowledged: none of
 * it is sent again. */
void stream_abort(struct stream **s);

void stream_flush_later(struct stream *s);
/* The same, before those of all other streams that are to be flushed. */
void stream_flush_first(struct stream *s);
/* Tries to write now (start of shutdown, out of turn); the callbacks still come from the loop. */
void stream_flush_now(struct stream *s);
/* Backpressure: paused streams are not read; bytes already in `in` stay there. Resuming calls
 * on_data again in the same turn if something is unread. A pause costs a system call only if
 * bytes arrive during it. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
/* Whether it is served in loop_meanwhile too; off at first. */
void stream_meanwhile(struct stream *s, bool yes);
bool stream_paused(const struct stream *s);
/* As if the peer had ended its half now, but on_eof is not called; what is unread is still given.
 */
void stream_stop_reading(struct stream *s);
/* Writes what is queued, then closes and reports on_close(0). Reads nothing more. */
void stream_close_after_flush(struct stream *s);
/* Reports on_close(err) from the loop, soon; nothing is read or written any more. */
void stream_fail(struct stream *s, int err);
void stream_keepalive(struct stream *s, int seconds);
/* Ends it (ETIMEDOUT) when what was written is not taken for so long, instead of the system's
 * quarter of an hour. */
void stream_write_limit(struct stream *s, int seconds);
/* Kernel's addresses as "ip:port". */
void stream_peer(const struct stream *s, char *to, size_t size);
void stream_local(const struct stream *s, char *to, size_t size);
/* Memory of the buffers, for CLIENT LIST and output limits. */
/* The position of the next byte that is appended. */
static inline uint64_t stream_end(const struct stream *s)
{
    return s->bytes_out + s->out.bytes;
}
/* Appended bytes that may leave. */
static inline size_t stream_ready(const struct stream *s)
{
    return s->hold_at - s->bytes_out < s->out.bytes ? (size_t)(s->hold_at - s->bytes_out)
                                                    : s->out.bytes;
}
size_t stream_in_memory(const struct stream *s);
size_t stream_out_memory(const struct stream *s);
