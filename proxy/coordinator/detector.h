// SPDX-License-Identifier: BSD-3-Clause
/* Decides from heartbeats alone whether a node is healthy, unhealthy or dead.
 *
 * A pure algorithm: it owns no timer, reads no clock and sends nothing. Exactly at the end of the
 * third interval without a heartbeat a node is unhealthy, at the end of the sixth it is dead: 15 s
 * and 30 s with the default interval of 5 s. */
#pragma once

#include "common/model/map.h"

struct detector_settings {
    int64_t interval_ms; /* > 0 */
    int unhealthy_missed;
    int dead_missed; /* >= unhealthy_missed */
};

struct detector {
    int64_t heard_ms;
};

/* A heartbeat arrived, or the count starts. Also what brings a dead node back. */
void detector_heard(struct detector *d, int64_t now_ms);
/* We ourselves did not run for that long: silence in that time proves nothing. */
void detector_excuse(struct detector *d, int64_t gap_ms);
int64_t detector_silence_ms(const struct detector *d, int64_t now_ms);
int detector_missed(const struct detector *d, const struct detector_settings *s, int64_t now_ms);
/* HEALTHY, UNHEALTHY or DEAD. */
enum node_state detector_state(const struct detector *d, const struct detector_settings *s,
                               int64_t now_ms);
