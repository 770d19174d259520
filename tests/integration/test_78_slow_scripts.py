"""Scripts that take long, through the proxy: their node is not given up, others hear BUSY at once, nothing is done twice
or left unknown."""
import threading

import pytest
from support.cluster import Cluster
from support.wait import PATIENCE, wait_until
from support.wire import Error, encode

BURN = """
local function now() local t = redis.call('time') return t[1] + t[2] / 1e6 end
local from = now()
while now() - from < tonumber(ARGV[1]) do end
"""
FOR_EVER = "while true do end"


def make(**options):
    made = Cluster(min_nodes=3, replication_factor=2, shards=12, lease=f"{1000 * PATIENCE:.0f}ms",
                   heartbeat_interval=f"{200 * PATIENCE:.0f}ms", workers=2)
    for name in "ABC":
        made.start_node(name, busy_reply_threshold=50, **options)
    made.wait_even()
    made.wait_whole()
    return made


@pytest.fixture
def cluster():
    return make()


def is_busy(cluster, key):
    with cluster.proxy.wire(limit=30) as wire:
        reply = wire.command("PERSIST", key)  # a write, which changes nothing; reads may go to replicas
    return isinstance(reply, Error) and reply.startswith("BUSY")


def start(cluster, *words):
    """A client whose script has become slow; its key tells."""
    wire = cluster.proxy.wire(limit=90)
    wire.send(encode(*words))
    key = words[3] if int(words[2]) else None
    if key is not None:
        wait_until(lambda: is_busy(cluster, key), 20, "the script to be slow")
    return wire


def kill(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        wait_until(lambda: wire.command("SCRIPT", "KILL") == b"OK", 20, "the kill")


class Writers:
    """Clients that count up keys, each its own, and note what they were answered."""

    def __init__(self, port_of, keys):
        self.port_of, self.keys = port_of, keys
        self.acknowledged = dict.fromkeys(keys, 0)
        self.errors = {key: [] for key in keys}
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(key,)) for key in keys]
        for thread in self.threads:
            thread.start()

    def run(self, key):
        with self.port_of(limit=90) as wire:
            while not self.stop.is_set():
                reply = wire.command("INCR", key)
                if isinstance(reply, Error):
                    self.errors[key].append(str(reply))
                    self.stop.wait(0.01)  # else it does nothing but ask
                else:
                    self.acknowledged[key] += 1

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def terms(cluster):
    return {row["shard"]: row["primary"] for row in cluster.view.shards()}


@pytest.mark.parametrize("seconds, options", [(6, {}), (5, {"appendonly": "yes", "appendfsync": "always"})])
def test_a_script_longer_than_lease_and_death_takes_nothing_down(seconds, options):
    seconds = int(seconds * PATIENCE)  # as lease and death
    cluster = make(**options)
    keys = {name: cluster.keys_of(name, 4, "w") for name in "ABC"}
    mine = cluster.keys_of("A", 1, "mine")[0]
    primaries = terms(cluster)
    writers = Writers(cluster.proxy.wire, [key for some in keys.values() for key in some])
    wait_until(lambda: all(writers.acknowledged.values()), 20, "all to write")
    script = "redis.call('incr', KEYS[1]) " + BURN + "return redis.call('incr', KEYS[1])"
    slow = start(cluster, "EVAL", script, "1", mine, str(seconds))
    with cluster.proxy.wire(limit=30) as wire:
        assert wire.command("SCRIPT", "KILL").startswith("UNKILLABLE")
        assert wire.command("SET", keys["A"][0] + "x", "v") is not None
        before = {key: writers.acknowledged[key] for name in "BC" for key in keys[name]}
        wait_until(lambda: all(writers.acknowledged[key] > n + 20 for key, n in before.items()), 20, "others to go on")
        wait_until(lambda: all(writers.errors[key] for key in keys["A"]), 20, "its own writers to be told")
        assert wire.command("PING") == b"PONG"  # the script has keys: it concerns its shard's node
        assert is_busy(cluster, mine)
        assert cluster.state("A") != "dead"
    assert slow.reply() == 2
    slow.close()
    wait_until(lambda: not is_busy(cluster, mine), 20, "the node to be free")
    before = dict(writers.acknowledged)
    wait_until(lambda: all(writers.acknowledged[key] > n for key, n in before.items()), 20, "all to write again")
    writers.end()
    assert terms(cluster) == primaries, "a shard has got another primary"
    assert {error.split()[0] for errors in writers.errors.values() for error in errors} == {"BUSY"}
    with cluster.proxy.wire(limit=30) as wire:
        assert wire.command("GET", mine) == b"2"
        for key, count in writers.acknowledged.items():
            assert int(wire.command("GET", key)) == count, key


