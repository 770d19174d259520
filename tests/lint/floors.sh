#!/usr/bin/env bash
# Includes run downhill: a folder may include itself and what stands before it in FLOORS_<tower>;
# proxy and node stand on common and not on each other; a pure folder includes pure folders only
# and no sockets, clocks or threads; a foreign header has one home. Only a main.c sees everything.
# FLOORS_common, FLOORS_proxy, FLOORS_node and PURE come from the Makefile (see run).
set -u
cd "$(dirname "$0")/../.."

grep -HnE '^[[:space:]]*#[[:space:]]*include' $(git ls-files -co --exclude-standard 'common/*.[ch]' 'proxy/*.[ch]' 'node/*.[ch]' \
    'common/*.def' 'proxy/*.def' 'node/*.def') /dev/null |
    awk -F: -v common="$FLOORS_common" -v proxy="$FLOORS_proxy" -v node="$FLOORS_node" -v pure="$PURE" '
    BEGIN {
        floors["common"] = common; floors["proxy"] = proxy; floors["node"] = node
        for (tower in floors) {
            n = split(floors[tower], f, " ")
            for (i = 1; i <= n; i++) level[tower "/" f[i]] = i
        }
        n = split(pure, p, " ")
        for (i = 1; i <= n; i++) is_pure[p[i]] = 1
        home["ev.h"] = "common/io"; home["sqlite3.h"] = "proxy/control"
        world = "^(sys/(socket|epoll|time|timerfd|un|poll|wait)\\.h|netinet/.*|arpa/inet\\.h|netdb\\.h|pthread\\.h|threads\\.h|poll\\.h|signal\\.h|time\\.h)$"
    }
    function complain(why) { print $1 ":" $2 ": " why; bad = 1 }
    {
        n = split($1, part, "/")
        tower = part[1]
        top = n == 2            # main.c and options.def
        dir = top ? tower : part[1] "/" part[2]
        if (match($0, /"[^"]+"/)) {
            target = substr($0, RSTART + 1, RLENGTH - 2)
            m = split(target, to, "/")
            if (m < 2) { complain("include \"" target "\": say the path from the root"); next }
            to_dir = to[1] "/" to[2]
            if (m == 2) to_dir = to[1]
            if (to[1] != tower && to[1] != "common") complain(dir " includes " target ": another tower")
            if (top || m == 2) next
            if (!(dir in level)) { complain(dir " stands on no floor of the Makefile"); next }
            if (to[1] == tower && !(to_dir in level)) complain(target " stands on no floor")
            if (to[1] == tower && level[to_dir] > level[dir]) complain(dir " includes " target ", which stands above it")
            if (dir in is_pure && !(to_dir in is_pure)) complain(dir " is pure and includes " target)
        } else if (match($0, /<[^>]+>/)) {
            target = substr($0, RSTART + 1, RLENGTH - 2)
            where = home[target]
            if (target ~ /^(hiredis|openssl)\//) where = "common/io"
            if (where != "" && dir != where) complain("<" target "> has its home in " where)
            if (dir in is_pure && target ~ world) complain(dir " is pure and includes <" target ">")
        }
    }
    END { exit bad }'
