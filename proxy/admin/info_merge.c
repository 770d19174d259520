// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/admin/info_merge.h"

#include "common/app/info.h"
#include "common/base/mem.h"
#include "common/base/num.h"

#define NAME_MAX_LEN 64
#define DATABASES    16

enum rule { RULE_SUM, RULE_MAX, RULE_FIRST, RULE_WORST };

struct field {
    char section[NAME_MAX_LEN];
    char name[NAME_MAX_LEN];
    enum rule rule;
    bool fixed; /* put there by the caller */
    int64_t number;
    double real;
    char *text; /* what the first node (RULE_WORST: the worst) said; NULL: none did */
};

struct keyspace_sum {
    int64_t keys, expires;
    double ttl; /* summed over the keys that expire */
};

struct info_merge {
    struct field *fields;
    size_t count, cap;
    struct keyspace_sum dbs[DATABASES];
    struct str hosts; /* that were added, each between newlines */
};

struct info_merge *info_merge_new(void)
{
    return mem_zalloc(sizeof(struct info_merge));
}

void info_merge_free(struct info_merge **mp)
{
    struct info_merge *m = *mp;
    *mp = NULL;
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        mem_free(m->fields[i].text);
    }
    mem_free(m->fields);
    str_fini(&m->hosts);
    mem_free(m);
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), e = strlen(end);
    return n >= e && strcmp(name + n - e, end) == 0;
}

static enum rule rule_of(const char *name, bool number)
{
    static const char *const most[] = {"_in_progress",
                                       "_scheduled",
                                       "loading",
                                       "_time_sec",
                                       "_save_time",
                                       "_enabled",
                                       "_running",
                                       "_last_cow_size",
                                       "_peak_time",
                                       "_perc",
                                       "_fork_usec",
                                       "_total_prefixes",
                                       "pubsub_patterns",
                                       "_everywhere",
                                       "number_of_cached_scripts",
                                       "number_of_functions",
                                       "number_of_libraries"};
    if (ends_with(name, "_status")) {
        return RULE_WORST;
    }
    for (size_t i = 0; i < ARRAY_LEN(most); i++) {
        if (ends_with(name, most[i])) {
            return number ? RULE_MAX : RULE_FIRST;
        }
    }
    return number ? RULE_SUM : RULE_FIRST;
}

static struct field *find(const struct info_merge *m, const char *section, const char *name)
{
    for (size_t i = 0; i < m->count; i++) {
        struct field *f = &m->fields[i];
        if (strcmp(f->name, name) == 0 && (section == NULL || strcmp(f->section, section) == 0)) {
            return f;
        }
    }
    return NULL;
}

static struct field *find_or_add(struct info_merge *m, const char *section, const char *name,
                                 bool number)
{
    struct field *f = find(m, section, name);
    if (f != NULL) {
        return f;
    }
    if (m->count == m->cap) {
        m->cap = m->cap == 0 ? 128 : m->cap * 2;
        m->fields = mem_realloc(m->fields, m->cap * sizeof(*m->fields));
    }
    f = &m->fields[m->count++];
    *f = (struct field){.rule = rule_of(name, number)};
    memcpy(f->section, section, strlen(section) + 1);
    memcpy(f->name, name, strlen(name) + 1);
    return f;
}

static bool copy_name(char to[NAME_MAX_LEN], struct slice from)
{
    if (from.len == 0 || from.len >= NAME_MAX_LEN) {
        return false;
    }
    memcpy(to, from.ptr, from.len);
    to[from.len] = '\0';
    return true;
}

static char *copy_text(struct slice v)
{
    struct str s = {0};
    str_append_slice(&s, v);
    return str_steal(&s);
}

static void add_value(struct field *f, struct slice value)
{
    int64_t n = 0;
    double real = 0;
    bool number = num_parse_i64(value, &n);
    if (!number && !num_parse_double(value, &real)) {
        real = 0;
    }
    f->real += real;
    if (f->text == NULL) {
        f->text = copy_text(value);
        f->number = n;
        return;
    }
    switch (f->rule) {
    case RULE_SUM:
        f->number += n;
        break;
    case RULE_MAX:
        f->number = MAX(f->number, n);
        break;
    case RULE_WORST:
        if (strcmp(f->text, "ok") == 0) {
            mem_free(f->text);
            f->text = copy_text(value);
        }
        break;
    case RULE_FIRST:
        break;
    }
}

