// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

static bool parse_unix(const char *path, struct addr *out)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
    if (strlen(path) >= sizeof(un->sun_path)) {
        return false;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, strlen(path) + 1);
    out->len = (socklen_t)sizeof(*un);
    return true;
}

bool addr_parse(const char *ip, int port, struct addr *out)
{
    memset(out, 0, sizeof(*out));
    if (port < 0 || port > 65535) {
        return false;
    }
    if (ip[0] == '/') {
        return parse_unix(ip, out);
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->sa;
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        out->len = (socklen_t)sizeof(*v4);
        return true;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->sa;
    if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        out->len = (socklen_t)sizeof(*v6);
        return true;
    }
    return false;
}

int addr_look_up(const char *host, struct addr *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    memset(out, 0, sizeof(*out));
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0) {
        return rc == EAI_SYSTEM ? errno : rc;
    }
    memcpy(&out->sa, found->ai_addr, found->ai_addrlen);
    out->len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

const char *addr_error(int why)
{
    return why < 0 ? gai_strerror(why) : strerror(why);
}

bool addr_resolve(const char *host, int port, struct addr *out, struct errmsg *err)
{
    if (addr_parse(host, port, out)) {
        return true;
    }
    if (port < 0 || port > 65535) {
        errmsg_set(err, "port %d is out of range", port);
        return false;
    }
    int why = addr_look_up(host, out);
    if (why != 0) {
        errmsg_set(err, "cannot resolve '%s': %s", host, addr_error(why));
        return false;
    }
    addr_set_port(out, port);
    return true;
}

bool addr_split(const char *text, char *host, size_t host_size, int *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] < '0' || colon[1] > '9') {
        return false;
    }
    char *end;
    long n = strtol(colon + 1, &end, 10);
    if (*end != '\0' || n > 65535) {
        return false;
    }
    const char *from = text;
    size_t len = (size_t)(colon - text);
    if (from[0] == '[') {
        if (len < 3 || from[len - 1] != ']') {
            return false;
        }
        from++;
        len -= 2;
    } else if (memchr(from, ':', len) != NULL) {
        return false; /* a bare IPv6 address: where would its port begin? */
    }
    if (len >= host_size) {
        return false;
    }
    memcpy(host, from, len);
    host[len] = '\0';
    *port = (int)n;
    return true;
}

void addr_print_host(const struct addr *a, char *to, size_t size)
{
    const void *sa = &a->sa;
    const char *done = NULL;
    if (size == 0) {
        return;
    }
    if (a->sa.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = sa;
        done = inet_ntop(AF_INET, &v4->sin_addr, to, (socklen_t)size);
    } else if (a->sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = sa;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            done = inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, to, (socklen_t)size);
        } else {
            done = inet_ntop(AF_INET6, &v6->sin6_addr, to, (socklen_t)size);
        }
    } else if (a->sa.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = sa;
        /* The connecting end of a Unix socket has no name. */
        bool named = a->len > offsetof(struct sockaddr_un, sun_path) && un->sun_path[0] != '\0';
        (void)snprintf(to, size, "%.*s", (int)sizeof(un->sun_path), named ? un->sun_path : "/unix");
        done = to;
    }
    if (done == NULL) {
        (void)snprintf(to, size, "?");
    }
}

void addr_print(const struct addr *a, char *to, size_t size)
{
    char host[ADDR_TEXT];
    addr_print_host(a, host, sizeof(host));
    bool brackets = a->sa.ss_family == AF_INET6 && strchr(host, ':') != NULL;
    (void)snprintf(to, size, brackets ? "[%s]:%d" : "%s:%d", host, addr_port(a));
}

int addr_port(const struct addr *a)
{
    const void *sa = &a->sa;
    if (a->sa.ss_family == AF_INET) {
        return ntohs(((const struct sockaddr_in *)sa)->sin_port);
    }
    if (a->sa.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
    }
    return 0;
}

void addr_set_port(struct addr *a, int port)
{
    void *sa = &a->sa;
    if (a->sa.ss_family == AF_INET) {
        ((struct sockaddr_in *)sa)->sin_port = htons((uint16_t)port);
    } else if (a->sa.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)sa)->sin6_port = htons((uint16_t)port);
    }
}

static bool is_loopback(const struct sockaddr_storage *sa)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
    if (sa->ss_family == AF_INET) {
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (sa->ss_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) &&
                v6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
    }
    return sa->ss_family == AF_UNIX;
}

bool addr_peer_is_local(int fd)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);
    return getpeername(fd, (struct sockaddr *)&sa, &len) == 0 && is_loopback(&sa);
}
