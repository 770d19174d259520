// SPDX-License-Identifier: BSD-3-Clause
/* One table in one SQLite file: write-ahead log, each commit synced (synchronous=FULL), held by one
 * process at a time (locking_mode=EXCLUSIVE). */
#include "proxy/control/store.h"

#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_MAGIC 0x73746f72u
#define FILE_NAME   "coordinator.db"
#define CHANGES_MAX 64 /* puts between two polls that a watcher hears of one by one */

struct change {
    char key[64];
    uint64_t revision;
};

struct sqlite_store {
    struct store base;
    uint32_t magic;
    sqlite3 *db;
    sqlite3_stmt *get;
    sqlite3_stmt *insert;
    sqlite3_stmt *update;
    char path[512];
    store_watch_fn watcher;
    void *watcher_arg;
    struct change changes[CHANGES_MAX];
    int n_changes;
};

static struct sqlite_store *self(struct store *s)
{
    struct sqlite_store *q = container_of(s, struct sqlite_store, base);
    CHECK_OBJ(q, STORE_MAGIC);
    return q;
}

static bool sqlite_get(struct store *s, const char *key, struct str *value, uint64_t *revision,
                       struct errmsg *err)
{
    struct sqlite_store *q = self(s);
    *revision = 0;
    (void)sqlite3_bind_text(q->get, 1, key, -1, SQLITE_STATIC);
    int rc = sqlite3_step(q->get);
    if (rc == SQLITE_ROW) {
        *revision = (uint64_t)sqlite3_column_int64(q->get, 0);
        const void *bytes = sqlite3_column_blob(q->get, 1);
        int len = sqlite3_column_bytes(q->get, 1);
        if (len > 0) {
            str_append(value, bytes, (size_t)len);
        }
    } else if (rc != SQLITE_DONE) {
        errmsg_set(err, "%s: %s", q->path, sqlite3_errmsg(q->db));
    }
    (void)sqlite3_reset(q->get);
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

/* One statement is one transaction; when its step returns, the log is synced. */
static enum store_result sqlite_put(struct store *s, const char *key, uint64_t expected,
                                    struct slice value, struct errmsg *err)
{
    struct sqlite_store *q = self(s);
    sqlite3_stmt *st = expected == 0 ? q->insert : q->update;
    (void)sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    (void)sqlite3_bind_blob64(st, 2, value.ptr, value.len, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 3, (sqlite3_int64)expected + 1);
    (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)expected);
    int rc = sqlite3_step(st);
    int changed = sqlite3_changes(q->db);
    if (rc != SQLITE_DONE) {
        errmsg_set(err, "%s: %s", q->path, sqlite3_errmsg(q->db));
    }
    (void)sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
    if (rc != SQLITE_DONE) {
        return STORE_FAILED;
    }
    if (changed == 0) {
        errmsg_set(err, "%s: %s was changed by somebody else", q->path, key);
        return STORE_CONFLICT;
    }
    if (q->watcher != NULL && q->n_changes < CHANGES_MAX && strlen(key) < sizeof(q->changes->key)) {
        struct change *c = &q->changes[q->n_changes++];
        memcpy(c->key, key, strlen(key) + 1);
        c->revision = expected + 1;
    }
    return STORE_OK;
}

static void sqlite_watch(struct store *s, store_watch_fn fn, void *arg)
{
    struct sqlite_store *q = self(s);
    q->watcher = fn;
    q->watcher_arg = arg;
    q->n_changes = 0;
}

/* Nobody else can change anything: we hold the file. So our own changes are all there are. */
static void sqlite_poll(struct store *s)
{
    struct sqlite_store *q = self(s);
    int n = q->n_changes;
    q->n_changes = 0;
    for (int i = 0; i < n && q->watcher != NULL; i++) {
        struct change c = q->changes[i];
        q->watcher(q->watcher_arg, c.key, c.revision);
    }
}

