"""Clients that mean harm, or are broken: none may crash it, fill its memory or hold up others."""
import itertools
import os
import random
import resource
import select
import socket
import struct
import time

import pytest
from support.wait import PATIENCE, wait_until
from support.wire import Closed, Wire, encode

MB = 1024 * 1024


def memory(server):
    """Resident bytes of the server and of its local nodes."""
    pages = 0
    for pid in [server.pid, *server.children()]:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            pages += int(statm.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def still_serves(server):
    """A well-behaved client is answered, and soon."""
    with server.wire(limit=5) as wire:
        assert wire.command("SET", "well", "behaved") == b"OK"
        assert wire.command("GET", "well") == b"behaved"


def test_what_follows_a_client_s_end_is_not_kept(proxy):
    with proxy.wire(limit=20) as wire:
        wire.send(encode("WAIT", 9, 0))
        wire.send(b"*nonsense\r\n")  # its error waits behind the other reply
        before = memory(proxy)
        for _ in range(64):
            wire.send(b"x" * MB)
        assert memory(proxy) - before < 16 * MB
    still_serves(proxy)


def make_noise(rng):
    """Bytes that look like a protocol here and there, which reaches deeper than pure noise."""
    pieces = [b"*3\r\n", b"$3\r\nSET\r\n", b"$-1\r\n", b"*-1\r\n", b"$999999999\r\n", b"\r\n", b"*1\r\n$4\r\nPING\r\n"]
    pieces += [b'GET "', b"\x00", b"*1000000\r\n", b"$5\r\nhello\r\n", b":1\r\n", b"+OK\r\n", b"HELLO 3\r\n"]
    out = []
    for _ in range(rng.randrange(1, 30)):
        out.append(rng.choice(pieces) if rng.random() < 0.5 else rng.randbytes(rng.randrange(1, 200)))
    return b"".join(out)


def test_random_bytes(empty):
    """As many streams as go in, for so long; NOISE_SECONDS=60 makes it a minute."""
    server = empty
    seed = int(os.environ.get("NOISE_SEED", "1"))
    rng = random.Random(seed)
    before = memory(server)
    end = time.monotonic() + float(os.environ.get("NOISE_SECONDS", "2"))
    open_ones = []
    for number in itertools.count():
        if time.monotonic() > end:
            break
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=5 * PATIENCE)
        sock.setblocking(False)
        try:
            sock.send(rng.randbytes(rng.randrange(1, 5000)) if number % 2 else make_noise(rng))
        except BlockingIOError:
            pass
        if rng.random() < 0.2:  # leave with a reset
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if rng.random() < 0.7:
            sock.close()
        else:
            open_ones.append(sock)
        if len(open_ones) > 100:
            open_ones.pop(0).close()
        if number % 50 == 0:
            still_serves(server)
    for sock in open_ones:
        sock.close()
    still_serves(server)
    print(f"{number} streams")
    # Noise may have stored something small; what it announced was never allocated.
    assert memory(server) < before + 200 * MB * (3 if "san" in os.environ.get("SHOAL_BIN", "") else 1)


def test_http_is_not_spoken_to(server):
    """What a web page makes a browser say to this machine is not run."""
    for first in (b"POST / HTTP/1.1\r\n", b""):
        with server.wire() as one:
            one.send(first + b"Host: localhost\r\n\r\nSET stolen 1\r\n")
            assert one.rest() == b""
    assert server.r.exists("stolen") == 0


def test_announced_sizes_are_not_believed(empty):
    """A thousand clients announce 500 MB each and send ten bytes."""
    server = empty
    before = memory(server)
    sockets = []
    try:
        for _ in range(500):
            wire = server.wire()
            wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n0123456789")
            sockets.append(wire)
        for _ in range(500):
            wire = server.wire()
            wire.send(b"*1000000\r\n$4\r\nMGET\r\n$1\r\na\r\n")
            sockets.append(wire)
        still_serves(server)
        assert memory(server) < before + 400 * MB
    finally:
        for wire in sockets:
            wire.close()


def test_slow_loris(empty):
    """Many clients that send a byte now and then."""
    server = empty
    request = encode("SET", "slow", "loris")
    wires = [server.wire() for _ in range(300)]
    for at in range(len(request)):
        for wire in wires:
            wire.send(request[at : at + 1])
        if at % 10 == 0:
            still_serves(server)
    for wire in wires:
        assert wire.reply() == b"OK"
        wire.close()


def test_a_client_that_falls_silent_inside_a_message(empty):
    """Its buffers are looked at once it was idle for some seconds; the message goes on after that."""
    server = empty
    request = encode("SET", "silent", "client")
    with server.client() as other:
        wire = server.wire()
        wire.send(encode("CLIENT", "ID"))
        ident = wire.reply()
        wire.send(request[:-9])
        wait_until(lambda: int(other.client_list(client_id=[str(ident)])[0]["idle"]) >= 4)
        wire.send(request[-9:])
        assert wire.reply() == b"OK"
        wire.close()
    still_serves(server)


def test_half_open_connections(empty):
    """Clients that shut down their sending side, or vanish without a word, at any point."""
    server = empty
    for number in range(200):
        wire = server.wire()
        wire.send(encode("GET", "x")[: number % 20])
        wire.socket.shutdown(socket.SHUT_WR)
        if number % 2:
            wire.close()
        else:
            assert wire.is_closed() or number % 20 >= 20
            wire.close()
    still_serves(server)
    with server.wire() as wire:
        wait_until(lambda: wire.command("CLIENT", "LIST").count(b"\n") < 10, what="them to be gone")


