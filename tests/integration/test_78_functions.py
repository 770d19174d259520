"""Functions and scripts over a cluster: every node has every library, also those that come late."""

import pytest
from support.cluster import Cluster
from support.wait import wait_until
from support.wire import Error, encode
from test_70_replication import wait_in_sync

LIBRARY = "#!lua name=lib\nredis.register_function('f', function(keys, args) return redis.call('get', keys[1]) or 'none' end)"


@pytest.fixture
def cluster():
    made = Cluster(min_nodes=3, replication_factor=2, lease="200ms", failover_hold="5s")
    for name in "ABC":
        made.start_node(name, busy_reply_threshold=50)
    made.wait_even()
    wait_in_sync(made)
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


def library(name, value):
    return f"#!lua name={name}\nredis.register_function('{name}_f', function(keys, args) return '{value}' end)"


def libraries_of(node):
    """{name: code} as one node has them."""
    with node.wire() as own:
        found = own.command("FUNCTION", "LIST", "WITHCODE")
    return {row[1].decode(): row[7].decode() for row in found}


def wait_all_have(cluster, **values):
    wanted = {name: library(name, value) for name, value in values.items()}

    def all_have():
        found = [libraries_of(node) for node in cluster.nodes.values() if node.alive()]
        return all(each == wanted for each in found) or None

    wait_until(all_have, limit=30, what=f"all nodes to have {sorted(wanted)}")


def change(wire, *words):
    """While a node is found dead the proxy may say that it could not be asked."""
    wait_until(lambda: not isinstance(wire.command("FUNCTION", *words), Error), limit=20, what="the change")


def test_a_library_deleted_while_a_node_was_away_stays_deleted(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        change(wire, "LOAD", library("a", 1))
        change(wire, "LOAD", library("b", 1))
        wait_all_have(cluster, a=1, b=1)
        cluster.nodes["A"].kill()
        wait_until(lambda: cluster.state("A") == "dead", limit=20)
        assert wire.command("FUNCTION", "DELETE", "a") == b"OK"
        change(wire, "LOAD", "REPLACE", library("b", 2))
        cluster.nodes["A"].start()
        cluster.nodes["A"].ready()
        wait_all_have(cluster, b=2)


def test_changes_at_nodes_that_never_met_are_all_kept(cluster):
    """Each library is loaded while another part of the cluster is away, so no node ever had them all."""
    with cluster.proxy.wire(limit=30) as wire:
        for absent, name in (("A", "a"), ("B", "b")):
            cluster.nodes[absent].kill()
            wait_until(lambda: cluster.state(absent) == "dead", limit=20)
            change(wire, "LOAD", "REPLACE", library(name, 1))
            cluster.nodes[absent].start()
            cluster.nodes[absent].ready()
            wait_until(lambda: cluster.state(absent) == "healthy", limit=20)
        wait_all_have(cluster, a=1, b=1)


def test_two_who_change_the_same_library_at_once_leave_one(cluster):
    with cluster.proxy.wire(limit=60) as one, cluster.proxy.wire(limit=60) as two:
        for round_ in range(20):
            words = [encode("FUNCTION", "LOAD", "REPLACE", library("a", f"{who}-{round_}")) for who in "xy"]
            one.send(words[0])
            two.send(words[1])
            assert one.reply() == two.reply() == b"a"

        def all_equal():
            found = [libraries_of(node) for node in cluster.nodes.values()]
            return all(each == found[0] and each for each in found)

        wait_until(all_equal, limit=30, what="all nodes to have the same")
        values = {str(one.command("FCALL", "a_f", 1, f"key{i}")) for i in range(60)}
        assert len(values) == 1, values


def test_nodes_that_share_no_shard_tell_each_other_too():
    cluster = Cluster(min_nodes=3, replication_factor=1, shards=6)
    for name in "ABC":
        cluster.start_node(name, appendonly="yes")
    cluster.wait_even()
    with cluster.proxy.wire(limit=30) as wire:
        change(wire, "LOAD", library("a", 1))
        for absent in "ABC":  # one of them holds shard 0
            cluster.nodes[absent].kill()
            wait_until(lambda: cluster.state(absent) == "dead", limit=20)
            change(wire, "LOAD", "REPLACE", library("a", absent))
            cluster.nodes[absent].start()
            cluster.nodes[absent].ready()
            wait_until(lambda: cluster.state(absent) == "healthy", limit=20)
            wait_all_have(cluster, a=absent)


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


def test_a_script_with_the_words_of_a_node_runs_once(cluster):
    with cluster.proxy.wire(limit=30) as wire:
        for i, code in enumerate(["MOVED", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "NOSCRIPT"]):
            script = f"redis.call('incr', KEYS[1]) return redis.error_reply('{code} of mine')"
            digest = wire.command("SCRIPT", "LOAD", script).decode()
            for call in (("EVAL", script), ("EVALSHA", digest)):
                assert wire.command(*call, 1, f"w{i}") == f"{code} of mine"
            assert wire.command("GET", f"w{i}") == b"2"
