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

bool auth_read(const struct slice *argv, size_t argc, const char *requirepass, struct slice *user,
               struct slice *pass, struct resp_writer *w)
{
    if (argc > 3) {
        resp_error(w, ERR_SYNTAX);
        return false;
    }
    if (argc == 2 && requirepass[0] == '\0') {
        resp_error(w, "ERR AUTH <password> called without any password configured for the "
                      "default user. Are you sure your configuration is correct?");
        return false;
    }
    *user = argc == 3 ? argv[1] : SLICE("default");
    *pass = argv[argc - 1];
    return true;
}

static bool same_secret(struct slice a, struct slice b)
{
    unsigned char diff = a.len != b.len;
    for (size_t i = 0; i < a.len; i++) {
        diff |= (unsigned char)(a.ptr[i] ^ (b.len == 0 ? 1 : b.ptr[i % b.len]));
    }
    return diff == 0;
}

bool auth_check(struct slice user, struct slice pass, const char *requirepass,
                struct resp_writer *w)
{
    struct slice want = slice_str(requirepass);
    if (!slice_eq(user, SLICE("default")) || (want.len != 0 && !same_secret(pass, want))) {
        resp_error(w, ERR_WRONGPASS);
        return false;
    }
    return true;
}
