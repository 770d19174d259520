"""Functions and scripts over a cluster: every node has every library, also those that come late."""

import pytest
from support.cluster import Cluster
from support.wait import wait_until
from support.wire import Error, Wire

LIBRARY = "#!lua name=lib\nredis.register_function('f', function(keys, args) return redis.call('get', keys[1]) or 'none' end)"


@pytest.fixture
def cluster():
    made = Cluster(min_nodes=3, replication_factor=2, lease="200ms", failover_hold="5s")
    for name in "ABC":
        made.start_node(name, busy_reply_threshold=50)
    made.wait_even()
    return made


def call_all(wire):
    return {str(wire.command("FCALL", "f", 1, f"key{i}")) for i in range(60)}


def test_a_node_that_comes_back_has_what_it_missed(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        assert wire.command("FUNCTION", "LOAD", LIBRARY) == b"lib"
        assert call_all(wire) == {"b'none'"}
        node = cluster.nodes["A"]
        node.kill()
        changed = LIBRARY.replace("'none'", "'other'")
        wait_until(lambda: wire.command("FUNCTION", "LOAD", "REPLACE", changed) == b"lib", limit=20, what="the change")
        node.start()
        node.ready()

        def has_it():
            with node.wire() as own:
                libraries = own.command("FUNCTION", "LIST", "WITHCODE")
            return len(libraries) == 1 and b"other" in libraries[0][-1]

        wait_until(has_it, limit=30, what="the node to learn the libraries")
        wait_until(lambda: call_all(wire) == {"b'other'"}, limit=30, what="all shards to answer")
        assert wire.command("FUNCTION", "FLUSH") == b"OK"
        assert wire.command("FUNCTION", "LIST") == []


def test_a_slow_script_is_killed_through_the_proxy(cluster):
    with cluster.proxy.wire(limit=30) as slow, cluster.proxy.wire(limit=30) as other:
        slow.send(b"EVAL 'while true do end' 1 key\r\n")

        def killed():
            reply = other.command("SCRIPT", "KILL")
            assert reply == b"OK" or isinstance(reply, Error)
            return reply == b"OK"

        wait_until(killed, limit=20, what="the kill")
        assert "killed by user" in slow.reply()
        assert other.command("SET", "key", "v") == b"OK"
        assert other.command("SCRIPT", "KILL").startswith("NOTBUSY")


def test_a_node_that_lacks_a_script_is_given_it(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        digest = wire.command("SCRIPT", "LOAD", "return redis.call('incr', KEYS[1])")
        for node in cluster.nodes.values():
            with node.wire() as own:
                assert own.command("SCRIPT", "FLUSH") == b"OK"
        for i in range(30):
            assert wire.command("EVALSHA", digest, 1, f"s{i}") == 1
        assert wire.command("EVALSHA_RO", digest, 1, "s0").startswith("ERR Write commands")
        assert wire.command("EVALSHA", "0" * 40, 1, "s0").startswith("NOSCRIPT")
        assert wire.command("EVAL", "return redis.error_reply('NOSCRIPT mine')", 1, "s0") == "NOSCRIPT mine"


def test_what_a_script_writes_is_on_the_replica(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        script = "for i = 1, 10 do redis.call('incr', KEYS[1]) end return redis.call('get', KEYS[1])"
        for i in range(20):
            assert wire.command("EVAL", script, 1, f"n{i}") == b"10"
        cluster.nodes["B"].kill()
        for i in range(20):
            assert wire.command("EVAL", script, 1, f"n{i}") == b"20"
