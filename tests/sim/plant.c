// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/plant.h"

#include "node/repl/plant.h"

#include <string.h>

#ifdef REPL_PLANTS
enum sim_plant sim_plant;
#endif

struct row {
    const char *name;
    const char *what;
    int place;
};

static const struct row rows[] = {
#define X(name, what) {#name, what, PLANT_##name},
    REPL_PLANT_LIST(X)
#undef X
#define X(name, what) {#name, what, SIM_PLANT_##name},
        SIM_PLANT_LIST(X)
#undef X
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

const char *plant_name(size_t i)
{
    return i < N_ROWS ? rows[i].name : NULL;
}

const char *plant_what(size_t i)
{
    return i < N_ROWS ? rows[i].what : NULL;
}

bool plant_set(const char *name)
{
#ifdef REPL_PLANTS
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            if (i < (size_t)PLANTS - 1) {
                repl_plant_set((enum repl_plant)rows[i].place);
            } else {
                sim_plant = (enum sim_plant)rows[i].place;
            }
            return true;
        }
    }
#endif
    (void)name;
    return false;
}
