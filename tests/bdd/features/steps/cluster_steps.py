"""Steps that build a cluster, disturb it and look at its assignment."""
import random
import re

from behave import given, register_type, then, use_step_matcher, when
from parse import with_pattern
from support.cluster import Cluster, slot_of
from support.wait import wait_until
from support.wire import Error


@with_pattern(r"[A-H](?:(?:, | and )[A-H])*")
def names(text):
    """"A, B and C" """
    return re.findall(r"[A-H]", text)


register_type(Names=names)
use_step_matcher("parse")


def join_all(context, letters):
    for letter in letters:
        context.cluster.start_node(letter)


def make(context, letters, **options):
    options.setdefault("min_nodes", len(letters))
    context.cluster = Cluster(**options)
    join_all(context, letters)
    context.cluster.wait_even()


@given("a proxy that waits for {count:d} nodes")
def _(context, count):
    context.cluster = Cluster(min_nodes=count)


@given("a cluster of nodes {letters:Names}")
def _(context, letters):
    make(context, letters)


@given("a cluster of nodes {letters:Names} without rebalancing on join")
def _(context, letters):
    make(context, letters, rebalance_on_join="no")


@given("a cluster of nodes {letters:Names} with a heartbeat every {interval:d} ms")
def _(context, letters, interval):
    make(context, letters, heartbeat_interval=f"{interval}ms")


@given("a cluster of nodes {letters:Names} that holds requests for {limit:d} ms")
def _(context, letters, limit):
    make(context, letters, failover_hold=f"{limit}ms")


@when("node {letters:Names} joins")
@when("nodes {letters:Names} join")
def _(context, letters):
    join_all(context, letters)
    for letter in letters:
        wait_until(
            lambda who=letter: context.cluster.state(who) == "healthy",
            what=f"node {letter} to be healthy",
        )


@when("node {letter:Names} joins with weight {weight:d}")
def _(context, letter, weight):
    context.cluster.start_node(letter[0], weight=weight)


@when("{count:d} nodes join {how}")
def _(context, count, how):
    letters = list("ABCDEFGH"[:count])
    if how == "in reverse order":
        letters.reverse()
    elif how == "in a random order":
        random.shuffle(letters)
        print("order:", letters)
    for letter in letters:
        context.cluster.start_node(letter)
        if how != "at once":
            # One after the other: the next starts when the coordinator knows this one.
            wait_until(lambda who=letter: context.cluster.state(who) == "healthy")
    if how == "with pauses between":
        assert len(context.cluster.view.nodes()) == count


@then("every shard has one primary")
def _(context):
    context.cluster.wait_served()
    shards = context.cluster.view.shards()
    assert len(shards) == 128
    covered = []
    for shard in shards:
        first, last = (int(slot) for slot in shard["slots"].split("-"))
        covered.extend(range(first, last + 1))
    assert sorted(covered) == list(range(16384))


@then("the shards are spread evenly")
def _(context):
    context.cluster.wait_even()


@then("the shards of the others are spread evenly")
def _(context):
    counts = context.cluster.view.primary_counts()
    assert max(counts.values()) - min(counts.values()) <= 1, counts


@then("each node says itself that it holds exactly the shards that the proxy shows")
def _(context):
    cluster = context.cluster
    for letter, node in cluster.nodes.items():
        mine = cluster.row(letter)["id"]
        shown = set()
        for shard in cluster.view.shards():
            if shard["primary"] == mine:
                first, last = (int(slot) for slot in shard["slots"].split("-"))
                shown.update(range(first, last + 1))

        def holds(node=node):
            with node.wire() as wire:
                text = wire.command("CLUSTER", "NODES").decode()
            (line,) = [line for line in text.splitlines() if "myself" in line]
            slots = set()
            for part in line.split()[8:]:
                ends = [int(slot) for slot in part.split("-")]
                slots.update(range(ends[0], ends[-1] + 1))
            return slots == shown

        wait_until(holds, what=f"node {letter} to hold what the proxy shows")


@then("node {letter:Names} has no shards")
def _(context, letter):
    wait_until(lambda: context.cluster.row(letter[0])["primary"] == "0", what="its shards to be gone")


@then("no node has a shard")
def _(context):
    assert {row["primary"] for row in context.cluster.view.nodes().values()} == {"0"}


@then("the cluster's state tells how many nodes it waits for")
def _(context):
    with context.cluster.proxy.wire() as wire:
        info = b"\n".join(wire.command("PROXY", "INFO")).decode()
    why = re.search(r'why="([^"]*)"', info)
    assert why and "3" in why.group(1), info


@then("node {one:Names} has twice the shards of node {other:Names}, within 1")
def _(context, one, other):
    first, second = (int(context.cluster.row(letter[0])["primary"]) for letter in (one, other))
    assert abs(first - 2 * second) <= 2 and second > 0, (first, second)


@when("{count:d} keys are written to each node directly")
def _(context, count):
    context.replies = {}
    for letter, node in context.cluster.nodes.items():
        with node.wire() as wire:
            for i in range(count):
                context.replies[letter, f"key:{i}"] = wire.command("SET", f"key:{i}", letter)


