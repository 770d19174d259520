// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/plant.h"

#ifdef REPL_PLANTS
static enum repl_plant planted;

void repl_plant_set(enum repl_plant p)
{
    planted = p;
}

bool repl_planted(enum repl_plant p)
{
    return planted == p;
}
#endif

const char *repl_plant_name(enum repl_plant p)
{
    static const char *const names[] = {"NONE",
#define X(name, what) #name,
                                        REPL_PLANT_LIST(X)
#undef X
    };
    return names[p];
}

const char *repl_plant_what(enum repl_plant p)
{
    static const char *const whats[] = {"nothing",
#define X(name, what) what,
                                        REPL_PLANT_LIST(X)
#undef X
    };
    return whats[p];
}
