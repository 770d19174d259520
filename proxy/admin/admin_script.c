// SPDX-License-Identifier: BSD-3-Clause
/* SCRIPT LOAD, FLUSH and EXISTS: at all nodes, and in what every worker remembers, by which EVALSHA
 * works on nodes that lack a script (exec/script.h). */
#include "proxy/admin/admin_priv.h"

#include "common/base/mem.h"
#include "common/resp/value.h"

/* --- LOAD and FLUSH: the workers, then the nodes --- */

static void visit(struct worker *w, void *arg, struct str *answer)
{
    const struct later *l = arg;
    (void)answer;
    if (l->command->id == CMD_SCRIPT_FLUSH) {
        exec_scripts_forget(w->exec);
    } else {
        exec_script_note(w->exec, l->argv[2]);
    }
}

static void visited(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct later *l = arg;
    (void)asker;
    (void)answers;
    (void)n;
    if (later_gone(l)) {
        later_finish(&l);
        return;
    }
    struct local_call c = later_call(l);
    exec_set_now(l->exec, loop_now_us(l->worker->loop));
    (void)local_fan(&c, l->argv, l->argc, NULL, NULL);
    later_drop(&l);
}

static enum local_result on_all(struct local_call *c)
{
    workers_ask(worker_of(c), visit, later_new(c), visited);
    return LOCAL_LATER;
}

/* --- EXISTS: whether EVALSHA would find it --- */

struct asked {
    size_t n;
    bool there[];
};

static void merge_exists(struct local_call *c, const struct fan_answer *answers, size_t n,
                         void *arg)
{
    struct asked *a = arg;
    bool *all = mem_alloc(a->n + 1);
    memset(all, n > 0, a->n);
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        for (size_t j = 0; j < a->n; j++) {
            all[j] = all[j] && v != NULL && v->type == RESP_ARRAY && j < v->count &&
                     v->items[j].type == RESP_INT && v->items[j].number == 1;
        }
        resp_value_free(&v);
    }
    resp_array(c->w, a->n);
    for (size_t j = 0; j < a->n; j++) {
        resp_int(c->w, a->there[j] || all[j]);
    }
    mem_free(all);
    mem_free(a);
}

static enum local_result do_exists(struct local_call *c)
{
    size_t n = c->argc - 2;
    struct asked *a = mem_zalloc(sizeof(*a) + n);
    a->n = n;
    for (size_t i = 0; i < n; i++) {
        a->there[i] = exec_script_known(c->exec, c->argv[i + 2]);
    }
    return local_fan(c, c->argv, c->argc, merge_exists, a);
}

void admin_script(struct local_table *t)
{
    local_table_set(t, CMD_SCRIPT_LOAD, on_all, LOCAL_ORDERED);
    local_table_set(t, CMD_SCRIPT_FLUSH, on_all, LOCAL_ORDERED);
    local_table_set(t, CMD_SCRIPT_EXISTS, do_exists, LOCAL_ORDERED);
}
