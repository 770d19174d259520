"""Commands that wait, channels, notifications and tracking, on the node itself: what a proxy and plain
clients build on."""
import pytest
from support.cluster import Cluster, slot_of
from support.wait import wait_until
from support.wire import Error, Push, encode

from test_70_replication import wait_in_sync

SHARDS = 8
LANE = 815000001


@pytest.fixture
def pair():
    """Two nodes that have every shard in sync, each primary of half of them."""
    made = Cluster(min_nodes=2, shards=SHARDS, lease="1s")
    for name in "AB":
        made.start_node(name, enable_debug_command="yes")
    made.wait_even()
    wait_in_sync(made)
    return made


def blocked(node):
    return int(node.info("clients")["blocked_clients"])


def wait_blocked(node, count):
    wait_until(lambda: blocked(node) == count, 10, f"{count} clients to wait")


def messages(wire, count):
    """The next replies, which are all out of band."""
    found = [wire.reply() for _ in range(count)]
    assert all(isinstance(one, Push) for one in found), found
    return [list(one) for one in found]


def ear(node):
    wire = node.wire(limit=10)
    wire.command("HELLO", 3)
    assert wire.command("SHOAL", "EAR") == b"OK"
    return wire


# --- commands that wait ---


def test_what_stands_behind_a_waiting_command_waits(node):
    with node.wire() as waiter, node.wire() as other:
        waiter.send(encode("BLPOP", "q", 0) + encode("SET", "behind", 1) + encode("GET", "behind"))
        wait_blocked(node, 1)
        assert other.command("EXISTS", "behind") == 0
        assert other.command("RPUSH", "q", "x") == 1
        assert waiter.reply() == [b"q", b"x"]
        assert [waiter.reply(), waiter.reply()] == [b"OK", b"1"]
        assert other.command("DEL", "behind") == 1


def test_who_asked_first_is_served_first_over_keys_and_in_chains(node):
    with node.wire() as one, node.wire() as two, node.wire() as three, node.wire() as other:
        one.send(encode("BLPOP", "a", "b", 0))
        wait_blocked(node, 1)
        two.send(encode("BRPOPLPUSH", "b", "c", 0))
        wait_blocked(node, 2)
        three.send(encode("BLPOP", "c", 0))
        wait_blocked(node, 3)
        assert other.command("RPUSH", "b", "1", "2") == 2
        assert one.reply() == [b"b", b"1"]
        assert two.reply() == b"2"
        assert three.reply() == [b"c", b"2"]
        assert other.command("EXISTS", "a", "b", "c") == 0


def test_a_transaction_that_takes_what_it_brought_wakes_nobody(node):
    with node.wire() as waiter, node.wire() as other:
        waiter.send(encode("BLPOP", "q", 0))
        wait_blocked(node, 1)
        for words in (["MULTI"], ["RPUSH", "q", "x"], ["LPOP", "q"], ["SET", "q", "text"], ["EXEC"]):
            other.command(*words)
        assert blocked(node) == 1
        assert other.command("RENAME", "q", "elsewhere") == b"OK"
        assert other.command("RPUSH", "list", "y") == 1
        assert other.command("RENAME", "list", "q") == b"OK"
        assert waiter.reply() == [b"q", b"y"]
        assert other.command("DEL", "elsewhere") == 1


def test_a_client_that_goes_is_forgotten_even_with_more_behind(node):
    waiter = node.wire()
    waiter.send(encode("BLPOP", "q", 0) + encode("SET", "behind", 1))
    wait_blocked(node, 1)
    waiter.close()
    wait_blocked(node, 0)
    with node.wire() as other:
        assert other.command("RPUSH", "q", "x") == 1
        assert other.command("LPOP", "q") == b"x"
        assert other.command("EXISTS", "behind") == 0