def test_its_own_client_goes_on_behind_it(cluster):
    key = cluster.keys_of("A", 1)[0]
    slow = cluster.proxy.wire(limit=60)
    slow.send(encode("EVAL", FOR_EVER, "1", key) + encode("SET", key, "v") + encode("GET", key) + encode("PING"))
    wait_until(lambda: is_busy(cluster, key), 20, "the script to be slow")
    kill(cluster)
    assert "killed by user" in slow.reply()
    assert [slow.reply(), slow.reply(), slow.reply()] == [b"OK", b"v", b"PONG"]
    slow.close()


def test_others_behind_it_on_its_lane_are_told(cluster):
    """Sent at once, by many clients of all workers, before anybody can know that the script is slow."""
    key = cluster.keys_of("A", 1)[0]
    others = [cluster.proxy.wire(limit=60) for _ in range(12)]
    for wire in others:
        assert wire.command("SET", key, "v") == b"OK"
    slow = cluster.proxy.wire(limit=60)
    slow.send(encode("EVAL", FOR_EVER, "1", key))
    for number, wire in enumerate(others):
        wire.send(encode("SET", key, "v") if number % 2 else encode("MULTI") + encode("INCR", key) + encode("EXEC"))
    for number, wire in enumerate(others):
        if number % 2 == 0:
            assert [wire.reply(), wire.reply()] == [b"OK", b"QUEUED"]
        reply = wire.reply()  # it may have come before the script
        assert not isinstance(reply, Error) or reply.startswith(("BUSY", "EXECABORT", "ERR value is not an integer")), reply
    assert is_busy(cluster, key)
    kill(cluster)
    assert "killed by user" in slow.reply()
    for wire in [slow, *others]:
        assert wire.command("SET", key, "w") == b"OK"
        wire.close()


def test_who_waits_for_data_waits_on(cluster):
    key = cluster.keys_of("A", 1)[0]
    waiting = [cluster.proxy.wire(limit=60) for _ in range(6)]
    for wire in waiting:
        wire.send(encode("BLPOP", key, "0"))
    with cluster.proxy.wire(limit=30) as wire:

        def blocked():
            return f"blocked_clients:{len(waiting)}\r\n".encode() in wire.command("INFO", "clients")

        wait_until(blocked, 20, "all to wait")
        slow = start(cluster, "EVAL", "redis.call('rpush', KEYS[1], 'a', 'b') " + BURN + "return 'done'", "1", key, "2")
        assert slow.reply() == b"done"
        slow.close()
        wait_until(lambda: isinstance(wire.command("RPUSH", key, "c", "d", "e", "f"), int), 20, "the rest")
        assert sorted(wire.reply() for wire in waiting) == [[key.encode(), bytes([c])] for c in b"abcdef"]
        assert wire.command("LLEN", key) == 0
    for each in waiting:
        each.close()


