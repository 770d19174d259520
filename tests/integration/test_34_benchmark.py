"""redis-benchmark runs through without an error. How fast is no matter of tests."""
import re
import subprocess
import threading

import pytest
from support.wait import PATIENCE, wait_until


def benchmark(server, *arguments):
    done = subprocess.run(
        ["redis-benchmark", "-p", str(server.port), "-q", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120 * PATIENCE,
        check=False,
    )
    text = done.stdout.replace("\r", "\n")
    assert done.returncode == 0, text[-2000:]
    assert "Error" not in text and "could not fetch" not in text.lower(), text[-2000:]
    return text


def test_pipelined(empty):
    text = benchmark(
        empty, "-t", "set,get,incr,mset", "-n", "50000", "-c", "50", "-P", "16", "-r", "100000"
    )
    assert text.count("requests per second") == 4
    assert empty.r.dbsize() > 10000


def test_a_thousand_connections(empty):
    text = benchmark(empty, "-t", "set,get", "-n", "20000", "-c", "1000", "-r", "10000")
    assert text.count("requests per second") == 2


def test_resp3(empty):
    text = benchmark(empty, "-3", "-t", "set,get", "-n", "20000", "-c", "20", "-P", "4", "-r", "10000")
    assert text.count("requests per second") == 2


def test_new_connection_for_each_request(empty):
    text = benchmark(empty, "-t", "set,get", "-n", "2000", "-c", "20", "-k", "0")
    assert text.count("requests per second") == 2


def test_big_values(empty):
    text = benchmark(empty, "-t", "set,get", "-n", "2000", "-c", "20", "-d", "100000", "-r", "100")
    assert text.count("requests per second") == 2


def test_cluster_mode(proxy):
    text = benchmark(
        proxy, "--cluster", "-t", "set,get,incr,mset", "-n", "20000", "-c", "50", "-P", "8", "-r", "10000"
    )
    assert text.count("requests per second") == 4


@pytest.mark.parametrize("cluster", [[], ["--cluster"]], ids=["plain", "cluster"])
@pytest.mark.parametrize(
    "flags",
    [["--threads", "2"], ["-e"], ["--enable-tracking"], ["-3"], ["--dbnum", "3"], ["--precision", "3"]],
    ids=lambda flags: flags[0],
)
def test_flags(proxy, flags, cluster):
    text = benchmark(proxy, *cluster, "-t", "get,lpush,ping_mbulk", "-n", "2000", "-c", "20", *flags)
    assert text.count("requests per second") == 3, text[-2000:]
    text = text.replace("WARNING: -e option has no effect", "")  # it says so itself
    assert "WARNING" not in text and "MOVED" not in text, text[-2000:]


def test_csv(proxy):
    text = benchmark(proxy, "--csv", "-t", "set,get", "-n", "1000")
    lines = [line.split(",") for line in text.strip().splitlines()]
    assert [line[0] for line in lines] == ['"test"', '"SET"', '"GET"']
    assert all(len(line) == len(lines[0]) for line in lines)


def until(command, pattern):
    """Runs a benchmark that never ends until its output has the pattern."""
    done = subprocess.Popen(
        ["stdbuf", "-oL", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    late = threading.Timer(30 * PATIENCE, done.kill)
    late.start()
    text = b""
    try:
        while not re.search(pattern, text):
            more = done.stdout.read1(4096)
            assert more, text[-2000:]
            text += more
    finally:
        late.cancel()
        done.kill()
        done.wait()
        done.stdout.close()


def test_idle_connections(proxy):
    """-I opens them and waits; the proxy counts them."""
    argv = ["redis-benchmark", "-p", str(proxy.port), "-I", "-c", "30"]
    done = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: int(proxy.info("clients")["connected_clients"]) >= 30, 20, "30 clients")
    finally:
        done.kill()
        done.wait()


def test_in_a_loop(proxy):
    until(["redis-benchmark", "-p", str(proxy.port), "-l", "-q", "-t", "set", "-n", "500"],
          rb"(?s)requests per second.*requests per second")
