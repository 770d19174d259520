// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/plant.h"

#include "node/repl/plant.h"
#include "proxy/coordinator/plant.h"

#include <string.h>

#ifdef REPL_PLANTS
enum sim_plant sim_plant;
enum coord_plant coord_plant;
#endif

enum home { HOME_REPL, HOME_COORDINATOR, HOME_SIM };

struct row {
    const char *name;
    const char *what;
    enum home home;
    int place;
};

static const struct row rows[] = {
#define X(name, what) {#name, what, HOME_REPL, PLANT_##name},
    REPL_PLANT_LIST(X)
#undef X
#define X(name, what) {#name, what, HOME_COORDINATOR, COORD_PLANT_##name},
        COORD_PLANT_LIST(X)
#undef X
#define X(name, what) {#name, what, HOME_SIM, SIM_PLANT_##name},
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
            repl_plant_set(rows[i].home == HOME_REPL ? (enum repl_plant)rows[i].place : PLANT_NONE);
            coord_plant = rows[i].home == HOME_COORDINATOR ? (enum coord_plant)rows[i].place
                                                           : COORD_PLANT_NONE;
            sim_plant = rows[i].home == HOME_SIM ? (enum sim_plant)rows[i].place : SIM_PLANT_NONE;
            return true;
        }
    }
#endif
    (void)name;
    return false;
}