def primary_of(context, key):
    """Letter of the node that the proxy shows as the key's primary."""
    slot = slot_of(key)
    for shard in context.cluster.view.shards():
        first, last = (int(x) for x in shard["slots"].split("-"))
        if first <= slot <= last:
            for letter in context.cluster.nodes:
                if context.cluster.row(letter)["id"] == shard["primary"]:
                    return letter
    return None


def owners(context, keys):
    """primary_of for many keys, with one look at the cluster."""
    ids = {context.cluster.row(letter)["id"]: letter for letter in context.cluster.nodes}
    by_slot = {}
    for shard in context.cluster.view.shards():
        first, last = (int(x) for x in shard["slots"].split("-"))
        for slot in range(first, last + 1):
            by_slot[slot] = ids.get(shard["primary"])
    return {key: by_slot[slot_of(key)] for key in keys}


@then("each key was taken by its shard's primary only")
def _(context):
    keys = {key for _, key in context.replies}
    owner = owners(context, keys)
    for (letter, key), reply in context.replies.items():
        if letter == owner[key]:
            assert reply == b"OK", (letter, key, reply)
        else:
            assert isinstance(reply, Error), (letter, key, reply)
    for letter, node in context.cluster.nodes.items():
        assert node.r.dbsize() == sum(who == letter for who in owner.values())


@then("the others answered where it lives")
def _(context):
    owner = owners(context, {key for _, key in context.replies})
    for (letter, key), reply in context.replies.items():
        if letter != owner[key]:
            port = context.cluster.nodes[owner[key]].port
            assert reply == f"MOVED {slot_of(key)} 127.0.0.1:{port}", reply


@when("{count:d} keys are written through the proxy")
@given("{count:d} keys")
def _(context, count):
    context.keys = [f"key:{i}" for i in range(count)]
    with context.cluster.proxy.client() as client:
        client.mset({key: "v-" + key for key in context.keys})


