// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/notify.h"

/* In the order in which they are shown. */
static const struct {
    char letter;
    uint32_t class;
} letters[] = {{'g', NOTIFY_GENERIC},  {'$', NOTIFY_STRING},  {'l', NOTIFY_LIST},
               {'s', NOTIFY_SET},      {'h', NOTIFY_HASH},    {'z', NOTIFY_ZSET},
               {'x', NOTIFY_EXPIRED},  {'e', NOTIFY_EVICTED}, {'t', NOTIFY_STREAM},
               {'d', NOTIFY_MODULE},   {'n', NOTIFY_NEW},     {'K', NOTIFY_KEYSPACE},
               {'E', NOTIFY_KEYEVENT}, {'m', NOTIFY_KEY_MISS}};

bool notify_read(struct slice text, uint32_t *classes)
{
    uint32_t all = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint32_t one = text.ptr[i] == 'A' ? NOTIFY_ALL : 0;
        for (size_t j = 0; j < ARRAY_LEN(letters); j++) {
            one |= letters[j].letter == text.ptr[i] ? letters[j].class : 0;
        }
        if (one == 0) {
            return false;
        }
        all |= one;
    }
    *classes = all;
    return true;
}

void notify_write(uint32_t classes, struct str *to)
{
    const uint32_t beside = NOTIFY_KEYSPACE | NOTIFY_KEYEVENT | NOTIFY_KEY_MISS;
    bool all = (classes & NOTIFY_ALL) == NOTIFY_ALL;
    if (all) {
        str_append_char(to, 'A');
    }
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        bool shown = !all || (letters[i].class & beside) != 0;
        if (shown && (classes & letters[i].class) != 0) {
            str_append_char(to, letters[i].letter);
        }
    }
}
