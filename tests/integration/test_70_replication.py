"""Copies of shards on several nodes: what is acknowledged is on all that are in sync."""
import threading
import time

import pytest
from support.cluster import Cluster, words
from support.wait import PATIENCE, wait_until
from support.wire import Error, Wire, encode


def shards_on(node):
    """SHOAL SHARDS of a node: by number, {state, version, commit, keys, ...}."""
    with node.wire(limit=5) as wire:
        text = wire.command("SHOAL", "SHARDS").decode()
    return {int(row["shard"]): row for row in map(words, text.splitlines())}


def states(node):
    found = {}
    for row in shards_on(node).values():
        found[row["state"]] = found.get(row["state"], 0) + 1
    return found


def wait_in_sync(cluster, limit=30):
    """Every shard has a serving primary and another copy at least; all its other members follow it
    and are recorded as in sync."""

    def settled():
        serving = following = members = in_sync = 0
        for node in cluster.nodes.values():
            if not node.alive():
                continue
            with node.wire(limit=5) as wire:
                text = wire.command("SHOAL", "SHARDS").decode()
            for line in text.splitlines():
                row = words(line)
                serving += row["state"] == "serve"
                following += row["state"] == "follow"
                members += line.count(" member=")
                in_sync += line.count(",in-sync")
        recorded = [int(row["in-sync"]) - 1 for row in cluster.view.shards()]
        good = serving == len(recorded) and following == members == in_sync == sum(recorded) and min(recorded) > 0
        return good or (False, serving, following, members, in_sync, recorded)

    def really():
        got = settled()
        assert got is True, got
        return True

    wait_until(really, limit, "all copies to be in sync")


@pytest.fixture
def cluster():
    made = Cluster(min_nodes=3, shards=16, lease="1s")
    for name in "ABC":
        made.start_node(name, enable_debug_command="yes")
    made.wait_even()
    wait_in_sync(made)
    return made


@pytest.fixture
def pair():
    made = Cluster(min_nodes=2, shards=8, lease="1s")
    for name in "AB":
        made.start_node(name, enable_debug_command="yes", repl_backlog_size="1mb")
    made.wait_even()
    wait_in_sync(made)
    return made


def fill(cluster, count=500, prefix="k", length=1):
    with cluster.proxy.wire(limit=30) as wire:
        for first in range(0, count, 100):
            for i in range(first, first + 100):
                wire.send(encode("SET", f"{prefix}:{i}", f"v{i}" * length))
            for _ in range(100):
                assert wire.reply() == b"OK"


def check(cluster, count=500, prefix="k", length=1):
    with cluster.proxy.wire(limit=30) as wire:
        for i in range(count):
            assert wire.command("GET", f"{prefix}:{i}") == f"v{i}".encode() * length, i


def digests(cluster):
    """Keys of every shard on every node that has it."""
    found = {}
    for name, node in cluster.nodes.items():
        for shard, row in shards_on(node).items():
            found.setdefault(shard, {})[name] = (row["version"], row["keys"])
    return found


def test_what_is_stored_is_on_two_nodes(cluster):
    fill(cluster)
    for copies in digests(cluster).values():
        assert len(copies) == 2
        assert len(set(copies.values())) == 1, copies
    assert sum(int(row["keys"]) for node in cluster.nodes.values() for row in shards_on(node).values()) == 1000


def test_a_reply_waits_for_the_replica(pair):
    key = pair.keys_of("A", 1)[0]
    with pair.nodes["A"].wire(limit=20) as wire:
        assert wire.command("SET", key, "1") == b"OK"
        pair.nodes["B"].pause()
        try:
            started = time.monotonic()
            wire.send(encode("SET", key, "2"))
            wire.send(encode("GET", key))
            assert wire.reply() == b"OK"  # without B, when it is out of the in-sync set
            took = time.monotonic() - started
            assert wire.reply() == b"2"
        finally:
            pair.nodes["B"].resume()
    assert took > 0.1, "it was answered although the replica had nothing of it"
    wait_in_sync(pair)
    with pair.nodes["B"].wire() as wire:
        assert wire.command("READONLY") == b"OK"
        wait_until(lambda: wire.command("GET", key) == b"2")  # when it has the primary's promise


def test_a_read_removes_what_has_expired_whoever_was_asked(cluster):
    for node in cluster.nodes.values():
        with node.wire() as wire:
            assert wire.command("DEBUG", "SET-ACTIVE-EXPIRE", "0") == b"OK"
    with cluster.proxy.wire() as wire:
        for i in range(200):
            assert wire.command("SET", f"k:{i}", "v", "PX", "1") == b"OK"
        for i in range(200):
            wait_until(lambda: wire.command("GET", f"k:{i}") is None)
        assert wire.command("DBSIZE") == 0