/* "keys=1,expires=0,avg_ttl=0"; unknown words are passed over. */
static void add_database(struct keyspace_sum *db, struct slice v)
{
    int64_t keys = 0, expires = 0, ttl = 0;
    while (v.len > 0) {
        const char *end = memchr(v.ptr, ',', v.len);
        size_t n = end == NULL ? v.len : (size_t)(end - v.ptr);
        const char *eq = memchr(v.ptr, '=', n);
        if (eq != NULL) {
            struct slice name = slice_of(v.ptr, (size_t)(eq - v.ptr));
            struct slice number = slice_of(eq + 1, n - name.len - 1);
            int64_t *to = slice_is(name, "keys")      ? &keys
                          : slice_is(name, "expires") ? &expires
                          : slice_is(name, "avg_ttl") ? &ttl
                                                      : NULL;
            if (to != NULL && !num_parse_i64(number, to)) {
                *to = 0;
            }
        }
        n = MIN(n + 1, v.len);
        v = slice_of(v.ptr + n, v.len - n);
    }
    db->keys += keys;
    db->expires += expires;
    db->ttl += (double)ttl * (double)expires;
}

static void add_line(struct info_merge *m, const char *section, struct slice line)
{
    char name[NAME_MAX_LEN];
    int64_t n;
    const char *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL || !copy_name(name, slice_of(line.ptr, (size_t)(colon - line.ptr)))) {
        return;
    }
    struct slice value = slice_of(colon + 1, line.len - (size_t)(colon + 1 - line.ptr));
    if (strcmp(section, "Keyspace") == 0) {
        if (strncmp(name, "db", 2) == 0 && num_parse_i64(slice_str(name + 2), &n) && n >= 0 &&
            n < DATABASES) {
            add_database(&m->dbs[n], value);
        }
        return;
    }
    struct field *f = find_or_add(m, section, name, num_parse_i64(value, &n));
    if (!f->fixed) {
        add_value(f, value);
    }
}

/* Whether it is the first of its host. */
static bool note_host(struct info_merge *m, const char *host)
{
    struct str line = {0};
    str_printf(&line, "\n%s\n", host);
    bool known = strstr(str_cstr(&m->hosts), str_cstr(&line)) != NULL;
    if (!known) {
        str_append_slice(&m->hosts, str_slice(&line));
    }
    str_fini(&line);
    return !known;
}

void info_merge_add(struct info_merge *m, struct slice text, const char *host)
{
    static const char machine[] = "total_system_memory:";
    bool first = note_host(m, host);
    char section[NAME_MAX_LEN] = "";
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t whole = end == NULL ? text.len : (size_t)(end - text.ptr) + 1;
        size_t n = end == NULL ? whole : whole - 1;
        struct slice line = slice_of(text.ptr, n > 0 && text.ptr[n - 1] == '\r' ? n - 1 : n);
        if (line.len > 2 && line.ptr[0] == '#') {
            if (!copy_name(section, slice_of(line.ptr + 2, line.len - 2))) {
                section[0] = '\0';
            }
        } else if (line.len > 0 &&
                   (first || strncmp(line.ptr, machine, MIN(line.len, sizeof(machine) - 1)) != 0)) {
            add_line(m, section, line);
        }
        text = slice_of(text.ptr + whole, text.len - whole);
    }
}

void info_merge_add_to(struct info_merge *m, const char *section, const char *name, int64_t n)
{
    struct field *f = find_or_add(m, section, name, true);
    if (f->text == NULL) {
        f->text = mem_strdup("");
    }
    f->number += n;
}

void info_merge_set(struct info_merge *m, const char *section, const char *name, const char *value)
{
    struct field *f = find_or_add(m, section, name, false);
    mem_free(f->text);
    f->text = mem_strdup(value);
    f->fixed = true;
}

