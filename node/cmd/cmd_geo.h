// SPDX-License-Identifier: BSD-3-Clause
/* What cmd_geo.c and cmd_geosearch.c share. A function that returns false has written the error. */
#pragma once

#include "node/cmd/call.h"
#include "node/types/geohash.h"

/* Arguments i and i + 1: longitude and latitude. */
bool arg_point(struct call *c, size_t i, struct geo_point *out) MUSTCHECK;
/* A unit of length. */
bool arg_unit(struct call *c, size_t i, double *metres) MUSTCHECK;
void reply_point(struct call *c, struct geo_point p);
void reply_distance(struct call *c, double v);
