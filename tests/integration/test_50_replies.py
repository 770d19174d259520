"""Every reply is checked: it belongs to this client and this request, in order, once. With clients
that vanish, nodes that fall silent or die, and ends at any moment."""
import random
import socket
import struct
import threading

import pytest
from support.cluster import Cluster, View, slot_of
from support.programs import Proxy
from support.talkers import FAULTS, Rules, Talker, Vanisher, talk
from support.wait import PATIENCE, wait_until
from support.wire import Closed, Error, encode

SEED = 7
DEPTHS = [1, 10, 200, 3000]


def slots_of_node(cluster, name):
    """Whether a key's slot is the node's, as a function."""
    mine = cluster.row(name)["id"]
    ranges = [
        tuple(int(end) for end in shard["slots"].split("-"))
        for shard in cluster.view.shards()
        if shard["primary"] == mine
    ]
    return lambda key: any(first <= slot_of(key) <= last for first, last in ranges)


def close(talkers):
    for talker in talkers:
        talker.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_each_its_own_among_vanishing_clients(workers):
    # Nothing breaks here: no request may be given up, no lease may end and no node count as dead,
    # however slow all of it is. The test's own limit, in talk(), is the only one.
    limits = {name: f"{min(int(600 * PATIENCE), 3600)}s" for name in ("request_timeout", "failover_hold")}
    limits["lease"] = f"{int(60 * PATIENCE)}s"
    limits["heartbeat_interval"] = f"{int(5 * PATIENCE)}s"
    proxy = Proxy(local_nodes=3, workers=workers, **limits).ready()
    wait_until(View(proxy).served, 20, "every shard to have a primary")
    talkers = [Talker(i, proxy.port, 1500, SEED, depth=DEPTHS[i % 4]) for i in range(16)]
    talk(talkers, 120, [Vanisher(i, proxy.port, SEED) for i in range(4)])
    assert sum(one.answered for one in talkers) >= 16 * 1500
    close(talkers)
    wait_until(lambda: proxy.r.info("clients")["connected_clients"] <= 2, what="the vanished to be gone")


@pytest.fixture
def three():
    """Three nodes; short limits, so that a fault shows soon."""
    limit_ms = int(1500 * PATIENCE)
    cluster = Cluster(
        request_timeout=f"{limit_ms}ms", failover_hold=f"{limit_ms // 2}ms", replication_factor=1, min_nodes=3,
        lease="100ms",
    )
    for name in "abc":
        cluster.start_node(name)
    cluster.wait_served()
    return cluster


def faulty_and_calm(cluster, victim, total, loses):
    """Talkers whose keys are anywhere, and those with none on the victim: these see no fault."""
    port = cluster.proxy.port
    hit = slots_of_node(cluster, victim)
    rules = Rules(FAULTS, loses)
    faulty = [Talker(i, port, total, SEED, depth=DEPTHS[i % 4], rules=rules) for i in range(8)]
    calm = [
        Talker(100 + i, port, total, SEED, depth=DEPTHS[i % 4], key_filter=lambda key: not hit(key))
        for i in range(6)
    ]
    return faulty, calm


class Fault:
    """Breaks the node when enough was answered, mends it when its clients noticed."""

    def __init__(self, talkers, breaks, mends, after):
        self.talkers = talkers
        self.breaks = breaks
        self.mends = mends
        self.after = after
        self.state = "before"
        self.errors = 0

    def __call__(self, answered):
        errors = sum(sum(one.errors.values()) for one in self.talkers)
        if self.state == "before" and answered >= self.after:
            self.breaks()
            self.state = "broken"
        elif self.state == "broken" and errors >= 20:
            self.mends()
            self.state = "mended"
        for one in self.talkers:  # they talk on until all is well again
            if self.state != "mended" and one.left < 300:
                one.left = 300


def test_a_silent_node(three):
    """SIGSTOP, then SIGCONT: no reply is lost, doubled or another's; no value changes."""
    faulty, calm = faulty_and_calm(three, "b", 1500, loses=False)
    fault = Fault(faulty, three.nodes["b"].pause, three.nodes["b"].resume, 3000)
    talk(faulty + calm, 120, [Vanisher(i, three.proxy.port, SEED) for i in range(2)], fault)
    assert fault.state == "mended"
    close(faulty + calm)


def test_a_killed_node(three):
    faulty, calm = faulty_and_calm(three, "c", 1500, loses=True)
    fault = Fault(faulty, three.nodes["c"].kill, lambda: three.start_node("c"), 3000)
    talk(faulty + calm, 120, [Vanisher(i, three.proxy.port, SEED) for i in range(2)], fault)
    assert fault.state == "mended"
    close(faulty + calm)
    three.wait_served()