int64_t info_merge_get(const struct info_merge *m, const char *name)
{
    const struct field *f = find(m, NULL, name);
    return f == NULL ? 0 : f->number;
}

double info_merge_real(const struct info_merge *m, const char *name)
{
    const struct field *f = find(m, NULL, name);
    return f == NULL ? 0 : f->real + (double)f->number;
}

/* How much one is more than the other, as a ratio and in bytes. */
static const struct {
    const char *ratio;
    const char *bytes;
    const char *what;
    const char *of;
} ratios[] = {
    {"allocator_frag_ratio", "allocator_frag_bytes", "allocator_active", "allocator_allocated"},
    {"allocator_rss_ratio", "allocator_rss_bytes", "allocator_resident", "allocator_active"},
    {"rss_overhead_ratio", "rss_overhead_bytes", "used_memory_rss", "allocator_resident"},
    {"mem_fragmentation_ratio", "mem_fragmentation_bytes", "used_memory_rss", "used_memory"},
};

static bool put_ratio(const struct info_merge *m, const struct field *f, struct str *to)
{
    for (size_t i = 0; i < ARRAY_LEN(ratios); i++) {
        int64_t what = info_merge_get(m, ratios[i].what);
        int64_t of = info_merge_get(m, ratios[i].of);
        if (strcmp(f->name, ratios[i].ratio) == 0) {
            str_printf(to, "%s:%.2f\r\n", f->name, of > 0 ? (double)what / (double)of : 0.0);
            return true;
        }
        if (strcmp(f->name, ratios[i].bytes) == 0) {
            info_int(to, f->name, what - of);
            return true;
        }
    }
    return false;
}

/* What is made of other fields instead of merged. */
static bool put_derived(const struct info_merge *m, const struct field *f, struct str *to)
{
    double used = (double)info_merge_get(m, "used_memory");
    if (ends_with(f->name, "_human")) {
        return true; /* comes with the field it is of */
    }
    if (strcmp(f->name, "used_memory_peak_perc") == 0) {
        double peak = (double)info_merge_get(m, "used_memory_peak");
        str_printf(to, "%s:%.2f%%\r\n", f->name, peak > 0 ? 100.0 * used / peak : 0.0);
        return true;
    }
    if (strcmp(f->name, "used_memory_dataset_perc") == 0) {
        double data = (double)info_merge_get(m, "used_memory_dataset");
        str_printf(to, "%s:%.2f%%\r\n", f->name, used > 0 ? 100.0 * data / used : 0.0);
        return true;
    }
    return put_ratio(m, f, to);
}

static bool has_human(const struct info_merge *m, const struct field *f)
{
    char name[NAME_MAX_LEN + 8];
    size_t n = strlen(f->name);
    memcpy(name, f->name, n);
    memcpy(name + n, "_human", sizeof("_human"));
    return find(m, f->section, name) != NULL;
}

void info_merge_section(const struct info_merge *m, const char *section, struct str *to)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct field *f = &m->fields[i];
        if (strcmp(f->section, section) != 0) {
            continue;
        }
        if (!f->fixed && put_derived(m, f, to)) {
            continue;
        }
        if (f->fixed || f->rule == RULE_FIRST || f->rule == RULE_WORST) {
            info_str(to, f->name, f->text);
        } else if (has_human(m, f)) {
            info_bytes(to, f->name, (size_t)MAX(f->number, 0));
        } else {
            info_int(to, f->name, f->number);
        }
    }
}

void info_merge_keyspace(const struct info_merge *m, struct str *to)
{
    for (int i = 0; i < DATABASES; i++) {
        const struct keyspace_sum *db = &m->dbs[i];
        if (db->keys > 0) {
            double ttl = db->expires > 0 ? db->ttl / (double)db->expires : 0;
            str_printf(to, "db%d:keys=%lld,expires=%lld,avg_ttl=%lld\r\n", i, (long long)db->keys,
                       (long long)db->expires, (long long)ttl);
        }
    }
}