def test_a_killed_primary_loses_nothing(cluster):
    acknowledged = {}
    stop = threading.Event()
    errors = []

    def write(number):
        with Wire(cluster.proxy.port, limit=60) as wire:
            i = 0
            while not stop.is_set():
                i += 1
                key = f"w{number}:{i}"
                reply = wire.command("SET", key, str(i))
                if reply == b"OK":
                    acknowledged[key] = str(i).encode()
                else:
                    errors.append((key, reply))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 400)
    cluster.nodes["A"].kill()
    before = len(acknowledged)
    wait_until(lambda: len(acknowledged) > before + 400, 30, "writes to go on")
    stop.set()
    for thread in threads:
        thread.join()
    with cluster.proxy.wire(limit=30) as wire:
        lost = [key for key, value in acknowledged.items() if wire.command("GET", key) != value]
    assert lost == []
    assert errors == []


class Writers:
    """Clients that write counters and read them back, and note what was wrong and how long it took."""

    def __init__(self, port, clients=4, keys=50):
        self.port, self.keys = port, keys
        self.stop_now = threading.Event()
        self.wrong, self.done, self.longest = [], 0, 0.0
        self.counts = {}
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        counts = {f"count:{number}:{i}": 0 for i in range(self.keys)}
        with Wire(self.port, limit=60) as wire:
            while not self.stop_now.is_set():
                for key in counts:
                    started = time.monotonic()
                    reply = wire.command("INCR", key)
                    self.longest = max(self.longest, time.monotonic() - started)
                    if reply != counts[key] + 1:
                        self.wrong.append((key, counts[key], reply))
                    else:
                        counts[key] = reply
                    reply = wire.command("GET", key)
                    if reply != str(counts[key]).encode():
                        self.wrong.append((key, "read", counts[key], reply))
                    self.done += 1
                    if self.stop_now.is_set():
                        break
        self.counts.update(counts)

    def goes_on(self, rounds=400):
        target = self.done + rounds
        wait_until(lambda: self.done >= target, limit=30, what="the writers to go on")

    def stop(self):
        self.stop_now.set()
        for thread in self.threads:
            thread.join()
        return self.wrong

    def check(self):
        with Wire(self.port, limit=30) as wire:
            for key, count in self.counts.items():
                assert int(wire.command("GET", key) or 0) == count, key


def primaries(cluster, name):
    return int(cluster.row(name)["primary"])


def test_a_planned_hand_over_costs_no_error(cluster):
    load = Writers(cluster.proxy.port)
    load.goes_on()
    for name in "ABC":
        ident = cluster.row(name)["id"]
        assert cluster.proxy.r.execute_command("CLUSTER", "FAILOVER", ident)
        wait_until(lambda name=name: primaries(cluster, name) == 0, 20, f"{name} to hand over")
        load.goes_on(100)
        wait_in_sync(cluster)
    assert load.stop() == []
    load.check()
    assert sum(int(node.info("replication")["handovers"]) for node in cluster.nodes.values()) > 0


def test_a_drained_node_is_left_empty_and_a_new_one_is_filled(cluster):
    fill(cluster, 300)
    load = Writers(cluster.proxy.port)
    load.goes_on()
    ident = cluster.row("A")["id"]
    assert cluster.proxy.r.execute_command("CLUSTER", "DRAIN", ident)
    wait_until(lambda: shards_on(cluster.nodes["A"]) == {}, 40, "the drained node to be empty")
    load.goes_on(100)
    cluster.start_node("D", enable_debug_command="yes")
    wait_until(lambda: cluster.row("D") and primaries(cluster, "D") >= 4, 40, "the new node to get its share")
    load.goes_on(100)
    assert load.stop() == []
    wait_in_sync(cluster)
    load.check()
    check(cluster, 300)


@pytest.mark.parametrize("how", ["kill", "stop", "pause"])
def test_a_node_that_fails_is_a_delay_and_no_error(cluster, how):
    load = Writers(cluster.proxy.port)
    load.goes_on()
    if how == "kill":
        cluster.nodes["B"].kill()
    elif how == "stop":
        assert cluster.nodes["B"].stop() == 0
    else:
        cluster.nodes["B"].pause()
    load.goes_on(800)
    if how == "pause":
        cluster.nodes["B"].resume()
    else:
        cluster.start_node("B")
    load.goes_on(200)
    assert load.stop() == []
    wait_in_sync(cluster)
    load.check()
    print(f"longest pause after {how}: {load.longest * 1000:.0f} ms")


