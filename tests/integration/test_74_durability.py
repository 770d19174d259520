"""What is on disk: kill -9 under load and what is there afterwards, snapshots, damage, full disks,
dump.rdb in and out."""
import glob
import os
import random
import shutil
import subprocess
import threading

import pytest
import redis
from support.cluster import Cluster
from support.process import temp_dir
from support.programs import Node, Proxy, RedisServer, bin_path
from support.wait import wait_until
from support.wire import Error, encode

KEYS = 500
LIVES = int(os.environ.get("TEST_KILLS", 6))  # of the node that is killed under load


def durable_node(directory, **options):
    settings = {"appendonly": "yes", "enable_debug_command": "yes"}
    settings.update(options)
    return Node(directory=directory, **settings).ready(limit=30)


def fill(server, keys=KEYS, seed=1):
    """Some of every kind of write; the keyspace's digest afterwards."""
    rng = random.Random(seed)
    pipe = server.r.pipeline(transaction=False)
    for i in range(keys):
        key = f"key:{rng.randrange(keys)}"
        pipe.set(key, "x" * rng.randrange(300))
        pipe.append(f"log:{i % 7}", f"{i},")
        pipe.incr("counter")
        if i % 5 == 0:
            pipe.expire(key, 1000 + i)
        if i % 11 == 0:
            pipe.delete(f"key:{rng.randrange(keys)}")
    pipe.set("big", "y" * 700000)
    pipe.execute()
    return digest(server)


def digest(server):
    return server.r.execute_command("DEBUG", "DIGEST")


def data_files(server, pattern):
    return sorted(glob.glob(os.path.join(server.dir, "shoal-data", pattern)))


# --- kill -9 ---


