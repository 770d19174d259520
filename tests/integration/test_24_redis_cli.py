"""What a person types: redis-cli, nc, redis-cli's cluster tools."""
import re
import subprocess
import threading

import pytest
from support.wait import PATIENCE


def test_set_and_get(empty):
    assert empty.cli("SET", "a", "1") == (0, "OK\n")
    assert empty.cli("GET", "a") == (0, "1\n")
    assert empty.cli("MSET", "a", "1", "b", "2", "c", "3") == (0, "OK\n")
    assert empty.cli("MGET", "a", "b", "c", "d") == (0, "1\n2\n3\n\n")


def test_resp3(empty):
    assert empty.cli("-3", "SET", "a", "1") == (0, "OK\n")
    assert empty.cli("-3", "GET", "a") == (0, "1\n")
    code, text = empty.cli("-3", "CONFIG", "GET", "port")
    assert code == 0 and "port" in text


def test_commands_from_standard_input(empty):
    commands = "".join(f"SET key:{i} {i}\n" for i in range(200)) + "DBSIZE\n"
    code, text = empty.cli(stdin=commands)
    assert code == 0
    assert text == "OK\n" * 200 + "200\n"


def test_mass_insertion_with_pipe(empty):
    data = "".join(f"*3\r\n$3\r\nSET\r\n$8\r\nkey:{i:04d}\r\n$1\r\nx\r\n" for i in range(5000))
    code, text = empty.cli("--pipe", stdin=data)
    assert code == 0
    assert "errors: 0, replies: 5000" in text
    assert empty.r.dbsize() == 5000


def test_scan_option(empty):
    empty.r.mset({f"key:{i}": i for i in range(300)})
    code, text = empty.cli("--scan", "--pattern", "key:*")
    assert code == 0
    assert sorted(text.split()) == sorted(f"key:{i}" for i in range(300))


def test_select_and_database_option(empty):
    assert empty.cli("-n", "5", "SET", "a", "five") == (0, "OK\n")
    assert empty.cli("GET", "a") == (0, "\n")
    assert empty.cli("-n", "5", "GET", "a") == (0, "five\n")


def test_inline_commands_over_nc(empty):
    done = subprocess.run(
        ["nc", "-N", "127.0.0.1", str(empty.port)],
        input=b"SET a 1\r\nGET a\r\nMGET a b\r\nQUIT\r\n",
        stdout=subprocess.PIPE,
        timeout=10 * PATIENCE,
        check=True,
    )
    assert done.stdout == b"+OK\r\n$1\r\n1\r\n*2\r\n$1\r\n1\r\n$-1\r\n+OK\r\n"


def test_cli_errors_are_told(empty):
    code, text = empty.cli("-e", "INCR")
    assert code != 0 and "wrong number of arguments for 'incr' command" in text


def test_cluster_info(proxy):
    code, text = proxy.cli("CLUSTER", "INFO")
    assert code == 0
    assert "cluster_state:ok" in text
    assert "cluster_slots_assigned:16384" in text and "cluster_slots_ok:16384" in text


def test_cluster_check(proxy):
    """redis-cli --cluster check finds nothing to complain about."""
    code, text = proxy.cli("--cluster", "check", f"127.0.0.1:{proxy.port}")
    # cli() gives -p first, which --cluster does not mind.
    assert code == 0, text
    assert "[OK] All 16384 slots covered." in text
    assert "[ERR]" not in text


def test_cli_in_cluster_mode(proxy):
    proxy.r.flushall()
    for i in range(50):
        assert proxy.cli("-c", "SET", f"key:{i}", i) == (0, "OK\n")
    assert proxy.cli("-c", "GET", "key:49") == (0, "49\n")


def test_proxy_views_can_be_read(proxy):
    code, nodes = proxy.cli("PROXY", "NODES")
    assert code == 0 and nodes.count("state=healthy") == 3, nodes
    code, shards = proxy.cli("PROXY", "SHARDS")
    assert code == 0 and shards.count("primary=") == 128, shards[:500]
    code, info = proxy.cli("PROXY", "INFO")
    assert code == 0 and len(info.splitlines()) > 3
    code, text = proxy.cli("PROXY", "HELP")
    assert code == 0 and "NODES" in text and "SHARDS" in text


