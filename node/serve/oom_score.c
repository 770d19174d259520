// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/oom_score.h"

#include "node/serve/settings.h"

#include <errno.h>
#include <stdio.h>

#define PATH "/proc/self/oom_score_adj"

static bool read_score(int *score)
{
    FILE *f = fopen(PATH, "re");
    bool ok = f != NULL && fscanf(f, "%d", score) == 1;
    if (f != NULL) {
        (void)fclose(f);
    }
    return ok;
}

static bool write_score(int score, struct errmsg *err)
{
    FILE *f = fopen(PATH, "we");
    bool ok = f != NULL && fprintf(f, "%d\n", score) > 0;
    if (f != NULL) {
        ok = fclose(f) == 0 && ok; /* the kernel answers when it is written */
    }
    if (!ok) {
        errmsg_set(err, "Failed to set oom_score_adj to %d: %s", score, strerror(errno));
    }
    return ok;
}

bool oom_score_apply(struct oom_score *o, const struct settings *s, struct errmsg *err)
{
    if (s->oom_score_adj == OOM_SCORE_NO) {
        bool was = o->on;
        o->on = false;
        return !was || write_score(o->base, err);
    }
    struct oom_score next = *o;
    if (!o->on && !read_score(&next.base)) {
        errmsg_set(err, "Failed to read " PATH ": %s", strerror(errno));
        return false;
    }
    next.on = true;
    int value = s->oom_score_adj_values.of[0];
    int score = s->oom_score_adj == OOM_SCORE_ABSOLUTE ? value : next.base + value;
    if (!write_score(MIN(MAX(score, -1000), 1000), err)) {
        return false;
    }
    *o = next;
    return true;
}
