"""Steps about copies of data, and about clients that go on while nodes come, go and die."""
import collections
import os
import subprocess
import threading

from behave import given, then, when
from cluster_steps import make, operator
from support.cluster import words
from support.wait import wait_until
from support.wire import Closed, Error, Wire

COORDINATOR_TEST = "tests/unit/proxy/coordinator/coordinator_test"


@given("a cluster of nodes {letters:Names} with replication factor {factor:d}")
def _(context, letters, factor):
    make(context, letters, replication_factor=factor)


@given("a cluster of nodes {letters:Names} that replaces copies after {delay:d} ms")
def _(context, letters, delay):
    make(context, letters, replica_replace_delay=f"{delay}ms")


@given("a cluster of nodes {letters:Names} without replicas that holds requests for {limit:d} ms")
def _(context, letters, limit):
    make(context, letters, replication_factor=1, failover_hold=f"{limit}ms")


@when("the replication factor is set to {factor:d}")
def _(context, factor):
    assert operator(context, "CONFIG", "SET", "replication-factor", str(factor)) == b"OK"


def copies(context):
    """By shard: {node: (version, keys)} of all that have it, as they say themselves."""
    found = collections.defaultdict(dict)
    for letter, node in context.cluster.nodes.items():
        if not node.alive():
            continue
        with node.wire(limit=5) as wire:
            text = wire.command("SHOAL", "SHARDS").decode()
        for row in map(words, text.splitlines()):
            if row["state"] in ("serve", "follow"):
                found[int(row["shard"])][letter] = (row["version"], row["keys"])
    return found


@then("every shard is on {count:d} nodes")
@then("every shard is on {count:d} node")
def _(context, count):
    """In sync, as recorded; and no node has one that it should not have."""

    def settled():
        rows = context.cluster.view.shards()
        if any(int(row["in-sync"]) != count or row["primary"] == "-" for row in rows):
            return False
        held = copies(context)
        return len(held) == len(rows) and all(len(on) == count for on in held.values())

    wait_until(settled, limit=40, what=f"every shard to be in sync on {count} nodes")


@then("both nodes of each shard have the same data")
def _(context):
    def same():
        held = copies(context)
        return all(len(on) == 2 and len(set(on.values())) == 1 for on in held.values())

    wait_until(same, limit=20, what="copies to be alike")


@then("the nodes hold {count:d} copies of keys together")
def _(context, count):
    held = copies(context)
    total = sum(int(keys) for on in held.values() for _, keys in on.values())
    assert total == count, total


def identity(context, letter):
    context.ids = getattr(context, "ids", {})
    row = context.cluster.row(letter)
    if row:
        context.ids[letter] = row["id"]
    return context.ids[letter]


@then("no shard's primary is on node {letter:Names}")
def _(context, letter):
    name = identity(context, letter[0])

    def moved():
        rows = context.cluster.view.shards()
        return all(row["primary"] not in ("-", name) for row in rows)

    wait_until(moved, limit=20, what="primaries elsewhere")


@then("no shard is on node {letter:Names}")
def _(context, letter):
    name = identity(context, letter[0])

    def gone():
        rows = context.cluster.view.shards()
        return all(name not in row["replicas"] and row["primary"] != name for row in rows)

    wait_until(gone, limit=40, what="its copies to be gone")


# ---- the virtual clock ----


@given("a coordinator with default settings on a virtual clock")
def _(context):
    """The coordinator's core alone, driven by its unit test."""
    where = os.path.abspath(os.environ.get("SHOAL_BIN", "../../build"))
    if os.path.basename(where) == "build":
        where = os.path.join(where, "release")  # only the programs themselves lie in build
    context.test = os.path.join(where, COORDINATOR_TEST)
    if not os.path.exists(context.test):
        root = os.path.abspath("../..")
        kind = ["DEV=1"] if os.path.basename(where) == "dev" else []
        target = os.path.relpath(context.test, root)
        subprocess.run(["make", "-s", *kind, target], cwd=root, check=True)


@when("a node stops its heartbeats")
def _(context):
    done = subprocess.run([context.test], capture_output=True, text=True, check=False)
    context.ran = done.stdout + done.stderr