def test_client_unblock_is_a_timeout_or_an_error(node):
    with node.wire() as waiter, node.wire() as other:
        number = waiter.command("CLIENT", "ID")
        assert other.command("CLIENT", "UNBLOCK", number) == 0
        for words, answer in (
            (["CLIENT", "UNBLOCK", number], None),
            (["CLIENT", "UNBLOCK", number, "ERROR"], "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        ):
            waiter.send(encode("BLPOP", "q", 0))
            wait_blocked(node, 1)
            assert other.command(*words) == 1
            assert waiter.reply() == answer
        waiter.send(encode("BLMOVE", "q", "r", "LEFT", "LEFT", "0.01"))
        assert waiter.reply() is None
        assert waiter.command("PING") == b"PONG"


def test_what_waits_on_a_lane_is_in_no_log_until_it_is_answered(pair):
    key = pair.keys_of("A", 1)[0]
    node = pair.nodes["A"]
    shard = slot_of(key) * SHARDS // 16384
    with node.wire(limit=10) as lane, node.wire(limit=10) as other:
        assert lane.command("SHOAL", "LANE", LANE) == 16
        assert lane.command("SET", "{" + key + "}other", 1) == b"OK"
        lane.send(encode("BLPOP", key, 0))
        wait_blocked(node, 1)
        assert other.command("RPUSH", key, "x", "y") == 2
        assert lane.reply() == [key.encode(), b"x"]
        assert lane.command("RPUSH", key, "z") == 2
        told = other.command("SHOAL", "FATE", LANE, shard, 1, 10000)
        popped = b"*2\r\n$%d\r\n%s\r\n$1\r\nx\r\n" % (len(key), key.encode())
        assert told == [1, [1, b"+OK\r\n", 2, popped, 3, b":2\r\n"]]
        # What ends before it is answered leaves nothing.
        again = node.wire(limit=10)
        assert again.command("SHOAL", "LANE", LANE + 1) == 16
        again.send(encode("BLPOP", "{" + key + "}empty", 0))
        wait_blocked(node, 1)
        assert other.command("SHOAL", "FATE", LANE + 1, shard, 1, 10000) == [1, []]
        wait_blocked(node, 0)
        assert other.command("RPUSH", "{" + key + "}empty", "x") == 1


# --- channels ---


def test_an_ear_speaks_for_many_and_is_told_once(node):
    with ear(node) as one, ear(node) as two, node.wire() as other:
        assert one.command("SHOAL", "SUBSCRIBE", "channel", "news", 3, "pattern", "n*", 2) == b"OK"
        assert two.command("SHOAL", "SUBSCRIBE", "channel", "news", 1, "shard", "news", 4) == b"OK"
        assert other.command("PUBSUB", "NUMSUB", "news", "none") == [b"news", 4, b"none", 0]
        assert other.command("PUBSUB", "SHARDNUMSUB", "news") == [b"news", 4]
        assert other.command("PUBSUB", "NUMPAT") == 1
        assert other.command("PUBLISH", "news", "x") == 6
        assert messages(one, 2) == [[b"message", b"news", b"x"], [b"pmessage", b"n*", b"news", b"x"]]
        assert messages(two, 1) == [[b"message", b"news", b"x"]]
        assert other.command("SPUBLISH", "news", "s") == 4
        assert messages(two, 1) == [[b"smessage", b"news", b"s"]]
        # Said anew, and no more.
        assert one.command("SHOAL", "SUBSCRIBE", "channel", "news", 1, "pattern", "n*", 0) == b"OK"
        assert other.command("PUBLISH", "news", "x") == 2
        assert other.command("PUBSUB", "CHANNELS") == [b"news"]
    wait_until(lambda: node.wire().command("PUBSUB", "CHANNELS") == [], 10, "ears to be forgotten")


def test_only_an_ear_subscribes_so(node):
    with node.wire() as wire:
        assert isinstance(wire.command("SHOAL", "EAR"), Error)  # RESP2
        wire.command("HELLO", 3)
        assert isinstance(wire.command("SHOAL", "SUBSCRIBE", "channel", "a", 1), Error)
        assert wire.command("SHOAL", "EAR") == b"OK"
        for bad in (["channel", "a"], ["nothing", "a", 1], ["channel", "a", -1], ["channel", "a", 1, "shard"]):
            assert isinstance(wire.command("SHOAL", "SUBSCRIBE", *bad), Error)
        assert wire.command("PUBSUB", "CHANNELS") == []


def test_what_one_says_to_itself_comes_behind_the_reply(node):
    with node.wire() as wire:
        wire.command("HELLO", 3)
        wire.send(encode("SUBSCRIBE", "me"))
        assert list(wire.reply()) == [b"subscribe", b"me", 1]
        assert wire.command("PUBLISH", "me", "x") == 1
        assert messages(wire, 1) == [[b"message", b"me", b"x"]]
        wire.send(encode("MULTI") + encode("PUBLISH", "me", "y") + encode("PING") + encode("EXEC"))
        assert [wire.reply() for _ in range(4)] == [b"OK", b"QUEUED", b"QUEUED", [1, b"PONG"]]
        assert messages(wire, 1) == [[b"message", b"me", b"y"]]


def test_a_long_message_to_many_is_whole(node):
    long = "x" * 300000
    wires = [node.wire() for _ in range(20)]
    for number, wire in enumerate(wires):
        if number % 2:
            wire.command("HELLO", 3)
        wire.send(encode("SUBSCRIBE", "long"))
        wire.reply()
    with node.wire() as other:
        assert other.command("PUBLISH", "long", long) == 20
        assert other.command("PUBLISH", "long", "short") == 20
    for wire in wires:
        assert list(wire.reply()) == [b"message", b"long", long.encode()]
        assert list(wire.reply()) == [b"message", b"long", b"short"]
        wire.close()


def test_in_resp2_a_subscriber_may_say_little(node):
    with node.wire() as wire:
        assert wire.command("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
        assert "only (P|S)SUBSCRIBE" in wire.command("GET", "x")
        assert wire.command("PING") == [b"pong", b""]
        assert b" sub=1 psub=0 ssub=0" in node.wire().command("CLIENT", "LIST", "TYPE", "pubsub")
        assert wire.command("RESET") == b"RESET"
        assert wire.command("GET", "x") is None


def test_a_channel_lives_where_its_slot_is_served(pair):
    here, there = pair.nodes["A"], pair.nodes["B"]
    channel = pair.keys_of("A", 1, prefix="channel")[0]
    with ear(here) as one, ear(there) as two, here.wire() as a, there.wire() as b:
        for wire in one, two:
            assert wire.command("SHOAL", "SUBSCRIBE", "channel", channel, 1, "pattern", "*", 1) == b"OK"
        assert a.command("PUBLISH", channel, "x") == 2
        assert len(messages(one, 2)) == 2
        assert b.command("PUBLISH", channel, "x").startswith("MOVED")
        assert b.command("SPUBLISH", channel, "x").startswith("MOVED")
        assert b.command("SUBSCRIBE", channel).startswith("MOVED")
        # In a transaction it is handed to a proxy: the one whose ear came first.
        assert b.command("MULTI") == b"OK"
        assert b.command("PUBLISH", channel, "y") == b"QUEUED"
        assert b.command("EXEC") == [0]
        assert messages(one, 2)[0] == [b"message", channel.encode(), b"y"]


def test_what_is_served_elsewhere_is_left(pair):
    """Who waits is sent on, who listens is told, who remembers forgets; an ear is told by the map."""
    node, other = pair.nodes["A"], pair.nodes["B"]
    key = pair.keys_of("A", 1)[0]
    with node.wire(10) as waiter, node.wire(10) as listener, node.wire(10) as cache, ear(other) as heard:
        assert heard.command("SHOAL", "SUBSCRIBE", "shard", key, 1) == b"OK"
        assert cache.command("HELLO", 3)[b"proto"] == 3
        assert cache.command("CLIENT", "TRACKING", "ON") == b"OK"
        assert cache.command("GET", key) is None
        assert listener.command("SUBSCRIBE", key) == [b"subscribe", key.encode(), 1]
        assert listener.command("SSUBSCRIBE", key) == [b"ssubscribe", key.encode(), 1]
        waiter.send(encode("BLPOP", key, 0))
        wait_blocked(node, 1)
        ident = pair.row("A")["id"]
        assert pair.proxy.r.execute_command("CLUSTER", "FAILOVER", ident)
        assert waiter.reply() == f"MOVED {slot_of(key)} 127.0.0.1:{other.port}"
        assert listener.reply() == [b"unsubscribe", key.encode(), 0]
        assert listener.reply() == [b"sunsubscribe", key.encode(), 0]
        assert messages(cache, 1) == [[b"invalidate", [key.encode()]]]
        with other.wire(10) as wire:
            wait_until(lambda: wire.command("RPUSH", key, "x") == 1, 20, "the other one to serve")
            assert wire.command("SPUBLISH", key, "said") == 1
        assert messages(heard, 1) == [[b"smessage", key.encode(), b"said"]]


# --- notifications ---


def test_notifications_are_told_in_redis_words(node):
    with node.wire() as wire, node.wire() as other:
        wire.command("PSUBSCRIBE", "__key*__:*")
        assert other.command("CONFIG", "SET", "notify-keyspace-events", "KEA") == b"OK"
        for words, events in (
            (["SET", "k", "v", "EX", "100"], ["set", "expire"]),
            (["PERSIST", "k"], ["persist"]),
            (["GETEX", "k", "PX", "-1"], []),
            (["APPEND", "k", "x"], ["append"]),
            (["COPY", "k", "k2"], ["copy_to"]),
            (["DEL", "k", "k2"], ["del", "del"]),
            (["INCR", "k"], ["incrby"]),
            (["EXPIRE", "k", "-1"], ["del"]),
            (["GET", "k"], []),
        ):
            other.command(*words)
            for event in events:
                kind, _, channel, text = wire.reply()
                assert (kind, text) == (b"pmessage", event.encode()) and channel.startswith(b"__keyspace@0__:k")
                kind, _, channel, text = wire.reply()
                assert (kind, channel) == (b"pmessage", b"__keyevent@0__:" + event.encode())
        assert other.command("CONFIG", "SET", "notify-keyspace-events", "") == b"OK"


# --- replies that nobody may wait for ---


def test_a_reply_without_end_ends_with_its_client(node):
    with node.wire() as other:
        assert other.command("HSET", "h", "a", "b") == 1
        assert other.command("SADD", "s", "a") == 1
        assert other.command("ZADD", "z", 1, "a") == 1
        assert other.command("CONFIG", "SET", "client-output-buffer-limit", "normal 1000000 0 0") == b"OK"
        for words in (["HRANDFIELD", "h"], ["SRANDMEMBER", "s"], ["ZRANDMEMBER", "z"]):
            with node.wire() as greedy:
                greedy.send(encode(*words, -999999999))
                assert greedy.is_closed()
        assert other.command("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") == b"OK"
        assert other.command("DEL", "h", "s", "z") == 3


# --- tracking ---


def test_a_replica_tells_what_the_log_changes(pair):
    key = pair.keys_of("A", 1)[0]
    with pair.nodes["A"].wire() as primary, pair.nodes["B"].wire() as cache:
        assert primary.command("SET", key, 1) == b"OK"
        cache.command("HELLO", 3)
        assert cache.command("READONLY") == b"OK"
        assert cache.command("CLIENT", "TRACKING", "ON") == b"OK"
        assert cache.command("GET", key) == b"1"
        assert primary.command("INCR", key) == 2
        assert messages(cache, 1) == [[b"invalidate", [key.encode()]]]
        assert cache.command("GET", key) == b"2"


def tracking_lane(node, number, *mode):
    wire = node.wire(limit=10)
    wire.command("HELLO", 3)
    assert wire.command("SHOAL", "LANE", LANE + number) == 16
    assert wire.command("CLIENT", "TRACKING", "ON", *mode) == b"OK"
    return wire


def test_what_a_lane_has_read_another_may_go_on_with(pair):
    key, other = pair.keys_of("A", 2)
    a, b = pair.nodes["A"], pair.nodes["B"]
    with a.wire() as writer, tracking_lane(a, 30) as first, tracking_lane(a, 31) as next_one, \
            tracking_lane(b, 32) as elsewhere:
        assert writer.command("SET", key, 1) == b"OK"
        assert first.command("GET", key) == b"1"
        (track,) = messages(first, 1)
        assert track[0] == b"track" and track[4] == key.encode()
        shard, term, version = track[1:4]
        assert first.command("GET", key) == b"1"
        assert first.command("ECHO", "x") == b"x"  # of what is remembered already nothing is said
        # Nothing has changed since: it is remembered here as well.
        assert next_one.command("SHOAL", "TRACK", shard, term, version, key) == [term, version, []]
        assert writer.command("INCR", key) == 2
        for wire in (first, next_one):
            assert messages(wire, 1) == [[b"invalidate", [key.encode()]]]
        # It has changed, or who can know?
        assert next_one.command("SHOAL", "TRACK", shard, term, version, key)[2] == [key.encode()]
        assert next_one.command("SHOAL", "TRACK", shard, term + 1, version, key)[2] == [key.encode()]
        assert next_one.command("SHOAL", "TRACK", shard, term, version + 100, key)[2] == [key.encode()]
        # Not by whom it does not concern.
        assert elsewhere.command("SHOAL", "TRACK", shard, term, version, key).startswith("TRYAGAIN")
        assert isinstance(writer.command("SHOAL", "TRACK", shard, term, version, key), Error)
        for words in ([], [shard], [shard, term, version], [SHARDS, term, version, key], [-1, term, version, key]):
            assert isinstance(next_one.command("SHOAL", "TRACK", *words), Error)
        # Handed over: which entry was the last.
        assert writer.command("SET", other, 1) == b"OK"
        assert first.command("GET", other) == b"1"
        (track,) = messages(first, 1)
        assert pair.proxy.cli("CLUSTER", "FAILOVER", pair.row("A")["id"])[1].strip() == "OK"
        (untrack,) = messages(first, 1)
        assert untrack == [b"untrack"] + track[1:4]
        wait_until(lambda: elsewhere.command("SHOAL", "TRACK", *track[1:])[:2] == track[2:4], 10, "the other to serve")


def test_broadcasts_say_how_far_they_go(pair):
    key = pair.keys_of("A", 1)[0]
    a, b = pair.nodes["A"], pair.nodes["B"]
    with a.wire() as writer, tracking_lane(a, 40, "BCAST", "NOLOOP") as lane, tracking_lane(b, 41, "BCAST") as next_one:
        begins = {tuple(push[:2]): push[2:] for push in messages(lane, SHARDS // 2) + messages(next_one, SHARDS // 2)}
        assert set(begins) == {(b"told", shard) for shard in range(SHARDS)}
        assert writer.command("SET", key, 1) == b"OK"
        invalid, told = messages(lane, 2)
        assert invalid == [b"invalidate", [key.encode()]] and told[0] == b"told"
        shard, term, version = told[1:]
        assert [term, version] > begins[b"told", shard]
        assert lane.command("SET", key, 2) == b"OK"  # NOLOOP: only how far it goes
        assert messages(lane, 1) == [[b"told", shard, term, version + 1]]
        assert pair.proxy.cli("CLUSTER", "FAILOVER", pair.row("A")["id"])[1].strip() == "OK"
        gone = [push for push in messages(lane, SHARDS // 2) if push[1] == shard]
        assert gone == [[b"untrack", shard, term, version + 1]]
        came = [push for push in messages(next_one, SHARDS // 2) if push[1] == shard]
        assert came == [[b"told", shard, term, version + 1]]


def test_broadcasts_are_gathered_and_leave_out_ones_own(node):
    with node.wire() as all_of_it, node.wire() as others, node.wire() as writer:
        for wire, more in ((all_of_it, []), (others, ["PREFIX", "user:", "NOLOOP"])):
            wire.command("HELLO", 3)
            assert wire.command("CLIENT", "TRACKING", "ON", "BCAST", *more) == b"OK"
        assert writer.command("MSET", "user:1", 1, "shop:1", 1, "user:2", 1) == b"OK"
        assert sorted(messages(all_of_it, 1)[0][1]) == [b"shop:1", b"user:1", b"user:2"]
        assert sorted(messages(others, 1)[0][1]) == [b"user:1", b"user:2"]
        assert others.command("SET", "user:1", 2) == b"OK"
        assert messages(all_of_it, 1) == [[b"invalidate", [b"user:1"]]]
        assert others.command("PING") == b"PONG"
        assert int(node.info("stats")["tracking_total_prefixes"]) == 2
        assert writer.command("FLUSHALL") == b"OK"
        assert messages(all_of_it, 1) == messages(others, 1) == [[b"invalidate", None]]