static void sqlite_free(struct store *s)
{
    struct sqlite_store *q = self(s);
    (void)sqlite3_finalize(q->get);
    (void)sqlite3_finalize(q->insert);
    (void)sqlite3_finalize(q->update);
    (void)sqlite3_close(q->db);
    q->magic = 0;
    mem_free(q);
}

static const struct store_ops sqlite_ops = {.get = sqlite_get,
                                            .put = sqlite_put,
                                            .watch = sqlite_watch,
                                            .poll = sqlite_poll,
                                            .free = sqlite_free};

static bool run(struct sqlite_store *q, const char *sql)
{
    return sqlite3_exec(q->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool prepare(struct sqlite_store *q)
{
    return sqlite3_prepare_v2(q->db, "SELECT revision, value FROM record WHERE key = ?1", -1,
                              &q->get, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(q->db,
                              "INSERT INTO record (key, value, revision) SELECT ?1, ?2, ?3 "
                              "WHERE ?4 = 0 ON CONFLICT DO NOTHING",
                              -1, &q->insert, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(q->db,
                              "UPDATE record SET value = ?2, revision = ?3 "
                              "WHERE key = ?1 AND revision = ?4",
                              -1, &q->update, NULL) == SQLITE_OK;
}

static int note_check(void *arg, int n, char **values, char **names)
{
    (void)names;
    bool *sound = arg;
    *sound = n == 1 && values[0] != NULL && strcmp(values[0], "ok") == 0;
    return 0;
}

static bool is_sound(struct sqlite_store *q)
{
    bool sound = false;
    return sqlite3_exec(q->db, "PRAGMA quick_check(1)", note_check, &sound, NULL) == SQLITE_OK &&
           sound;
}

static void explain(struct sqlite_store *q, struct errmsg *err)
{
    int code = q->db == NULL ? SQLITE_CANTOPEN : sqlite3_errcode(q->db) & 0xff;
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
        errmsg_set(err, "%s is in use by another process", q->path);
    } else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_OK) {
        errmsg_set(err,
                   "%s is damaged: put a good copy in its place, or move it away to start a new "
                   "cluster",
                   q->path);
    } else {
        errmsg_set(err, "%s: %s", q->path,
                   q->db == NULL ? "cannot be opened" : sqlite3_errmsg(q->db));
    }
}

struct store *store_sqlite_open(const char *dir, struct errmsg *err)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        errmsg_set(err, "%s: %s", dir, strerror(errno));
        return NULL;
    }
    struct sqlite_store *q = mem_zalloc(sizeof(*q));
    q->base.ops = &sqlite_ops;
    q->magic = STORE_MAGIC;
    int len = snprintf(q->path, sizeof(q->path), "%s/%s", dir, FILE_NAME);
    if (len < 0 || (size_t)len >= sizeof(q->path)) {
        errmsg_set(err, "%s: the path is too long", dir);
        mem_free(q);
        return NULL;
    }
    /* Its owner's alone: it has the hashes of users' passwords. What can't be opened SQLite tells.
     */
    int fd = open(q->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)fchmod(fd, 0600);
        (void)close(fd);
    }
    /* An empty transaction takes the lock, so that a second process learns it here and now. */
    if (sqlite3_open_v2(q->path, &q->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
            SQLITE_OK ||
        !run(q, "PRAGMA locking_mode=EXCLUSIVE") || !run(q, "PRAGMA journal_mode=WAL") ||
        !run(q, "PRAGMA synchronous=FULL") || !run(q, "PRAGMA wal_autocheckpoint=256") ||
        !run(q, "BEGIN IMMEDIATE") || !run(q, "COMMIT") || !is_sound(q) ||
        !run(q, "CREATE TABLE IF NOT EXISTS record "
                "(key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)") ||
        !prepare(q)) {
        explain(q, err);
        sqlite_free(&q->base);
        return NULL;
    }
    return &q->base;
}