@then("it is unhealthy after {some:d} s and dead after {more:d} s, and replicas in sync have its shards")
def _(context, some, more):
    name = f"test_default_timing_unhealthy_after_{some}_s_dead_after_{more}_s_and_back"
    assert f"[       OK ] {name}" in context.ran, context.ran[-2000:]


# ---- reads ----


def reads_of(context):
    counts = {}
    for letter, node in context.cluster.nodes.items():
        text = node.info("commandstats").get("cmdstat_get", "calls=0")
        counts[letter] = int(words(text.replace(",", " "))["calls"])
    return counts


@when("each key of node {letter:Names} is read {count:d} times")
def _(context, letter, count):
    keys = context.cluster.keys_of(letter[0], 10)
    with context.cluster.proxy.wire() as wire:
        for key in keys:
            assert wire.command("SET", key, "v-" + key) == b"OK"
        before = reads_of(context)
        for _ in range(count):
            for key in keys:
                assert wire.command("GET", key) == b"v-" + key.encode()
    after = reads_of(context)
    context.served = {name for name in after if after[name] > before[name]}


@then("more than one node served those reads")
def _(context):
    assert len(context.served) > 1, context.served


@then("only node {letter:Names} served those reads")
def _(context, letter):
    assert context.served == {letter[0]}, context.served


@when("{count:d} clients write counters and other clients read each at once")
def _(context, count):
    context.stale = []
    port = context.cluster.proxy.port

    def run(number):
        key = f"seen:{number}"
        with Wire(port, limit=60) as writer, Wire(port, limit=60) as reader:
            for value in range(1, 400):
                assert writer.command("SET", key, value) == b"OK"
                got = int(reader.command("GET", key))
                if got < value:
                    context.stale.append((key, value, got))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@then("no read was older than the write that was answered before it")
def _(context):
    assert not context.stale, context.stale[:5]


# ---- load ----


class Counters:
    """Clients that increment counters of their own and compare each answer with their count."""

    def __init__(self, port, count, clients=4):
        self.port = port
        self.stop_now = threading.Event()
        self.errors = []
        self.counts = {f"count:{number}": 0 for number in range(count)}
        keys = list(self.counts)
        self.threads = [
            threading.Thread(target=self.run, args=(keys[number::clients],)) for number in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, keys):
        try:
            with Wire(self.port, limit=60) as wire:
                while not self.stop_now.is_set():
                    for key in keys:
                        reply = wire.command("INCR", key)
                        if isinstance(reply, Error) or reply != self.counts[key] + 1:
                            self.errors.append((key, self.counts[key], reply))
                            return
                        self.counts[key] = reply
        except (Closed, OSError) as error:
            self.errors.append(error)

    def total(self):
        return sum(self.counts.values())

    def goes_on(self):
        target = self.total() + 200
        wait_until(lambda: self.total() >= target or self.errors, limit=30, what="clients to go on")

    def stop(self):
        self.stop_now.set()
        for thread in self.threads:
            thread.join()


@when("clients increment {count:d} counters")
def _(context, count):
    context.counters = Counters(context.cluster.proxy.port, count)
    context.add_cleanup(context.counters.stop)
    context.counters.goes_on()


@then("the clients go on")
def _(context):
    context.counters.goes_on()


@when("the clients stop")
def _(context):
    context.counters.goes_on()
    context.counters.stop()


@then("no client got an error")
def _(context):
    assert not context.counters.errors, context.counters.errors[:5]


@then("every counter is what was acknowledged")
def _(context):
    with context.cluster.proxy.wire() as wire:
        for key, count in context.counters.counts.items():
            assert wire.command("GET", key) == str(count).encode(), key


@when("the operator hands over what node {letter:Names} is primary of")
def _(context, letter):
    assert operator(context, "CLUSTER", "FAILOVER", identity(context, letter[0])) == b"OK"


@when("the proxy is killed and comes back")
def _(context):
    context.cluster.proxy.kill()
    context.cluster.proxy.start()
    context.cluster.proxy.ready()
    context.cluster.wait_served()
