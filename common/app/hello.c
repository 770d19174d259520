// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/hello.h"

#include "common/app/version.h"
#include "common/base/num.h"
#include "common/resp/errors.h"

static bool read_options(const struct slice *argv, size_t argc, struct hello *h,
                         struct resp_writer *w)
{
    for (size_t i = 2; i < argc; i++) {
        size_t left = argc - 1 - i;
        if (slice_is(argv[i], "auth") && left >= 2) {
            h->auth = true;
            h->user = argv[i + 1];
            h->pass = argv[i + 2];
            i += 2;
        } else if (slice_is(argv[i], "setname") && left >= 1) {
            h->named = true;
            h->name = argv[i + 1];
            i++;
        } else {
            resp_errorf(w, "ERR Syntax error in HELLO option '%.*s'", ARG_PRINT(argv[i]));
            return false;
        }
    }
    return true;
}

bool hello_read(const struct slice *argv, size_t argc, struct hello *h, struct resp_writer *w)
{
    int64_t proto = 0;
    *h = (struct hello){0};
    if (argc >= 2 && !num_parse_i64(argv[1], &proto)) {
        resp_error(w, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (argc >= 2 && (proto < 2 || proto > 3)) {
        resp_error(w, ERR_NOPROTO);
        return false;
    }
    h->proto = (int)proto;
    return read_options(argv, argc, h, w);
}

void hello_reply(uint64_t id, const char *mode, struct resp_writer *w)
{
    resp_map(w, 7);
    resp_bulkz(w, "server");
    resp_bulkz(w, "redis");
    resp_bulkz(w, "version");
    resp_bulkz(w, SHOAL_REDIS_VERSION);
    resp_bulkz(w, "proto");
    resp_int(w, w->proto);
    resp_bulkz(w, "id");
    resp_int(w, (int64_t)id);
    resp_bulkz(w, "mode");
    resp_bulkz(w, mode);
    resp_bulkz(w, "role");
    resp_bulkz(w, "master");
    resp_bulkz(w, "modules");
    resp_array(w, 0);
}