class Writers:
    """Clients that write and note what was acknowledged."""

    def __init__(self, server, n=4):
        self.server = server
        self.acked = [0] * n  # of counter i: its last acknowledged value
        self.tried = [0] * n
        self.stop = False
        self.threads = [threading.Thread(target=self._write, args=(i,)) for i in range(n)]
        for thread in self.threads:
            thread.start()

    def _write(self, i):
        client = self.server.client()
        try:
            while not self.stop:
                self.tried[i] += 1
                with client.pipeline(transaction=False) as pipe:
                    pipe.set(f"w{i}:{self.tried[i]}", self.tried[i])
                    pipe.set(f"last:{i}", self.tried[i])
                    pipe.execute()
                self.acked[i] = self.tried[i]
        except redis.RedisError:
            pass

    def join(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_killed_under_load(policy):
    """The process dies, not the machine: nothing that was acknowledged is missing, whatever the
    policy, because the log is written before replies leave."""
    directory = temp_dir("durable")
    server = durable_node(directory, appendfsync=policy, auto_aof_rewrite_min_size="100kb")
    for life in range(LIVES):
        writers = Writers(server)
        wait_until(lambda w=writers: min(w.acked) > 50 * (1 + life % 3), 20, "writes")
        server.kill()
        writers.join()
        server.start()
        server.ready(limit=30)
        for i, acked in enumerate(writers.acked):
            last = int(server.r.get(f"last:{i}"))
            assert acked <= last <= writers.tried[i]
            values = server.r.mget([f"w{i}:{n}" for n in range(1, acked + 1)])
            assert values == [str(n) for n in range(1, acked + 1)]
        server.r.flushall()


def test_restart_is_exact():
    server = durable_node(temp_dir("durable"), appendfsync="everysec", log_segment_size="64kb")
    for seed in range(4):
        before = fill(server, seed=seed)
        if seed == 1:
            server.r.bgrewriteaof()
            wait_until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", 30, "snapshots")
            assert int(server.info()["log_segments"]) <= 2
        if seed == 2:
            server.r.flushdb()
            server.r.set("after", "the flush")
            server.r.swapdb(0, 3)
            server.client(db=3).set("in", "3")
            before = digest(server)
        server.kill() if seed % 2 else server.stop()
        server.start()
        server.ready(limit=30)
        assert digest(server) == before
        assert server.info()["aof_enabled"] == "1"


def test_snapshots_while_written_to():
    """The log is cut again and again while everything changes; a restart finds the last state."""
    server = durable_node(temp_dir("durable"), auto_aof_rewrite_min_size="200kb", log_segment_size="64kb",
                          auto_aof_rewrite_percentage=1)
    rng = random.Random(3)
    for _ in range(3):
        for seed in range(12):
            before = fill(server, keys=800, seed=rng.randrange(1 << 30))
        info = server.info()
        assert info["snapshot_failures"] == "0"
        server.kill()
        server.start()
        server.ready(limit=30)
        assert digest(server) == before
    assert len(data_files(server, "shard.?????")) > 5


# --- damage ---


def damaged(path, at, bit=3):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def start_fails(directory, *more):
    done = subprocess.run(
        [bin_path("shoal-node"), "--port", "0", "--dir", directory, "--stand-alone", "yes", "--appendonly",
         "yes", *more],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True, check=False)
    return done.returncode, done.stdout


def test_torn_tail_is_cut():
    server = durable_node(temp_dir("durable"))
    fill(server)
    server.r.set("a", "1")
    before = digest(server)
    log = data_files(server, "log.*")[-1]
    size = os.path.getsize(log)
    server.r.set("b", "2")
    server.kill()
    os.truncate(log, size + 3)  # within what came next, be it this or the second's clock
    server.start()
    server.ready(limit=30)
    assert digest(server) == before
    assert "torn" in server.output()


def test_damage_is_told_and_not_served():
    server = durable_node(temp_dir("durable"))
    fill(server)
    before = digest(server)
    server.stop()
    log = data_files(server, "log.*")[0]
    whole = server.dir + "-whole"
    shutil.copytree(os.path.join(server.dir, "shoal-data"), whole)
    damaged(log, os.path.getsize(log) // 2)
    code, text = start_fails(server.dir)
    assert code == 1 and "damaged" in text and "recover-damaged" in text
    # By the operator's word it starts with what is left, and is whole from then on.
    again = durable_node(server.dir, recover_damaged="yes")
    kept = digest(again)
    assert again.r.get("big") is None  # it was written last
    again.kill()
    again = durable_node(server.dir)
    assert digest(again) == kept
    again.stop()
    shutil.rmtree(os.path.join(server.dir, "shoal-data"))
    shutil.move(whole, os.path.join(server.dir, "shoal-data"))
    again = durable_node(server.dir)
    assert digest(again) == before


def test_damaged_and_missing_snapshots_are_told():
    server = durable_node(temp_dir("durable"))
    fill(server)
    server.r.bgrewriteaof()
    wait_until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", 30, "snapshots")
    server.r.set("x", "y")
    server.stop()
    snapshot = data_files(server, "shard.?????")[3]
    damaged(snapshot, os.path.getsize(snapshot) // 2)
    code, text = start_fails(server.dir)
    assert code == 1 and os.path.basename(snapshot) in text
    os.remove(snapshot)
    code, text = start_fails(server.dir)
    assert code == 1 and "not there any more" in text


def test_one_process_a_folder():
    server = durable_node(temp_dir("durable"))
    code, text = start_fails(server.dir)
    assert code == 1 and "another shoal-node" in text
    assert server.r.ping()


# --- a full disk ---


@pytest.fixture
def small_disk():
    """A folder with 3 MB of room."""
    path = temp_dir("small")
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "shoal", path],
                                           stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("may not mount a file system here")
    yield path
    subprocess.run(["umount", "-l", path], check=False)


def test_full_disk_refuses_writes_and_comes_back(small_disk):
    ballast = os.path.join(small_disk, "ballast")
    with open(ballast, "wb") as file:
        file.write(b"x" * 2000000)
    server = durable_node(small_disk, appendfsync="always", auto_aof_rewrite_percentage=0)
    n = 0
    with pytest.raises(redis.ResponseError, match="^MISCONF Errors writing to the AOF file: No space left"):
        writer = server.client(socket_timeout=3)
        while n < 4000:
            try:
                writer.set(f"k{n}", "v" * 1000)
            except redis.TimeoutError:  # the one that met the full disk is not acknowledged
                writer = server.client(socket_timeout=3)
                continue
            n += 1
    assert n > 300
    assert server.r.get("k5") == "v" * 1000
    with pytest.raises(redis.ResponseError, match="MISCONF"):
        server.r.incr("counter")
    os.remove(ballast)
    wait_until(lambda: server.info()["aof_last_write_status"] == "ok", 10, "the log to go on")
    assert server.r.set("after", "1")
    server.kill()
    server.start()
    server.ready()
    assert server.r.get("after") == "1"
    assert all(value == "v" * 1000 for value in server.r.mget([f"k{i}" for i in range(n)]))


def test_the_log_does_not_end_before_that_is_written_down(small_disk):
    """Else the node, started again, would claim that its log has all that it acknowledged."""
    server = durable_node(small_disk, appendfsync="no", auto_aof_rewrite_percentage=0)
    server.r.set("a", "1")
    ballast = os.path.join(small_disk, "ballast")
    with pytest.raises(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    server.r.config_set("appendonly", "no")
    wait_until(lambda: "cannot be switched off yet" in server.output(), 10, "the log to say why it goes on")
    assert server.info()["aof_enabled"] == "1"
    os.remove(ballast)
    wait_until(lambda: server.info()["aof_enabled"] == "0", 10, "the log to be off")
    assert server.r.set("b", "2")
    assert server.r.get("a") == "1"


@pytest.mark.parametrize("setting, value", [("appendfsync", "no"), ("appendonly", "no")])
def test_writes_that_wait_for_a_sync_do_not_wait_for_ever(setting, value):
    server = durable_node(temp_dir("durable"), appendfsync="always")
    with server.wire(limit=20) as wire:
        for n in range(100):
            wire.send(encode("SET", f"k{n}", "v") + encode("CONFIG", "SET", setting, value))
            assert [wire.reply(), wire.reply()] == [b"OK", b"OK"]
            assert wire.command("SET", f"k{n}", "w") == b"OK"
            server.r.config_set("appendfsync", "always")
            server.r.config_set("appendonly", "yes")


# --- dump.rdb ---


def test_dump_of_ours_is_read_by_redis():
    server = Node(enable_debug_command="yes").ready()
    fill(server)
    server.client(db=5).set("five", "12345")
    assert server.r.save()
    path = os.path.join(server.dir, "dump.rdb")
    check = subprocess.run(["redis-check-rdb", path], stdout=subprocess.PIPE, text=True, check=False)
    assert check.returncode == 0 and "looks OK" in check.stdout, check.stdout
    theirs = RedisServer(dbfilename="dump.rdb").ready()
    theirs.stop()
    shutil.copy(path, os.path.join(theirs.dir, "dump.rdb"))
    theirs.start()
    theirs.ready()
    assert theirs.r.dbsize() == server.r.dbsize()
    assert theirs.client(db=5).get("five") == "12345"
    for key in server.r.scan_iter(count=1000):
        assert theirs.r.get(key) == server.r.get(key)
        assert theirs.r.pexpiretime(key) == server.r.pexpiretime(key)


def test_dump_of_redis_is_read_by_us():
    theirs = RedisServer().ready()
    rng = random.Random(7)
    pipe = theirs.r.pipeline(transaction=False)
    for i in range(3000):
        pipe.set(f"k{i}", rng.choice(["x" * rng.randrange(2000), str(rng.randrange(1 << 40)), f"v{i}"]),
                 ex=rng.choice([None, 5000 + i]))
    pipe.execute()
    theirs.client(db=9).set("nine", "9")
    theirs.r.save()
    directory = temp_dir("imported")
    shutil.copy(os.path.join(theirs.dir, "dump.rdb"), directory)
    plain = Node(directory=directory).ready()
    logged = durable_node(temp_dir("durable"), import_rdb=os.path.join(theirs.dir, "dump.rdb"))
    for ours in plain, logged:
        assert ours.r.dbsize() == theirs.r.dbsize()
        assert ours.client(db=9).get("nine") == "9"
        for key in theirs.r.scan_iter(count=1000):
            assert ours.r.get(key) == theirs.r.get(key)
            assert ours.r.pexpiretime(key) == theirs.r.pexpiretime(key)
    # What was imported is kept like everything else.
    before = digest(logged)
    logged.kill()
    again = durable_node(logged.dir)
    assert digest(again) == before


def test_a_list_in_a_dump_is_served():
    theirs = RedisServer().ready()
    theirs.r.rpush("list", "a", "b")
    theirs.r.save()
    shutil.copy(os.path.join(theirs.dir, "dump.rdb"), directory := temp_dir("imported"))
    assert Node(directory=directory).ready().r.lrange("list", 0, -1) == ["a", "b"]


def test_save_commands():
    server = Node(enable_debug_command="yes").ready()
    before = fill(server)
    assert server.r.bgsave()
    wait_until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", 30, "BGSAVE")
    assert server.info()["rdb_last_bgsave_status"] == "ok"
    assert server.info()["rdb_changes_since_last_save"] == "0"
    assert server.r.lastsave() is not None
    with server.wire() as wire:
        assert wire.command("DEBUG", "RELOAD") == b"OK"
        assert wire.command("BGREWRITEAOF") == b"Background append only file rewriting started"
    assert digest(server) == before
    server.kill()
    server.start()
    server.ready()
    assert digest(server) == before


def test_save_points_and_shutdown():
    server = Node(enable_debug_command="yes", save="1 5").ready()
    server.r.mset({f"k{i}": i for i in range(10)})
    wait_until(lambda: server.info()["rdb_changes_since_last_save"] == "0", 20, "the save point")
    server.r.set("last", "word")
    with server.wire() as wire:
        wire.command("CONFIG", "SET", "save", "")
        wire.send(b"SHUTDOWN SAVE\r\n")
        assert server.wait() == 0
    server.start()
    server.ready()
    assert server.r.get("last") == "word"
    assert server.r.dbsize() == 11


def test_the_log_is_switched_on_and_off():
    server = Node(enable_debug_command="yes").ready()
    fill(server)
    server.r.config_set("appendonly", "yes")
    wait_until(lambda: (server.info()["aof_enabled"], server.info()["aof_rewrite_in_progress"]) == ("1", "0"),
               30, "the log to be on and whole")
    server.r.config_set("appendfsync", "always")
    server.r.set("logged", "1")
    before = digest(server)
    server.kill()
    again = durable_node(server.dir)  # the file says appendonly no, the command line yes
    assert digest(again) == before
    again.r.config_set("appendonly", "no")
    wait_until(lambda: again.info()["aof_enabled"] == "0", 10, "the log to be off")
    again.r.set("not", "logged")
    later = digest(again)
    again.r.save()
    again.kill()
    # The dump is the later state: with or without a log the node begins with it.
    for options in ({"appendonly": "no"}, {}):
        third = durable_node(server.dir, **options)
        assert digest(third) == later
        third.kill()
    third = durable_node(server.dir)
    third.r.set("once", "more")
    later = digest(third)
    third.kill()
    third = durable_node(server.dir)
    assert digest(third) == later


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_clients_do_not_notice_the_log_being_switched_on(policy):
    """A node alone serves in the very turn that its log begins in, and answers while shards get their
    first snapshots: none of many who never stop asking is refused."""
    server = Node(appendfsync=policy, enable_debug_command="yes").ready()
    fill(server)
    done = threading.Event()
    unexpected, rounds = [], []

    def ask(number):
        with server.wire() as wire:
            while not done.is_set():
                wire.send((encode("INCR", f"count:{number}") + encode("GET", "s1")) * 20)
                replies = [wire.reply() for _ in range(40)]
                unexpected.extend(reply for reply in replies if isinstance(reply, Error))
                rounds.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for on in ("yes", "no", "yes"):
            seen = len(rounds)
            server.r.config_set("appendonly", on)
            wanted = ("1" if on == "yes" else "0", "0")
            wait_until(lambda: (server.info()["aof_enabled"], server.info()["aof_rewrite_in_progress"]) == wanted,
                       30, f"appendonly to be {on}")
            if on == "yes":
                server.r.execute_command("DEBUG", "LOADAOF")
            wait_until(lambda: len(rounds) > seen + 8, 30, "everybody to have asked again")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not unexpected, unexpected[:3]
    counts = [server.r.get(f"count:{number}") for number in range(4)]
    assert counts == [str(20 * rounds.count(number)) for number in range(4)]
    server.kill()  # all is on disk, what was counted before the log was whole too
    again = durable_node(server.dir, appendfsync=policy)
    assert [again.r.get(f"count:{number}") for number in range(4)] == counts


# --- a cluster ---


def test_all_nodes_killed_at_once():
    """Both copies die and come back: with appendfsync always nothing acknowledged is missing."""
    cluster = Cluster(replication_factor=2, min_nodes=2)
    options = {"appendonly": "yes", "appendfsync": "always"}
    for name in "ab":
        cluster.start_node(name, **options)
    cluster.wait_served()
    proxy = cluster.proxy
    writers = Writers(proxy, n=3)
    wait_until(lambda: min(writers.acked) > 100, 30, "writes")
    for name in "ab":
        cluster.nodes[name].kill()
    writers.stop = True
    for name in "ab":
        cluster.start_node(name)
    cluster.wait_served(limit=60)
    writers.join()
    client = proxy.client(socket_timeout=30)
    for i, acked in enumerate(writers.acked):
        assert int(client.get(f"last:{i}")) >= acked
        values = [client.get(f"w{i}:{n}") for n in range(1, acked + 1)]
        assert values == [str(n) for n in range(1, acked + 1)]


def test_a_cluster_without_logs_is_saved():
    """SAVE through the proxy: every node writes its shards; all killed, they are there again."""
    # Nodes are not to be taken for dead where the machine is busy: this is not about failover.
    cluster = Cluster(replication_factor=2, min_nodes=2, heartbeat_interval="1s", lease="2s")
    for name in "ab":
        cluster.start_node(name)
    cluster.wait_served(limit=60)
    client = cluster.proxy.client(socket_timeout=30)
    for i in range(500):
        client.set(f"k{i}", i)


    def saved():
        try:
            before = client.lastsave()
            return client.save() and client.lastsave() >= before
        except redis.ResponseError as error:  # a machine so busy that nodes seem dead for a moment
            assert str(error).startswith("CLUSTERDOWN"), error
            return False

    wait_until(saved, 30, "every node to save")
    for name in "ab":
        cluster.nodes[name].kill()
    for name in "ab":
        cluster.start_node(name)
    cluster.wait_served(limit=60)
    again = cluster.proxy.client(socket_timeout=30)
    assert [again.get(f"k{i}") for i in range(500)] == [str(i) for i in range(500)]


def test_a_node_with_the_data_of_another_cluster_ends_and_says_why():
    proxies = [
        Proxy(min_nodes=1, replication_factor=1, assignment_delay="10ms").ready() for _ in range(2)
    ]
    first, second = [proxy.info("cluster")["shoal_coordinator"] for proxy in proxies]
    node = Node(coordinator=first, appendonly="yes").ready()
    wait_until(lambda: sets(proxies[0]), what="the node to serve")
    node.stop()
    stray = Node(coordinator=second, directory=node.dir, appendonly="yes")
    assert stray.wait() == 1
    assert "holds data of cluster" in stray.output()
    again = Node(coordinator=first, directory=node.dir, appendonly="yes").ready()
    wait_until(lambda: sets(proxies[0]), what="the node to serve again")
    assert again.alive() and proxies[0].r.get("a") == "1"


def sets(proxy):
    try:
        return proxy.r.set("a", "1")
    except redis.RedisError:
        return False