def test_plain_clients_read_from_replicas_only_when_they_say_so(pair):
    key = pair.keys_of("A", 1)[0]
    with pair.nodes["A"].wire() as wire:
        assert wire.command("SET", key, "here") == b"OK"
    with pair.nodes["B"].wire() as wire:
        reply = wire.command("GET", key)
        assert isinstance(reply, Error) and str(reply).startswith("MOVED")
        assert wire.command("READONLY") == b"OK"
        wait_until(lambda: wire.command("GET", key) == b"here")
        reply = wire.command("SET", key, "no")
        assert isinstance(reply, Error) and str(reply).startswith("MOVED")
        assert wire.command("READWRITE") == b"OK"
        reply = wire.command("GET", key)
        assert isinstance(reply, Error) and str(reply).startswith("MOVED")


@pytest.mark.parametrize("shards", [8, 128])
def test_nodes_go_by_what_the_coordinator_says(shards):
    """However many shards there are: a node makes its copies anew when they are not as many as it began with."""
    cluster = Cluster(min_nodes=2, shards=shards, replication_mode="async", consistency="eventual", lease="700ms",
                      min_in_sync=2)
    for name in "AB":
        cluster.start_node(name)
    cluster.wait_served()

    def told(node):
        rows = node.info("replication")
        return [rows[name] for name in ("replication_mode", "consistency", "min_in_sync", "lease_ms")]

    for node in cluster.nodes.values():
        assert told(node) == ["async", "eventual", "2", "700"]
    with cluster.proxy.wire() as wire:
        assert wire.command("CONFIG", "SET", "min-in-sync", "1") == b"OK"
    for node in cluster.nodes.values():
        wait_until(lambda node=node: told(node) == ["async", "eventual", "1", "700"], 20)


def test_a_replica_without_its_primary_reads_under_eventual_alone():
    """Both primaries stand still: when the promise of the strict one is over, its replica refuses; the other reads."""
    readers, clusters = {}, {}
    for consistency in ("strong", "eventual"):
        made = Cluster(min_nodes=2, shards=8, lease="1s", heartbeat_interval="5s", consistency=consistency)
        clusters[consistency] = made
        for name in "AB":
            made.start_node(name)
        made.wait_even(limit=60)
        wait_in_sync(made)
        key = made.keys_of("A", 1)[0]
        assert made.proxy.r.set(key, consistency)
        wire = made.nodes["B"].wire(limit=20)
        assert wire.command("READONLY") == b"OK"

        def read(wire=wire, key=key):
            return wire.command("GET", key)

        readers[consistency] = read
        wait_until(lambda: read() == consistency.encode(), 20, "the replica to read")
    for made in clusters.values():
        made.nodes["A"].pause()  # not taken for dead so soon
    try:
        wait_until(lambda: isinstance(readers["strong"](), Error), 20, "reads to be refused")
        # The other's promise is over, too, when the node that heard nothing goes on without it.
        rows = clusters["eventual"].view.shards
        wait_until(lambda: any(row["in-sync"] == "1" for row in rows()), 20, "the other lease to end")
        assert readers["eventual"]() == b"eventual"
    finally:
        for made in clusters.values():
            made.nodes["A"].resume()
    wait_until(lambda: readers["strong"]() == b"strong", 20, "the replica to read again")


def test_wait_counts_replicas(pair):
    key = pair.keys_of("A", 1)[0]
    with pair.nodes["A"].wire(limit=20) as wire:
        assert wire.command("SET", key, "1") == b"OK"
        assert wire.command("WAIT", 1, 5000) == 1
        assert wire.command("WAIT", 0, 0) == 1
        started = time.monotonic()
        assert wire.command("WAIT", 2, 100) == 1
        assert time.monotonic() - started >= 0.1
        # What stands behind a WAIT runs behind it.
        wire.send(encode("WAIT", 2, 50))
        wire.send(encode("PING"))
        assert [wire.reply(), wire.reply()] == [1, b"PONG"]


def test_wait_through_the_proxy(cluster):
    with cluster.proxy.wire(limit=20) as wire:
        assert wire.command("SET", "w", "1") == b"OK"
        assert wire.command("WAIT", 1, 5000) == 1
        started = time.monotonic()
        assert wire.command("WAIT", 2, 200) == 1
        assert time.monotonic() - started >= 0.2
        wire.send(encode("SET", "w", "2") + encode("WAIT", 1, 0) + encode("GET", "w"))
        assert [wire.reply() for _ in range(3)] == [b"OK", 1, b"2"]
        assert str(wire.command("WAITAOF", 1, 0, 10)).startswith("ERR WAITAOF cannot be used")
        assert wire.command("WAITAOF", 2, 0, 10) == "ERR value is out of range, must be between 0 and 1"
        # A client that goes while it waits leaves nothing behind.
        wire.send(encode("WAIT", 5, 0))
    assert cluster.proxy.r.ping()