@then("each key is on its shard's two nodes and on no other")
def _(context):
    def settled():
        return all(row["in-sync"] == "2" for row in context.cluster.view.shards())

    wait_until(settled, what="copies to be in sync")
    ids = {context.cluster.row(letter)["id"]: letter for letter in context.cluster.nodes}
    on = {}
    for shard in context.cluster.view.shards():
        members = [shard["primary"]] + [one.split(":")[0] for one in shard["replicas"].split(",")]
        assert len(members) == 2, shard
        on[int(shard["shard"])] = {ids[member] for member in members}
    expected = {letter: 0 for letter in context.cluster.nodes}
    for key in context.keys:
        for letter in on[slot_of(key) * len(on) // 16384]:
            expected[letter] += 1
    for letter, node in context.cluster.nodes.items():
        with node.wire() as wire:
            text = wire.command("SHOAL", "SHARDS").decode()
        held = sum(int(re.search(r"keys=(\d+)", line).group(1)) for line in text.splitlines())
        assert held == expected[letter], (letter, held, expected)


@when("a key is written to node {letter:Names} directly")
def _(context, letter):
    with context.cluster.nodes[letter[0]].wire() as wire:
        context.reply = wire.command("SET", "a", "1")


@then("node {letter:Names} answers with CLUSTERDOWN")
def _(context, letter):
    assert isinstance(context.reply, Error) and context.reply.startswith("CLUSTERDOWN"), context.reply


@then("node {letter:Names} has no keys")
def _(context, letter):
    assert context.cluster.nodes[letter[0]].r.dbsize() == 0


@then("a request is answered with CLUSTERDOWN")
def _(context):
    with context.cluster.proxy.wire(limit=30) as wire:
        reply = wire.command("GET", "a")
    assert isinstance(reply, Error) and reply.startswith("CLUSTERDOWN"), reply


@then("a request is answered")
def _(context):
    def answered():
        with context.cluster.proxy.wire() as wire:
            return wire.command("SET", "a", "1") == b"OK"

    wait_until(answered)


@then("a request for each node is answered")
def _(context):
    for letter in context.cluster.nodes:

        def answered(who=letter):
            (key,) = context.cluster.keys_of(who, 1, prefix="probe")
            with context.cluster.proxy.wire() as wire:
                return wire.command("SET", key, "1") == b"OK" and wire.command("GET", key) == b"1"

        wait_until(answered, what=f"node {letter} to serve")


@when("the proxy is killed and started again")
def _(context):
    cluster = context.cluster
    context.before = [(shard["shard"], shard["primary"]) for shard in cluster.view.shards()]
    cluster.proxy.kill()
    cluster.proxy.start()
    cluster.proxy.ready()


@then("every shard has the primary that it had before")
def _(context):
    cluster = context.cluster
    for letter in cluster.nodes:
        wait_until(lambda who=letter: cluster.state(who) == "healthy")
    now = [(shard["shard"], shard["primary"]) for shard in cluster.view.shards()]
    assert now == context.before


@then("all {count:d} keys are there")
def _(context, count):
    with context.cluster.proxy.client() as client:
        assert len(context.keys) == count
        values = wait_until(lambda: client.mget(context.keys), what="an MGET without an error")
    assert values == ["v-" + key for key in context.keys]


@then("the proxy no longer shows node {letter:Names}")
def _(context, letter):
    assert context.cluster.nodes[letter[0]].port not in context.cluster.view.nodes()


def identity(context, letter):
    return context.cluster.row(letter)["id"]


def operator(context, *command):
    with context.cluster.proxy.wire() as wire:
        return wire.command(*command)


@when("node {letter:Names} is drained")
def _(context, letter):
    cluster = context.cluster
    context.homes_before = {shard["shard"]: shard["primary"] for shard in cluster.view.shards()}
    context.drained = identity(context, letter[0])
    assert operator(context, "CLUSTER", "DRAIN", context.drained) == b"OK"


@when("the drain of node {letter:Names} is cancelled")
def _(context, letter):
    assert operator(context, "CLUSTER", "DRAIN", identity(context, letter[0]), "CANCEL") == b"OK"


@when("node {letter:Names} is forgotten")
def _(context, letter):
    assert operator(context, "CLUSTER", "FORGET", identity(context, letter[0])) == b"OK"


@when("the operator forgets node {letter:Names}")
def _(context, letter):
    context.reply = operator(context, "CLUSTER", "FORGET", identity(context, letter[0]))


@then("the operator is told to drain it first")
def _(context):
    assert isinstance(context.reply, Error) and "DRAIN" in context.reply, context.reply


@then("no shard moved but those of node {letter:Names}")
def _(context, letter):
    for shard in context.cluster.view.shards():
        before = context.homes_before[shard["shard"]]
        assert shard["primary"] == before or before == context.drained


@when("the operator {verb} a rebalance")
@when("the operator {verb} the rebalance")
def _(context, verb):
    word = {"starts": "START", "pauses": "PAUSE", "resumes": "RESUME", "cancels": "CANCEL"}[verb]
    reply = operator(context, "CLUSTER", "REBALANCE", word)
    assert isinstance(reply, bytes) and reply.startswith(b"OK"), reply


def status(context):
    lines = context.cluster.view.ask("CLUSTER", "REBALANCE", "STATUS")
    return [dict(word.split("=", 1) for word in line.split()) for line in lines]


@then("the plan moves {count:d} shards, all of them to node {letter:Names}")
def _(context, count, letter):
    lines = context.cluster.view.ask("CLUSTER", "REBALANCE", "PLAN")
    assert re.search(rf"\bmoves={count}\b", lines[0]), lines[0]
    moves = [line for line in lines if line.startswith("shard=")]
    assert len(moves) == count
    target = identity(context, letter[0])
    assert all(f" to={target}" in line for line in moves)


@then("the plan is empty")
def _(context):
    first = context.cluster.view.ask("CLUSTER", "REBALANCE", "PLAN")[0]
    assert re.search(r"\bmoves=0\b", first), first


@then("the rebalance has nothing left to do")
def _(context):
    def done():
        row = status(context)[0]
        return row["active"] == "no" and row["left"] == "0" and int(row["done"]) > 0

    wait_until(done, what="the rebalance to be done")


@then("the rebalance is paused, with {count:d} shards planned")
def _(context, count):
    def paused():
        first, *rows = status(context)
        moves = [row for row in rows if row["from"] != row["to"]]
        waiting = all(row["state"] in ("planned", "waiting") for row in moves)
        return first["paused"] == "yes" and waiting and len(moves) == count

    wait_until(paused, what=f"{count} shards to be planned")


@then("the rebalance is not active")
def _(context):
    assert status(context)[0]["active"] == "no"


@then("each node holds between {low:d} and {high:d} percent of the keys")
def _(context, low, high):
    for node in context.cluster.nodes.values():
        assert low <= 100 * node.r.dbsize() / len(context.keys) <= high


def read_each_key(context):
    """How many of the reads each node served."""
    def gets(node):
        text = node.info("commandstats").get("cmdstat_get", "calls=0")
        return int(re.search(r"calls=(\d+)", text).group(1))

    before = {letter: gets(node) for letter, node in context.cluster.nodes.items()}
    with context.cluster.proxy.client() as client:
        for key in context.keys:
            assert client.get(key) == "v-" + key
    return {letter: gets(node) - before[letter] for letter, node in context.cluster.nodes.items()}


@then("each node comes to serve between {low:d} and {high:d} percent of the reads")
def _(context, low, high):
    """As soon as the replicas may: a primary counts them a moment after they are in sync."""
    def even():
        reads = read_each_key(context)
        return all(low <= 100 * count / len(context.keys) <= high for count in reads.values())

    wait_until(even, 20, "each node to serve its part of the reads")


@when("read-from is set to {policy}")
def _(context, policy):
    assert operator(context, "CONFIG", "SET", "read-from", policy) == b"OK"


