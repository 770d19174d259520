"""What a person types: redis-cli, nc, redis-cli's cluster tools."""
import subprocess

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