def test_ping_is_answered_as_by_redis_while_a_script_without_keys_is_slow(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        slow = start(cluster, "EVAL", FOR_EVER, "0")
        wait_until(lambda: str(wire.command("PING")).startswith("BUSY"), 20, "the script to be slow")
        assert wire.command("FUNCTION", "KILL").startswith("BUSY")
        kill(cluster)
        assert "killed by user" in slow.reply()
        slow.close()
        wait_until(lambda: wire.command("PING") == b"PONG", 20, "the end to be known")
        assert wire.command("SCRIPT", "KILL").startswith("NOTBUSY")


def test_new_connections_to_a_busy_node_are_made(cluster):
    """Lanes of another protocol, of tracking clients and of watching ones begin while the script runs."""
    key = cluster.keys_of("A", 1)[0]
    slow = start(cluster, "EVAL", FOR_EVER, "1", key)
    with cluster.proxy.wire(limit=30) as wire:
        assert isinstance(wire.command("HELLO", "3"), dict)
        assert wire.command("SELECT", "3") == b"OK"
        assert str(wire.command("PERSIST", key)).startswith("BUSY")
        assert wire.command("CLIENT", "TRACKING", "ON") == b"OK"
        assert str(wire.command("PERSIST", key)).startswith("BUSY")
    with cluster.proxy.wire(limit=30) as wire:
        assert wire.command("WATCH", key) == b"OK"
        assert wire.command("MULTI") == b"OK"
        assert wire.command("SET", key, "v") == b"QUEUED"
        assert wire.command("EXEC").startswith("EXECABORT Transaction discarded because of: BUSY")
    kill(cluster)
    assert "killed by user" in slow.reply()
    slow.close()


def test_scripts_of_transactions_are_known_where_they_go(cluster):
    key = cluster.keys_of("A", 1)[0]
    with cluster.proxy.wire(limit=30) as wire:
        digest = wire.command("SCRIPT", "LOAD", "return redis.call('incr', KEYS[1])")

        def run():
            assert wire.command("MULTI") == b"OK"
            assert wire.command("EVALSHA", digest, "1", key) == b"QUEUED"
            assert wire.command("EVALSHA", digest, "1", key) == b"QUEUED"
            return wire.command("EXEC")

        node = cluster.nodes["A"]
        with node.wire() as own:
            own.command("SCRIPT", "FLUSH")
        assert run() == [1, 2]
        assert run() == [3, 4]
        node.kill()
        wait_until(lambda: cluster.state("A") == "dead", 30)
        for name in "BC":
            with cluster.nodes[name].wire() as own:
                own.command("SCRIPT", "FLUSH")
        assert run() == [5, 6]
        assert wire.command("SCRIPT", "EXISTS", digest) == [1]
        assert wire.command("SCRIPT", "FLUSH") == b"OK"
        assert wire.command("SCRIPT", "EXISTS", digest) == [0]
        replies = run()
        assert [str(reply)[:8] for reply in replies] == ["NOSCRIPT", "NOSCRIPT"]


def test_a_key_of_another_node_is_refused(cluster):
    mine, other = cluster.keys_of("A", 1)[0], cluster.keys_of("B", 1)[0]
    with cluster.proxy.wire(limit=30) as wire:
        reply = wire.command("EVAL", "return redis.call('set', ARGV[1], 'v')", "1", mine, other)
        assert "Script attempted to access a non local key in a cluster node" in reply
        both = "redis.call('set', ARGV[1], 'v') return redis.call('set', ARGV[2], 'v')"
        assert "a non local key" in wire.command("EVAL", both, "0", mine, other)
        assert wire.command("EVAL", "return 1", "2", mine, other).startswith("CROSSSLOT")
        assert wire.command("GET", other) is None


def test_a_script_without_keys_is_run_where_its_first_key_is(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        for name in "ABC":
            for key in cluster.keys_of(name, 3, "f"):
                assert wire.command("EVAL", "return redis.call('incr', ARGV[1])", "0", key) == 1
                assert wire.command("EVAL", "pcall(redis.call, 'get', 'other') return redis.pcall('incr', ARGV[1])", "0", key) is not None
                assert wire.command("EVAL_RO", "return redis.call('exists', ARGV[1])", "0", key) == 1
            # What has done something already stays: it is not done twice.
            told = "redis.call('publish', 'news', 'x') return redis.call('incr', ARGV[1])"
            reply = wire.command("EVAL", told, "0", key)
            assert isinstance(reply, int) or "a non local key" in reply


def test_an_error_that_a_script_answers_is_its_own(cluster):
    """The proxy takes TRYAGAIN and its like for the node's word that nothing was run; not if a script says it."""
    key = cluster.keys_of("A", 1)[0]
    with cluster.proxy.wire(limit=30) as wire:
        for number, code in enumerate(("TRYAGAIN", "CLUSTERDOWN", "MOVED", "LOADING", "NOSCRIPT", "READONLY")):
            script = "redis.call('incr', KEYS[1]) return redis.error_reply(ARGV[1] .. ' 1 so it is')"
            digest = wire.command("SCRIPT", "LOAD", script)
            assert wire.command("EVALSHA", digest, "1", key, code) == f"{code} 1 so it is"
            assert wire.command("EVAL", "return {redis.error_reply(ARGV[1] .. ' x')}", "1", key, code) == [f"{code} x"]
            assert wire.command("GET", key) == str(number + 1).encode()
