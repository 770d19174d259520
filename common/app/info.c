// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/info.h"

static bool is_wanted(const struct info_section *s, const struct slice *names, size_t count)
{
    if (count == 0) {
        return s->class == INFO_DEFAULT;
    }
    for (size_t i = 0; i < count; i++) {
        if (slice_is(names[i], s->name) ||
            (slice_is(names[i], "default") && s->class == INFO_DEFAULT) ||
            (slice_is(names[i], "all") && s->class <= INFO_ALL) ||
            (slice_is(names[i], "everything") && s->class <= INFO_EVERYTHING)) {
            return true;
        }
    }
    return false;
}

void info_text(const struct info_section *sections, size_t count, const struct slice *names,
               size_t name_count, void *arg, struct str *to)
{
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        if (!is_wanted(&sections[i], names, name_count)) {
            continue;
        }
        str_printf(to, "%s# %s\r\n", first ? "" : "\r\n", sections[i].heading);
        sections[i].fn(arg, to);
        first = false;
    }
}

void info_reply(const struct info_section *sections, size_t count, const struct slice *names,
                size_t name_count, void *arg, struct resp_writer *w)
{
    struct str text = {0};
    info_text(sections, count, names, name_count, arg, &text);
    resp_verbatim(w, "txt", str_slice(&text));
    str_fini(&text);
}

void info_int(struct str *to, const char *name, int64_t v)
{
    str_appendz(to, name);
    str_append_char(to, ':');
    str_append_int(to, v);
    str_appendz(to, "\r\n");
}

void info_str(struct str *to, const char *name, const char *v)
{
    str_appendz(to, name);
    str_append_char(to, ':');
    str_appendz(to, v);
    str_appendz(to, "\r\n");
}

void info_double(struct str *to, const char *name, double v)
{
    str_printf(to, "%s:%.2f\r\n", name, v);
}

void info_bytes(struct str *to, const char *name, size_t bytes)
{
    static const char units[] = "KMGTPE";
    double v = (double)bytes;
    size_t unit = 0;
    info_int(to, name, (int64_t)bytes);
    if (bytes < 1024) {
        str_printf(to, "%s_human:%zuB\r\n", name, bytes);
        return;
    }
    v /= 1024;
    while (v >= 1024 && unit < sizeof(units) - 2) {
        v /= 1024;
        unit++;
    }
    str_printf(to, "%s_human:%.2f%c\r\n", name, v, units[unit]);
}
