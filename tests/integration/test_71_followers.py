"""Redis's replicas and its tools follow a node: SYNC, PSYNC and REPLCONF on its service port. (That the stream says
what Redis's own does, command by command, is tests/differential/run follow.)"""
import os
import subprocess
import threading

import pytest
from support.cluster import Cluster
from support.process import temp_dir
from support.programs import Node, Proxy, RedisServer
from support.wait import PATIENCE, wait_until
from support.wire import Closed, Error, encode
from test_48_redis_files import LIBRARY, everything, fill, same


def follow(server, **options):
    """A redis-server that is its replica."""
    redis = RedisServer(replicaof=f"127.0.0.1 {server.port}", **options).ready()
    wait_until(lambda: redis.info("replication")["master_link_status"] == "up", 20, "the replica to be in sync")
    return redis


def wait_equal(node, redis):
    """All that the node has executed is there."""
    with node.wire() as wire:
        wire.command("SET", "the-last-key", 1)
        assert wire.command("WAIT", 1, int(20000 * PATIENCE)) == 1
        ours = everything(wire)
    with redis.wire() as wire:
        same(everything(wire), ours)


class Load(threading.Thread):
    """Keeps writing until it is told to stop."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.go_on, self.rounds = server, True, 0
        self.start()

    def run(self):
        with self.server.wire(limit=30) as wire:
            while self.go_on:
                n = self.rounds % 700
                wire.send(
                    encode("SET", f"load:{n}", "x" * (n * 7))
                    + encode("RPUSH", f"load:list:{n % 40}", self.rounds)
                    + encode("SPOP", f"load:set:{n % 9}", 2)
                    + encode("SADD", f"load:set:{n % 9}", *range(n % 30 + 1))
                    + encode("MULTI") + encode("INCR", "load:a") + encode("INCR", "load:b") + encode("EXEC")
                    + encode("SELECT", n % 3)
                    + encode("EXPIRE", f"load:{n}", 500)
                    + encode("DEL", f"load:{(n * 13) % 700}")
                    + encode("XADD", "load:stream", "MAXLEN", "~", 100, "*", "n", n)
                )
                for _ in range(12):
                    assert not isinstance(wire.reply(), Error)
                self.rounds += 1

    def end(self):
        self.go_on = False
        self.join(30 * PATIENCE)
        assert self.rounds > 0 and not self.is_alive()


def role(redis):
    return redis.info("replication")


@pytest.mark.parametrize("diskless", ["yes", "no"])
@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_replica_of_redis_is_equal_in_the_end(diskless, appendonly):
    node = Node(appendonly=appendonly, repl_diskless_sync=diskless, enable_debug_command="yes").ready()
    with node.wire() as wire:
        fill(wire)
        assert not isinstance(wire.command("FUNCTION", "LOAD", LIBRARY), Error)
        for i in range(1500):
            wire.send(encode("SET", f"many:{i}", "v" * 5000))
        for i in range(1500):
            wire.reply()
    load = Load(node)
    wait_until(lambda: load.rounds > 50)
    redis = follow(node)
    begun = load.rounds
    wait_until(lambda: load.rounds > begun + 200, 30)
    load.end()
    wait_equal(node, redis)
    assert redis.r.execute_command("FUNCTION", "LIST")
    info = node.info("replication")
    assert info["connected_slaves"] == "1"
    assert "state=online" in info["slave0"] and f"port={redis.port}" in info["slave0"]
    assert not [name for name in os.listdir(node.dir) if name.startswith("follow-")]


def test_a_replica_that_comes_back_goes_on_where_it_was():
    node = Node().ready()
    redis = follow(node)
    load = Load(node)
    for _ in range(3):
        begun = load.rounds
        wait_until(lambda: load.rounds > begun + 30)
        assert node.r.execute_command("CLIENT", "KILL", "TYPE", "replica") == 1
        wait_until(lambda: role(redis)["master_link_status"] == "up" and node.info()["connected_slaves"] == "1", 20)
    load.end()
    wait_equal(node, redis)
    stats = node.info("stats")
    assert (stats["sync_full"], stats["sync_partial_err"]) == ("1", "0")
    assert int(stats["sync_partial_ok"]) >= 1
    assert role(redis)["master_replid"] == node.info("replication")["master_replid"]


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_keys_that_are_flushed_while_an_image_is_made(diskless):
    node = Node(repl_diskless_sync=diskless).ready()
    with node.wire(limit=30) as wire:
        for i in range(60):
            wire.send(b"".join(encode("SET", f"k:{i}:{j}", "v" * 200) for j in range(1000)))
        for i in range(60000):
            wire.reply()
    redis = RedisServer(replicaof=f"127.0.0.1 {node.port}").ready()
    for _ in range(3):
        wait_until(lambda: int(node.info("replication")["connected_slaves"]) > 0, 20)
        with node.wire() as wire:
            wire.command("FLUSHALL")
            wire.send(b"".join(encode("SET", f"k:{j}", "w") for j in range(1000)))
            for _ in range(1000):
                wire.reply()
    wait_until(lambda: role(redis)["master_link_status"] == "up", 30)
    wait_equal(node, redis)


def test_what_expires_or_is_evicted_is_told():
    node = Node(enable_debug_command="yes").ready()
    redis = follow(node)
    for i in range(50):
        node.r.set(f"k{i}", "v", px=50)
    wait_until(lambda: node.r.dbsize() == 0)
    wait_until(lambda: redis.r.dbsize() == 0, 10, "the replica to be told of what expired")
    for i in range(50):
        node.r.set(f"k{i}", "v")
    wait_until(lambda: redis.r.dbsize() == 50)
    node.r.config_set("maxmemory-policy", "allkeys-random")
    node.r.config_set("maxmemory", 1)
    wait_until(lambda: redis.r.dbsize() == 0, 10, "the replica to be told of what was evicted")
    node.r.config_set("maxmemory", 0)


def test_redis_cli_takes_an_image_and_follows():
    node = Node().ready()
    with node.wire() as wire:
        fill(wire)
        assert not isinstance(wire.command("FUNCTION", "LOAD", LIBRARY), Error)
        ours = everything(wire)
    for diskless in ("yes", "no"):
        node.r.config_set("repl-diskless-sync", diskless)
        where = temp_dir("redis-cli")
        code, said = node.cli("--rdb", os.path.join(where, "dump.rdb"))
        assert code == 0, said
        redis = RedisServer(dir=where).ready()
        with redis.wire() as wire:
            same(everything(wire), ours)
        assert redis.r.execute_command("FUNCTION", "LIST")
        code, said = node.cli("--functions-rdb", os.path.join(where, "functions.rdb"))
        assert code == 0, said
        with open(os.path.join(where, "functions.rdb"), "rb") as file:
            image = file.read()
        assert b"redis.register_function" in image and b"hello" not in image
    wait_until(lambda: node.info("replication")["connected_slaves"] == "0")
    cli = subprocess.Popen(["redis-cli", "-p", str(node.port), "--replica"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: "state=online" in node.info("replication").get("slave0", ""), 20)
        node.r.set("told", "value")
        line = b""
        while b"told" not in line:
            line = cli.stdout.readline()
            assert line
        assert b'"value"' in line
    finally:
        cli.kill()
        cli.wait()


class Stream:
    """A follower by hand."""

    def __init__(self, node):
        self.wire = node.wire(limit=20)
        self.wire.send("SYNC\r\n")
        line = b""
        while not line:
            line = self.wire.line()
        size = int(line[1:])
        while len(self.wire.buffer) < size:
            self.wire._more()  # pylint: disable=protected-access
        self.wire.buffer = self.wire.buffer[size:]


SCRIPT = "redis.call('incr', KEYS[1]); redis.call('spop', 'none'); return redis.call('rpush', KEYS[2], ARGV[1])"
TALK = [
    # (client, words); None: wait until that client is blocked
    (0, "MSET a 1 b 2 c 3"), (0, "SELECT 3"), (0, "SET a 1 EX 1000"), (0, "SELECT 0"), (0, "MULTI"), (0, "INCR a"),
    (0, "SELECT 2"), (0, "INCR a"), (0, "GET a"), (0, "EXEC"), (0, "SELECT 0"), (0, ["EVAL", SCRIPT, "2", "n", "l", "x"]),
    (0, ["EVAL", "return redis.call('set', KEYS[1], 'v')", "1", "s"]), (0, ["EVAL", "return redis.call('get', KEYS[1])", "1", "s"]),
    (0, ["EVAL", "redis.call('set', KEYS[1], 'v'); return redis.call('nothing')", "1", "s"]),
    (1, "BLPOP list 0"), (1, None), (2, "BRPOP list 0"), (2, None), (0, "RPUSH list 1 2 3"),
    (1, "BLMOVE list other LEFT RIGHT 0"), (1, "BLMOVE list other LEFT RIGHT 0"), (1, None), (0, "LPUSH list y"),
    (1, "BRPOPLPUSH list other 0"), (1, None), (0, "MULTI"), (0, "LPUSH list z"), (0, "SET done 1"), (0, "EXEC"),
    (1, "BZPOPMIN zset 0"), (1, None), (2, "BZMPOP 0 1 zset MAX COUNT 2"), (2, None), (0, "ZADD zset 1 a 2 b 3 c 4 d"),
    (0, "XGROUP CREATE stream g $ MKSTREAM"), (1, "XREADGROUP GROUP g c BLOCK 0 STREAMS stream >"), (1, None), (0, "XADD stream 5-1 f v"),
    (0, "XADD stream 6-1 f v"), (0, "XREADGROUP GROUP g c NOACK STREAMS stream >"), (0, "XAUTOCLAIM stream g d 0 -"), (0, "XCLAIM stream g e 0 5-1 LASTID 9-9"),
    (0, "XADD trimmed MAXLEN ~ 1 5 f v"), (0, "XADD trimmed MAXLEN ~ 1 6-* f v"), (0, "XACK stream g 5-1"), (0, "PUBLISH channel message"), (0, "SPUBLISH channel message"), (0, ["FUNCTION", "LOAD", LIBRARY]),
    (0, ["FUNCTION", "LOAD", "REPLACE", LIBRARY]), (0, "FCALL answer 0"), (0, "FUNCTION DELETE lib"), (0, "FUNCTION FLUSH"), (0, "SWAPDB 0 3"), (0, "MOVE c 5"),
    (0, "COPY a copy DB 4 REPLACE"), (0, "RENAME a b"), (0, "RENAMENX b d"), (0, "SETRANGE d 5 x"), (0, "SETEX e 1000 v"), (0, "PERSIST e"),
    (0, "SORT l STORE sorted"), (0, "SADD set 1 2 3"), (0, "SPOP set 3"), (0, "GEOADD geo 1 1 m"), (0, "GEOSEARCHSTORE near geo FROMLONLAT 1 1 BYRADIUS 5 km"),
    (0, "PFADD hll a b"), (0, "PFCOUNT hll"), (0, "BITOP NOT e d"), (0, "FLUSHDB ASYNC"), (0, "WATCH a"), (0, "MULTI"), (0, "SET a 1"), (0, "DISCARD"),
    (0, "SCRIPT LOAD return"), (0, "CONFIG SET lazyfree-lazy-user-del yes"), (0, "SET a 1"), (0, "GETDEL a"), (0, "SET a 1"), (0, "DEL a"), (0, "FLUSHALL"), (0, "SET last 1"),
]


def told(server):
    """What a server tells its followers of TALK."""
    stream = Stream(server)
    clients = [server.wire() for _ in range(3)]
    waits = {}
    for who, words in TALK:
        if words is None:
            wait_until(lambda: int(server.info("clients")["blocked_clients"]) == len(waits))
            continue
        words = words if isinstance(words, list) else words.split(" ")
        if words[0].startswith("B") and words[0] != "BITOP" or "BLOCK" in words:
            clients[who].send(encode(*words))
            waits[who] = words
            continue
        clients[who].command(*words)
        if words[0] in ("RPUSH", "LPUSH", "ZADD", "XADD", "EXEC"):
            for other in list(waits):
                wait_until(lambda: int(server.info("clients")["blocked_clients"]) < len(waits) + 1)
                clients[other].reply()
                del waits[other]
    said = []
    while not said or b"last" not in said[-1]:
        said.append([word.lower() for word in stream.wire.reply()])
    return [["*" if word.isdigit() and len(word) == 13 else word for word in words] for words in said]


def test_the_stream_is_that_of_redis():
    redis = RedisServer(enable_debug_command="yes", repl_diskless_sync="no").ready()
    node = Node(enable_debug_command="yes").ready()
    assert told(node) == told(redis)
    logging = Node(enable_debug_command="yes", appendonly="yes").ready()
    assert told(logging) == told(redis)


def test_one_that_does_not_read_is_ended():
    node = Node(client_output_buffer_limit="replica 2mb 1mb 60").ready()
    stream = Stream(node)
    assert node.info("replication")["connected_slaves"] == "1"
    assert " flags=S " in node.cli("CLIENT", "LIST", "TYPE", "replica")[1]
    with node.wire() as wire:
        wait_until(lambda: [wire.command("SET", "k", "v" * 100000), node.info("replication")["connected_slaves"]][1] == "0", 30)
    with pytest.raises(Closed):
        while True:
            stream.wire.reply()
    assert int(node.info("stats")["client_output_buffer_limit_disconnections"]) >= 1


def test_signs_of_life_and_silence():
    node = Node(repl_ping_replica_period=1, repl_timeout=2).ready()
    stream = Stream(node)
    assert stream.wire.reply() == [b"PING"]
    assert stream.wire.reply() == [b"PING"]
    with node.wire() as wire:  # by PSYNC one must acknowledge
        assert wire.command("REPLCONF", "listening-port", 7, "ip-address", "10.0.0.1", "capa", "psync2") == b"OK"
        wire.send(encode("PSYNC", "?", -1))
        with pytest.raises(Closed):
            while True:
                wire.socket.settimeout(20 * PATIENCE)
                wire._more()  # pylint: disable=protected-access
    assert "acknowledges nothing" in node.output()


def test_who_says_what_it_must_not():
    node = Node().ready()
    with node.wire() as wire:
        for words in (
            ["REPLCONF", "listening-port"], ["REPLCONF", "listening-port", "x"], ["REPLCONF", "listening-port", "70000"],
            ["REPLCONF", "rdb-only", "2"], ["REPLCONF", "rdb-filter-only", "keys"], ["REPLCONF", "nonsense", "1"],
            ["REPLCONF", "ip-address", "x" * 70000], ["REPLCONF", "ip-address", b"a\x00b"], ["REPLCONF", "nonsense" * 1000, "1"],
            ["PSYNC", "?", "x"], ["PSYNC", "?", "-1", "FAILOVER"], ["PSYNC", "?"], ["SYNC", "x"],
        ):
            assert isinstance(wire.command(*words), Error), words
        assert wire.command("REPLCONF") == b"OK"
        wire.send(encode("REPLCONF", "ACK", 1 << 62) + encode("REPLCONF", "ACK", "x") + encode("REPLCONF", "GETACK", "*") + encode("PING"))
        assert wire.reply() == b"PONG"
        wire.command("MULTI")
        assert isinstance(wire.command("PSYNC", "?", -1), Error)
        wire.command("DISCARD")
        # An image at a place that never was, an id that is none.
        wire.send(encode("PSYNC", "f" * 40, 1 << 60))
        line = b""
        while not line:
            line = wire.line()
        assert line.startswith(b"+FULLRESYNC ")
    assert node.r.wait(1, 10) == 0
    for words in (["GET", "x"], ["SET", "x", "y"], ["PING"], ["SUBSCRIBE", "x"], ["MONITOR"]):
        stream = Stream(node)
        stream.wire.send(encode(*words))
        with pytest.raises(Closed):
            stream.wire.reply()
    assert node.r.get("x") is None
    stream = Stream(node)
    stream.wire.send(encode("SYNC"))  # it is one already
    node.r.set("x", "y")
    assert [stream.wire.reply(), stream.wire.reply()] == [[b"SELECT", b"0"], [b"SET", b"x", b"y"]]
    stream.wire.send(encode("REPLCONF", "ACK", 1 << 60))
    wait_until(lambda: node.r.wait(1, 1) == 1)  # what was acknowledged counts up to the end, and no further
    node.r.set("x", "z")
    assert node.r.wait(1, 50) == 0
    said = stream.wire.reply()
    while said == [b"REPLCONF", b"GETACK", b"*"]:
        said = stream.wire.reply()
    assert said == [b"SET", b"x", b"z"]
    assert stream.wire.reply() == [b"REPLCONF", b"GETACK", b"*"]


def test_writes_are_refused_while_too_few_follow():
    node = Node(min_replicas_to_write=1, min_replicas_max_lag=3).ready()
    with node.wire() as wire:
        assert wire.command("SET", "x", 1) == "NOREPLICAS Not enough good replicas to write."
        assert wire.command("GET", "x") is None
        wire.command("MULTI")
        assert wire.command("SET", "x", 1) == "NOREPLICAS Not enough good replicas to write."
        assert wire.command("EXEC").startswith("EXECABORT")
        redis = follow(node)
        assert wire.command("SET", "x", 1) == b"OK"
        wire.command("MULTI")
        wire.command("SET", "x", 2)
        redis.kill()
        wait_until(lambda: node.info("replication")["connected_slaves"] == "0")
        assert wire.command("EXEC").startswith("EXECABORT Transaction discarded because of: NOREPLICAS")
        assert wire.command("GET", "x") == b"1"
        assert wire.command("CONFIG", "SET", "min-slaves-to-write", 0) == b"OK"
        assert wire.command("SET", "x", 3) == b"OK"


def test_by_the_proxy_nobody_follows():
    proxy = Proxy(local_nodes=1).ready()
    with proxy.wire() as wire:
        for words in (["SYNC"], ["PSYNC", "?", "-1"], ["REPLCONF", "capa", "eof"]):
            assert isinstance(wire.command(*words), Error), words
        assert wire.command("PING") == b"PONG"


def test_a_node_of_a_cluster_tells_of_its_own_shards():
    cluster = Cluster(min_nodes=2, shards=16, replication_factor=2)
    for name in "AB":
        cluster.start_node(name)
    cluster.wait_even()
    node = cluster.nodes["A"]
    with cluster.proxy.wire() as wire:
        for i in range(300):
            wire.command("SET", f"k{i}", i)
    redis = follow(node)
    with cluster.proxy.wire() as wire:
        for i in range(300, 600):
            wire.command("SET", f"k{i}", i)
    with node.wire() as wire:
        mine = wire.command("DBSIZE")
    assert 100 < mine < 500
    wait_until(lambda: redis.r.dbsize() == mine)
    # Shards come: it begins anew.
    cluster.nodes["B"].kill()
    cluster.wait_served(30)
    wait_until(lambda: redis.r.dbsize() == 600, 30)
    with cluster.proxy.wire() as wire:
        wire.command("FLUSHALL")
        wire.command("SET", "one", 1)
    wait_until(lambda: redis.r.dbsize() == 1, 30)