def test_intrinsic_tools_of_the_cli(empty):
    """--bigkeys and --memkeys walk the keyspace with SCAN, TYPE, STRLEN and MEMORY USAGE."""
    empty.r.mset({f"key:{i}": "x" * i for i in range(1, 100)})
    code, text = empty.cli("--bigkeys", "-i", "0")
    assert code == 0, text
    assert 'Biggest string found' in text and "99 bytes" in text
    code, text = empty.cli("--memkeys", "-i", "0")
    assert code == 0, text


def in_order(lines, *wanted):
    """Each of the wanted patterns fits a line, in that order."""
    left = list(lines)
    for pattern in wanted:
        while left and not re.search(pattern, left[0]):
            left.pop(0)
        assert left, f"no {pattern!r} in {lines}"


class Endless:
    """redis-cli in a mode that goes on until it is stopped; its lines as they come."""

    def __init__(self, server, *args):
        self.popen = subprocess.Popen(
            ["stdbuf", "-oL", "redis-cli", "-p", str(server.port), *[str(arg) for arg in args]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()

    def until(self, pattern):
        """Reads lines until one has the pattern; that line."""
        done = threading.Timer(20 * PATIENCE, self.popen.kill)
        done.start()
        try:
            for line in self.popen.stdout:
                self.lines.append(line.rstrip("\n"))
                if re.search(pattern, self.lines[-1]):
                    return self.lines[-1]
        finally:
            done.cancel()
        raise AssertionError(f"no {pattern!r} in {self.lines[-50:]}")


def test_mass_insertion_of_many_lines_takes_no_memory(empty):
    """Half a million commands in one go, inline and as arrays, one of them wrong."""
    inline = "".join(f"SET key:{i % 1000} {i}\r\n" for i in range(250000))
    arrays = "".join(
        f"*2\r\n$4\r\nINCR\r\n${len(str(i % 1000)) + 2}\r\nn:{i % 1000}\r\n" for i in range(250000)
    )
    empty.r.ping()
    before = empty.memory_bytes()
    code, text = empty.cli("--pipe", stdin=inline + arrays, limit=120)
    assert code == 0 and "errors: 0, replies: 500000" in text, text[-500:]
    assert empty.r.get("n:7") == "250" and empty.r.dbsize() == 2000
    assert empty.memory_bytes() - before < 48 << 20
    code, text = empty.cli("--pipe", stdin="SET a x\r\nNO\r\nINCR a\r\nGET a\r\n")
    assert code == 1 and "errors: 2, replies: 4" in text
    assert "ERR unknown command 'NO'" in text and "ERR value is not an integer" in text


def test_bigkeys_of_all_types_and_of_one_database(empty):
    r = empty.r
    r.set("string", "x" * 500)
    r.rpush("list", *range(30))
    r.hset("hash", mapping={str(i): i for i in range(20)})
    r.sadd("set", *range(10))
    r.zadd("zset", {str(i): i for i in range(7)})
    r.xadd("stream", {"a": 1})
    with empty.wire() as wire:
        wire.command("SELECT", "3")
        wire.command("SET", "other", "y" * 999)
    code, text = empty.cli("--bigkeys")
    assert code == 0
    assert "Sampled 6 keys in the keyspace!" in text
    for line in (
        'Biggest string found \'"string"\' has 500 bytes',
        'Biggest   list found \'"list"\' has 30 items',
        'Biggest   hash found \'"hash"\' has 20 fields',
        'Biggest    set found \'"set"\' has 10 members',
        'Biggest   zset found \'"zset"\' has 7 members',
        'Biggest stream found \'"stream"\' has 1 entries',
    ):
        assert line in text, text
    code, text = empty.cli("-n", "3", "--bigkeys")
    assert code == 0 and "Sampled 1 keys" in text and '"other"\' has 999 bytes' in text
    code, text = empty.cli("--memkeys")
    found = re.search(r"Biggest string found '\"string\"' has (\d+) bytes", text)
    assert code == 0 and int(found.group(1)) > 500, text


def test_hotkeys(empty):
    empty.r.set("a", 1)
    code, text = empty.cli("--hotkeys")
    assert code == 1 and "An LFU maxmemory policy is not selected" in text
    try:
        empty.r.config_set("maxmemory-policy", "allkeys-lfu")
        empty.r.mset({f"cold:{i}": i for i in range(100)})
        empty.r.set("hot", 1)
        with empty.wire() as wire:
            for _ in range(3000):
                assert wire.command("GET", "hot") == b"1"
        code, text = empty.cli("--hotkeys")
        assert code == 0 and "Sampled 102 keys in the keyspace!" in text
        first = next(line for line in text.splitlines() if line.startswith("hot key found"))
        assert '"hot"' in first, text
    finally:
        empty.r.config_set("maxmemory-policy", "noeviction")


def test_monitor(empty):
    with Endless(empty, "MONITOR") as monitor:
        assert monitor.until("OK") == "OK"
        empty.cli("-n", "2", "SET", "a", "x\ny")
        monitor.until(r'^\d+\.\d{6} \[2 127\.0\.0\.1:\d+\] "SELECT" "2"$')
        monitor.until(r'^\d+\.\d{6} \[2 127\.0\.0\.1:\d+\] "SET" "a" "x\\ny"$')
        empty.cli("EVAL", "return 1", "0")
        monitor.until(r'^\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "EVAL" "return 1" "0"$')


@pytest.mark.parametrize("protocol", ["-2", "-3"])
def test_subscribe(empty, protocol):
    with Endless(empty, protocol, "SUBSCRIBE", "news") as one, Endless(empty, protocol, "PSUBSCRIBE", "n*") as all_:
        one.until("^1$|integer. 1")
        all_.until("^1$|integer. 1")
        assert empty.cli("PUBLISH", "news", "hello") == (0, "2\n")
        one.until("hello")
        all_.until("hello")
        in_order(one.lines, "subscribe", "news", "1", "message", "news", "hello")
        in_order(all_.lines, "psubscribe", r"n\*", "1", "pmessage", r"n\*", "news", "hello")


def test_stat_and_latency(empty):
    empty.r.set("a", 1)
    with Endless(empty, "--stat", "-i", "0.01") as stat:
        stat.until("^keys +mem +clients +blocked +requests +connections")
        line = stat.until(r"^1 ").split()
        assert re.fullmatch(r"\d+(\.\d+)?[BKMG]", line[1]) and line[3] == "0"
        stat.until(r"\(\+1\)")
    with Endless(empty, "--latency-history", "-i", "0.1") as history:
        history.until(r"^\d+ \d+ \d+\.\d\d \d+$|min: \d+, max: \d+")
    with Endless(empty, "--latency-dist", "-i", "0.1") as spectrum:
        spectrum.until("^-----")


def test_scripts_and_standard_input(empty):
    script = "return {KEYS[1], KEYS[2], ARGV[1]}"
    code, text = empty.cli("--eval", "/dev/stdin", "{k}1", "{k}2", ",", "a", stdin=script)
    assert (code, text) == (0, "{k}1\n{k}2\na\n")
    assert empty.cli("-x", "SET", "key", stdin="from\0outside") == (0, "OK\n")
    assert empty.r.get("key") == "from\0outside"
    assert empty.cli("-X", "tag", "SET", "tag", "other", stdin="key") == (0, "OK\n")
    assert empty.r.get("key") == "other"
    assert empty.cli("-r", "3", "INCR", "n") == (0, "1\n2\n3\n")
    assert empty.cli("--json", "-3", "CONFIG", "GET", "port") == (0, '{"port":"%d"}\n' % empty.port)
    assert empty.cli("--csv", "MGET", "n", "none") == (0, '"3",NULL\n')


def test_the_script_debugger_is_refused(empty):
    """Redis would roll back what a debugged script writes; here nothing of it may be executed."""
    script = "return redis.call('SET', KEYS[1], 'written')"
    _, text = empty.cli("--ldb", "--eval", "/dev/stdin", "key", stdin=script)
    assert "Server closed the connection" in text or "Connection reset" in text, text
    assert empty.r.get("key") is None
    with empty.wire() as wire:
        assert wire.command("SCRIPT", "DEBUG", "NO") == b"OK"
        assert wire.command("SCRIPT", "DEBUG", "x") == "ERR Use SCRIPT DEBUG YES/SYNC/NO"
        assert wire.command("SCRIPT", "DEBUG", "SYNC").startswith("ERR There is no script debugger")
        assert wire.is_closed()
