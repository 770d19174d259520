"""redis-benchmark runs through without an error. How fast is no matter of tests."""
import subprocess

from support.wait import PATIENCE


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
