"""Steps about nodes that fall silent, die and return, and about broken connections."""
import re
import threading

from behave import then, when
from support.wait import PATIENCE, wait_until
from support.wire import Closed, Error, Wire, encode


def node(context, letters):
    return context.cluster.nodes[letters[0]]


@when("node {letter:Names} falls silent")
def _(context, letter):
    context.homes = {
        name: context.cluster.row(name)["id"] for name in context.cluster.nodes
    }
    context.their_keys = {name: context.cluster.keys_of(name, 20) for name in context.cluster.nodes}
    node(context, letter).pause()


@when("node {letter:Names} is heard again")
def _(context, letter):
    node(context, letter).resume()


@then("node {letter:Names} is unhealthy after {some:d} missed heartbeats and dead after {more:d}")
def _(context, letter, some, more):
    """Measured by the proxy's own clock: what it says about the silence whenever the state is seen
    to have changed, and the states come in this order."""
    interval = 200
    seen = []

    def dead():
        row = context.cluster.row(letter[0])
        state, silence = row["state"], int(row["heartbeat-ms"])
        if not seen or seen[-1][0] != state:
            seen.append((state, silence))
        return state == "dead"

    wait_until(dead, limit=20, every=0.005)
    assert [state for state, _ in seen][-2:] == ["unhealthy", "dead"], seen
    silence = dict(seen)
    assert silence["unhealthy"] >= some * interval, seen
    assert silence["dead"] >= more * interval, seen
    # And not much later than it should: it was seen unhealthy before the time to be dead.
    assert silence["unhealthy"] < more * interval * PATIENCE, seen


@then("all keys of the other nodes are still served without an error")
def _(context):
    down = [letter for letter, one in context.cluster.nodes.items() if not one.alive()]
    with context.cluster.proxy.wire() as wire:
        for letter, keys in context.their_keys.items():
            if letter in down or context.cluster.state(letter) != "healthy":
                continue
            for key in keys:
                assert wire.command("GET", key) == b"v-" + key.encode(), key
                assert wire.command("SET", key, "v-" + key) == b"OK"


@then("a key that was of node {letter:Names} is answered")
def _(context, letter):
    key = context.their_keys[letter[0]][0]
    with context.cluster.proxy.wire(limit=30) as wire:
        assert wire.command("GET", key) == b"v-" + key.encode()


@then("node {letter:Names} is healthy")
def _(context, letter):
    wait_until(lambda: context.cluster.state(letter[0]) == "healthy", limit=15)


@when("node {letter:Names} falls silent for one heartbeat")
def _(context, letter):
    context.states = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            context.states.append(context.cluster.state(letter[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = int(context.cluster.row(letter[0])["heartbeat-ms"])
    node(context, letter).pause()
    # One interval of silence, by the coordinator's own count, wherever in it the pause began.
    wait_until(lambda: int(context.cluster.row(letter[0])["heartbeat-ms"]) >= 600, every=0.005)
    node(context, letter).resume()
    wait_until(lambda: int(context.cluster.row(letter[0])["heartbeat-ms"]) < 500)
    stop.set()
    watcher.join()
    assert before < 1500


@then("node {letter:Names} was healthy all the time")
def _(context, letter):
    assert set(context.states) == {"healthy"}, set(context.states)


@when("node {letter:Names} is killed")
def _(context, letter):
    serving = {row["primary"] for row in context.cluster.view.shards()}
    context.their_keys = {
        name: context.cluster.keys_of(name, 20)
        for name in context.cluster.nodes
        if context.cluster.row(name).get("id") in serving
    }
    node(context, letter).kill()


@then("node {letter:Names} is dead within 1 second")
def _(context, letter):
    wait_until(lambda: context.cluster.state(letter[0]) == "dead", limit=1, every=0.01)


@when("node {letter:Names} starts again")
def _(context, letter):
    context.cluster.start_node(letter[0])


@when("the proxy is stopped for {count:d} heartbeats and goes on")
def _(context, count):
    context.cluster.proxy.pause()
    # The nodes go on sending into the proxy's silence; count their time by theirs.
    clock = context.cluster.nodes["A"]
    start = int(clock.info("server")["uptime_in_seconds"])
    wait_until(lambda: int(clock.info("server")["uptime_in_seconds"]) >= start + count * 200 // 1000 + 1)
    context.cluster.proxy.resume()


@then("no node is called dead")
def _(context):
    text = context.cluster.proxy.output()
    assert not re.search(r"\bdead\b.*node=", text), text[-2000:]
    for letter in context.cluster.nodes:
        wait_until(lambda who=letter: context.cluster.state(who) == "healthy")


def cut_connections(context):
    """Closes, on every node, every connection but the one that asks for it."""
    for one in context.cluster.nodes.values():
        with one.wire() as wire:
            me = wire.command("CLIENT", "ID")
            for line in wire.command("CLIENT", "LIST").decode().splitlines():
                number = int(re.match(r"id=(\d+)", line).group(1))
                if number != me:
                    wire.command("CLIENT", "KILL", "ID", number)


def while_cutting(context, work):
    """Runs work() while another thread cuts connections at every turn."""
    stop = threading.Event()

    def cut():
        while not stop.wait(0.02):
            try:
                cut_connections(context)
            except (Closed, OSError):
                pass

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        work()
    finally:
        stop.set()
        cutter.join()


@when("every connection of the proxy to the nodes is cut again and again during {count:d} reads")
def _(context, count):
    context.wrong = []

    def read():
        with context.cluster.proxy.wire(limit=30) as wire:
            for i in range(count):
                key = context.keys[i % len(context.keys)]
                reply = wire.command("GET", key)
                if reply != b"v-" + key.encode():
                    context.wrong.append((key, reply))

    while_cutting(context, read)


@then("every read got its value")
def _(context):
    assert not context.wrong, (len(context.wrong), context.wrong[:5])


@when("every connection of the proxy to the nodes is cut again and again during {count:d} increments")
def _(context, count):
    context.sent, context.acknowledged, context.errors = {}, {}, []

    def increment():
        with context.cluster.proxy.wire(limit=30) as wire:
            for i in range(count):
                key = f"counter:{i % 50}"
                context.sent[key] = context.sent.get(key, 0) + 1
                reply = wire.command("INCR", key)
                if isinstance(reply, Error):
                    context.errors.append(reply)
                else:
                    context.acknowledged[key] = context.acknowledged.get(key, 0) + 1

    while_cutting(context, increment)
    with context.cluster.proxy.client() as client:
        keys = sorted(context.sent)
        values = wait_until(lambda: client.mget(keys))
        context.values = {key: int(value or 0) for key, value in zip(keys, values)}


@then("every counter is at least what was acknowledged")
def _(context):
    for key, value in context.values.items():
        assert value >= context.acknowledged.get(key, 0), key


@then("no counter is more than what was sent")
def _(context):
    for key, value in context.values.items():
        assert value <= context.sent[key], key


@then("every increment is acknowledged")
def _(context):
    assert not context.errors, context.errors[:5]
    assert context.acknowledged == context.sent


@when("a client reads a key of node {letter:Names}")
def _(context, letter):
    key = context.their_keys[letter[0]][0]
    context.asking = Wire(context.cluster.proxy.port, limit=60)
    context.asking.send(encode("GET", key))


@then("the client gets an answer without an error")
def _(context):
    reply = context.asking.reply()
    assert not isinstance(reply, Error), reply
    context.asking.close()


@then("the client gets CLUSTERDOWN")
def _(context):
    reply = context.asking.reply()
    assert isinstance(reply, Error) and reply.startswith("CLUSTERDOWN"), reply
    context.asking.close()


