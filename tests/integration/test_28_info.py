"""INFO: every field that Redis 7.0 has is there, with a value of the same kind."""
import re

import pytest
from support.programs import RedisServer

# What is not there, each with its reason. Nothing at present.
ABSENT = {}

# Redis's value may be empty or of a kind of its own.
FREE = {
    "redis_git_sha1", "redis_git_dirty", "redis_build_id", "executable", "config_file", "os",
    "gcc_version", "multiplexing_api", "atomicvar_api", "monotonic_clock", "mem_allocator",
    "process_supervised", "redis_mode", "maxmemory_policy", "run_id", "master_replid",
    "expired_stale_perc",
}

KINDS = [
    ("int", r"-?\d+"),
    ("real", r"-?\d+\.\d+"),
    ("percent", r"\d+\.\d+%"),
    ("human", r"\d+(\.\d+)?[BKMGT]"),
    ("status", r"ok|err"),
    ("pairs", r"[\w.]+=[\d.]+(,[\w.]+=[\d.]+)*"),
]


def kind(value):
    return next((name for name, pattern in KINDS if re.fullmatch(pattern, value)), "text")


def sections(server):
    """By section: its fields and their values."""
    found, fields = {}, None
    with server.wire() as wire:
        text = wire.command("INFO", "everything").decode()
    for line in text.split("\r\n"):
        if line.startswith("# "):
            fields = found.setdefault(line[2:], {})
        elif line:
            name, value = line.split(":", 1)
            assert name not in fields, f"{name} is there twice"
            fields[name] = value
    return found


def use(server):
    """So that every section has something to tell."""
    with server.wire() as wire:
        assert wire.command("FLUSHALL") == b"OK"
        assert wire.command("SET", "a", "1", "EX", "1000") == b"OK"
        assert wire.command("GET", "a") == b"1"
        assert wire.command("GET").startswith("ERR wrong number")
        assert wire.command("LPUSH", "a", "1").startswith("WRONGTYPE")


@pytest.fixture(scope="module")
def original():
    server = RedisServer().ready()
    server.lasting = True
    use(server)
    yield sections(server)
    server.stop()


def test_every_field_of_redis_is_there(server, original):
    use(server)
    ours = sections(server)
    assert [name for name in original if name not in ours] == []
    assert [name for name in ours if name in original] == list(original), "another order"
    missing = [
        f"{section}: {name}"
        for section, fields in original.items()
        if section not in ("Commandstats", "Errorstats", "Latencystats")
        for name in fields
        if name not in ours[section] and name not in ABSENT
    ]
    assert missing == []


def test_values_are_of_the_same_kind(server, original):
    use(server)
    ours = sections(server)
    other = [
        f"{name}: {value!r} beside {ours[section][name]!r}"
        for section, fields in original.items()
        for name, value in fields.items()
        if name not in FREE and name in ours[section] and kind(ours[section][name]) != kind(value)
    ]
    assert other == []


def test_commands_and_errors_are_counted(server):
    with server.wire() as wire:
        assert wire.command("CONFIG", "RESETSTAT") == b"OK"
    use(server)
    ours = sections(server)
    get = dict(pair.split("=") for pair in ours["Commandstats"]["cmdstat_get"].split(","))
    assert (get["calls"], get["rejected_calls"], get["failed_calls"]) == ("1", "1", "0")
    push = dict(pair.split("=") for pair in ours["Commandstats"]["cmdstat_lpush"].split(","))
    assert (push["calls"], push["rejected_calls"], push["failed_calls"]) == ("1", "0", "1")
    assert ours["Errorstats"]["errorstat_ERR"] == "count=1"
    assert ours["Errorstats"]["errorstat_WRONGTYPE"] == "count=1"
    assert re.fullmatch(r"p50=[\d.]+,p99=[\d.]+,p99.9=[\d.]+", ours["Latencystats"]["latency_percentiles_usec_get"])
    assert ours["Stats"]["total_error_replies"] == "2"


def test_memory_adds_up(server):
    use(server)
    memory = {name: value for name, value in sections(server)["Memory"].items()}
    number = {name: int(value) for name, value in memory.items() if re.fullmatch(r"-?\d+", value)}
    assert number["allocator_frag_bytes"] == number["allocator_active"] - number["allocator_allocated"]
    assert number["allocator_rss_bytes"] == number["allocator_resident"] - number["allocator_active"]
    assert number["rss_overhead_bytes"] == number["used_memory_rss"] - number["allocator_resident"]
    assert number["mem_fragmentation_bytes"] == number["used_memory_rss"] - number["used_memory"]
    ratio = number["used_memory_rss"] / number["used_memory"]
    assert abs(float(memory["mem_fragmentation_ratio"]) - ratio) < 0.02
    assert number["used_memory_peak"] >= number["used_memory"] > number["used_memory_dataset"] > 0


def test_replication_traffic_is_counted(proxy):
    """Nodes with two copies send each other what is written."""
    before = int(sections(proxy)["Stats"]["total_net_repl_output_bytes"])
    proxy.r.mset({f"key:{i}": "x" * 1000 for i in range(100)})
    after = int(sections(proxy)["Stats"]["total_net_repl_output_bytes"])
    assert after - before > 100 * 1000


def test_memory_stats_has_every_field(server):
    """In Redis's order, databases too."""
    peer = RedisServer().ready()
    for one in (server, peer):
        use(one)
        with one.wire() as wire:
            assert wire.command("SELECT", "3") == b"OK"
            assert wire.command("SET", "b", "x" * 1000) == b"OK"
    with server.wire() as wire, peer.wire() as original:
        for each in (wire, original):
            each.command("HELLO", "3")
        ours, theirs = wire.command("MEMORY", "STATS"), original.command("MEMORY", "STATS")
    assert list(ours) == list(theirs)
    assert list(ours[b"db.3"]) == list(theirs[b"db.3"])
    wrong = [name for name, value in theirs.items() if type(ours[name]) is not type(value)]
    assert wrong == []
    assert ours[b"keys.count"] == 2 and ours[b"dataset.bytes"] > 1000
    assert abs(ours[b"peak.percentage"] - 100 * ours[b"total.allocated"] / ours[b"peak.allocated"]) < 0.01
    ratio = ours[b"allocator.resident"] / ours[b"allocator.active"]
    assert abs(ours[b"allocator-rss.ratio"] - ratio) < 0.01


def test_percentiles_are_shown_as_they_were_given(server):
    name = "latency-tracking-info-percentiles"
    with server.wire() as wire:
        assert wire.command("CONFIG", "GET", name) == [name.encode(), b"50 99 99.9"]
        reply = wire.command("CONFIG", "SET", name, "50 101")
        assert reply.endswith("parameters should sit between [0.0,100.0]")