def test_timeout_closes_idle_clients(empty):
    server = empty
    server.r.config_set("timeout", 1)
    try:
        with server.wire(limit=20) as wire:
            assert wire.command("PING") == b"PONG"
            assert wire.is_closed()
    finally:
        server.client().config_set("timeout", 0)


def test_many_idle_connections(empty):
    server = empty
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10000
    if hard != resource.RLIM_INFINITY and hard < wanted + 500:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 500), hard))
    limit = int(server.r.config_get("maxclients")["maxclients"])
    wanted = min(wanted, limit - 50)
    assert wanted > 9000
    before = memory(server)
    idle = []
    try:
        for _ in range(wanted):
            idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=10 * PATIENCE))
        still_serves(server)
        with server.wire() as wire:
            # Some of them still work.
            for sock in idle[:: len(idle) // 20]:
                sock.sendall(b"PING\r\n")
                assert sock.recv(100) == b"+PONG\r\n"
            assert wire.command("PING") == b"PONG"
        each = (memory(server) - before) / wanted
        assert each < 40 * 1024, f"{each:.0f} bytes for an idle connection"
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: int(server.info("clients")["connected_clients"]) < 50, limit=30, what="them to go")


def test_full_means_a_polite_refusal(empty):
    server = empty
    before = server.r.config_get("maxclients")["maxclients"]
    admin = server.client()
    admin.ping()
    admin.config_set("maxclients", 30)
    try:
        wires = []
        refused = 0
        for _ in range(60):
            wire = server.wire()
            wires.append(wire)
            try:
                reply = wire.command("PING")
                refused += reply == "ERR max number of clients reached"
            except (Closed, ConnectionError):
                refused += 1
        assert refused >= 30
        for wire in wires:
            wire.close()
        wait_until(lambda: server.client().ping(), what="room for a client")
    finally:
        admin.config_set("maxclients", before)


def test_a_client_that_never_reads_costs_bounded_memory(empty):
    server = empty
    server.r.set("big", "x" * MB)
    before = memory(server)
    greedy = []
    try:
        for _ in range(10):
            wire = server.wire()
            wire.socket.setblocking(False)
            greedy.append(wire)
        # They ask for 2 GB in all; what one connection may have waiting is far less.
        request = encode("GET", "big") * 20
        for wire in greedy * 10:
            _, writable, _ = select.select([], [wire.socket], [], 0.1)
            if writable:
                try:
                    wire.socket.send(request)
                except (BlockingIOError, ConnectionError):
                    pass
        still_serves(server)
        # ThreadSanitizer keeps books of its own about each byte: some five more.
        assert memory(server) < before + (600 if PATIENCE <= 1 else 3600) * MB
    finally:
        for wire in greedy:
            wire.close()
    still_serves(server)


def test_a_million_arguments(empty):
    server = empty
    count = 1_000_000
    with server.wire(limit=120) as wire:
        wire.send(b"*%d\r\n$4\r\nMGET\r\n" % count)
        wire.send(b"$1\r\na\r\n" * (count - 1))
        wire.send(encode("PING"))
        assert wire.line() == b"*%d" % (count - 1)
        assert wire.exactly(5 * (count - 1)) == b"$-1\r\n" * (count - 1)
        assert wire.reply() == b"PONG"
    still_serves(server)


def test_a_million_keys_in_one_mset(empty):
    server = empty
    count = 300_000
    with server.wire(limit=120) as wire:
        wire.send(b"*%d\r\n$4\r\nMSET\r\n" % (2 * count + 1))
        wire.send(b"".join(b"$9\r\nk%08d\r\n$1\r\nv\r\n" % i for i in range(count)))
        assert wire.reply() == b"OK"
    assert server.r.dbsize() == count
    still_serves(server)


@pytest.mark.parametrize("megabytes", [1, 64, 512])
def test_a_big_value(empty, megabytes):
    """In and out again, while another client is served."""
    server = empty
    size = megabytes * MB
    block = os.urandom(64 * 1024)
    with server.wire(limit=240) as wire, server.wire(limit=60) as other:
        wire.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n" % size)
        for sent in range(0, size, len(block)):
            wire.send(block)
            if sent % (32 * MB) == 0:
                assert other.command("SET", "small", sent) == b"OK"
        wire.send(b"\r\n")
        assert wire.reply() == b"OK"
        assert wire.command("STRLEN", "big") == size
        assert wire.command("GETRANGE", "big", size - 10, -1) == block[-10:]
        wire.send(encode("GET", "big"))
        assert wire.line() == b"$%d" % size
        left = size
        while left:
            data = wire.exactly(min(left, len(block)))
            assert data == block
            left -= len(data)
        assert wire.exactly(2) == b"\r\n"
        assert wire.command("DEL", "big") == 1
    still_serves(server)


def test_a_value_over_the_limit_is_refused(empty):
    with empty.wire() as wire:
        wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (512 * MB + 1))
        assert "invalid bulk length" in wire.reply()
        assert wire.is_closed()


def test_no_connection_leaks(empty):
    """Two thousand connections come and go in every way; their memory and descriptors come back."""
    server = empty

    def descriptors():
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    still_serves(server)
    before = descriptors()
    for number in range(2000):
        wire = Wire(server.port)
        if number % 3 == 0:
            wire.command("PING")
        elif number % 3 == 1:
            wire.send(encode("GET", "x") * 10)
        wire.close()
    wait_until(lambda: descriptors() <= before + 10, limit=20, what="the descriptors to be closed")
