// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/exec/encode.h"

#include "common/base/num.h"

size_t encoded_digits(size_t v)
{
    size_t n = 1;
    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

size_t encoded_bulk(size_t len)
{
    return 1 + encoded_digits(len) + 2 + len + 2;
}

size_t encoded_max(const struct slice *argv, size_t argc)
{
    size_t sum = 32;
    for (size_t i = 0; i < argc; i++) {
        sum += argv[i].len + 32;
    }
    return sum;
}

size_t encode_header(char *to, char type, size_t n)
{
    to[0] = type;
    size_t len = 1 + num_print_u64(to + 1, n);
    to[len] = '\r';
    to[len + 1] = '\n';
    return len + 2;
}

size_t encode_bulk(char *to, struct slice v)
{
    size_t len = encode_header(to, '$', v.len);
    if (v.len > 0) {
        memcpy(to + len, v.ptr, v.len);
    }
    len += v.len;
    to[len] = '\r';
    to[len + 1] = '\n';
    return len + 2;
}

size_t encode_args(char *to, const struct slice *argv, size_t argc)
{
    size_t len = encode_header(to, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        len += encode_bulk(to + len, argv[i]);
    }
    return len;
}