def test_a_client_that_goes_while_it_waits_is_freed(cluster):
    def clients():
        return len(cluster.proxy.r.client_list())

    before = clients()
    gone = cluster.proxy.wire(limit=20)
    gone.send(encode("WAIT", 9, 0))
    wait_until(lambda: clients() == before + 1, 10)
    gone.close()
    wait_until(lambda: clients() == before, 10, "the client to be freed")


def test_a_transaction_does_not_wait_for_copies(cluster):
    with cluster.proxy.wire(limit=10) as wire:
        for words in (["MULTI"], ["SET", "w", "1"], ["WAIT", 9, 0]):
            wire.command(*words)
        reply = wire.command("EXEC")
        assert reply[0] == b"OK" and reply[1] in (0, 1)


def test_min_in_sync_refuses_writes_before_they_are_done(pair):
    key = pair.keys_of("A", 1)[0]
    assert pair.proxy.r.config_set("min-in-sync", 2)
    pair.nodes["B"].kill()
    with pair.nodes["A"].wire(limit=20) as wire:

        def refused():
            reply = wire.command("SET", key, "x")
            return isinstance(reply, Error) and str(reply).startswith("NOREPLICAS")

        wait_until(refused, 20)
        assert wire.command("GET", key) is None or wire.command("GET", key) == b"x"
    assert pair.proxy.r.config_set("min-in-sync", 1)
    wait_until(lambda: pair.proxy.r.set(key, "y"), 10)


def test_async_answers_at_once(pair):
    assert pair.proxy.r.config_set("replication-mode", "async")
    key = pair.keys_of("A", 1)[0]

    def is_async():
        return pair.nodes["A"].info("replication")["replication_mode"] == "async"

    wait_until(is_async)
    pair.nodes["B"].pause()
    try:
        with pair.nodes["A"].wire(limit=5) as wire:
            started = time.monotonic()
            for i in range(50):
                assert wire.command("SET", key, i) == b"OK"
            assert time.monotonic() - started < 0.4 * PATIENCE
    finally:
        pair.nodes["B"].resume()
    wait_in_sync(pair)
    with pair.nodes["B"].wire() as wire:
        wire.command("READONLY")
        wait_until(lambda: wire.command("GET", key) == b"49")


def test_a_replica_that_comes_back_empty_gets_what_there_is_from_the_backlog(pair):
    fill(pair)
    wait_in_sync(pair)  # one that has fallen behind would leave B with the only copy
    pair.nodes["B"].kill()
    fill(pair, prefix="more")
    pair.start_node("B")
    wait_in_sync(pair)
    for copies in digests(pair).values():
        assert len(set(copies.values())) == 1, copies
    check(pair)
    check(pair, prefix="more")


def test_a_replica_that_comes_back_empty_gets_a_copy(pair):
    fill(pair, length=2000)
    wait_in_sync(pair)
    pair.nodes["B"].kill()
    fill(pair, prefix="more", length=2000)
    pair.start_node("B")
    wait_in_sync(pair)
    for copies in digests(pair).values():
        assert len(set(copies.values())) == 1, copies
    assert int(pair.nodes["A"].info("replication")["repl_copies_ended"]) > 0
    check(pair, length=2000)
    check(pair, prefix="more", length=2000)


def test_a_stopped_replica_catches_up_from_the_backlog(pair):
    fill(pair, 100)
    pair.nodes["B"].pause()
    try:
        # Written while B is out of sync.
        fill(pair, 300, prefix="late")
    finally:
        pair.nodes["B"].resume()
    wait_in_sync(pair)
    for copies in digests(pair).values():
        assert len(set(copies.values())) == 1, copies
    check(pair, 300, prefix="late")


def test_expiry_travels_as_a_decision_of_the_primary(pair):
    keys = pair.keys_of("A", 20, prefix="e")
    with pair.nodes["A"].wire() as wire:
        for key in keys:
            assert wire.command("SET", key, "x", "PX", 150) == b"OK"
    copies = pair.nodes["B"]

    def gone():
        return sum(int(row["keys"]) for row in shards_on(copies).values()) == 0

    wait_until(gone, 10)
    assert len({v for c in digests(pair).values() for v in c.values()} - {("0", "0")}) > 0
    for versions in digests(pair).values():
        assert len(set(versions.values())) == 1