def test_held_requests_of_vanished_clients(three):
    """Clients that go while their requests wait for a dead node leave nothing behind."""
    victim = three.nodes["a"]
    key, other = three.keys_of("a", 2)
    victim.kill()
    for number in range(100):
        with three.proxy.wire() as wire:
            wire.send(encode("SET", key, "x" * 5000) * (1 + number % 50))
            if number % 2:  # with a reset
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    three.start_node("a")
    three.wait_served()
    with three.proxy.wire() as wire:
        assert wire.command("SET", other, "y") == b"OK"
        assert wire.command("GET", other) == b"y"
    wait_until(lambda: int(three.proxy.info()["requests_waiting"]) == 0, what="nothing to wait")
    wait_until(lambda: three.proxy.r.info("clients")["connected_clients"] <= 2, what="the vanished to be gone")


def test_half_closed_clients_get_all_their_replies(proxy):
    for count in [1, 10, 5000]:
        with proxy.wire() as wire:
            wire.send(b"".join(encode("ECHO", i) + encode("SET", f"half{i}", i) for i in range(count)))
            wire.socket.shutdown(socket.SHUT_WR)
            for i in range(count):
                assert wire.reply() == b"%d" % i
                assert wire.reply() == b"OK"
            assert wire.is_closed()


def test_quit_ends_the_pipeline(proxy):
    with proxy.wire() as wire:
        wire.send(encode("SET", "q", "1") * 100 + encode("QUIT") + encode("SET", "q", "2") * 100)
        assert wire.rest() == b"+OK\r\n" * 101
    assert proxy.r.get("q") == "1"


def test_silenced_requests_keep_the_order(proxy):
    with proxy.wire() as wire:
        wire.send(encode("CLIENT", "REPLY", "OFF"))
        wire.send(b"".join(encode("SET", f"s{i}", i) for i in range(1000)))
        wire.send(b"".join(encode("MGET", f"s{i}", f"s{i + 1}") for i in range(100)))
        wire.send(encode("CLIENT", "REPLY", "ON"))
        wire.send(b"".join(encode("CLIENT", "REPLY", "SKIP") + encode("GET", "s1") + encode("GET", f"s{i}") for i in range(1000)))
        assert wire.reply() == b"OK"
        for i in range(1000):
            assert wire.reply() == b"%d" % i


def test_scan_stays_in_its_database(proxy):
    """The client has gone on to another database before the scan's later hops."""
    proxy.r.flushall()
    for i in range(50):
        proxy.r.set(f"zero{i}", i)
    with proxy.wire() as wire:
        found, cursor = set(), b"0"
        while True:
            wire.send(encode("SELECT", 0) + encode("SCAN", cursor, "COUNT", 1000) + encode("SELECT", 1))
            assert wire.reply() == b"OK"
            cursor, keys = wire.reply()
            assert wire.reply() == b"OK"
            found.update(keys)
            if cursor == b"0":
                break
    assert found == {b"zero%d" % i for i in range(50)}


def test_a_watch_does_not_survive_its_node(three):
    """EXEC says nil or an error, and nothing of it was done."""
    key = three.keys_of("a", 1)[0]
    with three.proxy.wire() as wire:
        assert wire.command("SET", key, "1") == b"OK"
        assert wire.command("WATCH", key) == b"OK"
        three.nodes["a"].kill()
        three.start_node("a")
        three.wait_served()
        assert wire.command("MULTI") == b"OK"
        assert wire.command("SET", key, "2") == b"QUEUED"
        reply = wire.command("EXEC")
        assert reply is None or isinstance(reply, Error)
        assert wire.command("GET", key) is None


def test_a_slow_reader_gets_every_byte(proxy):
    """Large values, read late and in small pieces, while others talk."""
    values = [random.Random(i).randbytes(4096 + 1000 * i) for i in range(60)]
    for i, value in enumerate(values):
        proxy.client(decode_responses=False).set(f"slow{i}", value)
    others = [Talker(i, proxy.port, 800, SEED) for i in range(4)]
    with proxy.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sender = threading.Thread(target=lambda: [wire.send(encode("GET", f"slow{i % 60}")) for i in range(600)])
        sender.start()
        talk(others, 60)
        for i in range(600):
            assert wire.reply() == values[i % 60]
        sender.join()
    close(others)


def test_stop_answers_what_is_under_way():
    """SIGTERM in the midst of pipelines: each client gets whole replies to a beginning of what it
    sent, in order, then the end."""
    proxy = Proxy(local_nodes=2).ready()
    wait_until(View(proxy).served, 20, "every shard to have a primary")
    wires = [proxy.wire() for _ in range(10)]
    for number, wire in enumerate(wires):
        wire.send(b"".join(encode("SET", f"end{number}.{i}", i) + encode("GET", f"end{number}.{i}") for i in range(300)))
    assert wires[0].reply() == b"OK"
    assert proxy.stop() == 0
    for number, wire in enumerate(wires):
        i = 1 if number == 0 else 0
        try:
            if number == 0:
                assert wire.reply() == b"0"
            while True:
                assert wire.reply() == b"OK"
                assert wire.reply() == b"%d" % i
                i += 1
        except Closed:
            pass
        assert wire.buffer == b"" and i <= 300
        wire.close()
