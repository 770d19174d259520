"""Client libraries with their default settings, as plain and as cluster clients."""
import os
import shutil
import subprocess

import pytest
import redis
from redis.cluster import RedisCluster
from support.programs import ROOT
from support.wait import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))


def test_redis_py_plain(proxy):
    client = redis.Redis(port=proxy.port)
    client.flushall()
    assert client.ping()
    assert client.set("a", 1) and client.get("a") == b"1"
    assert client.mset({f"key:{i}": i for i in range(100)})
    assert client.mget([f"key:{i}" for i in range(100)]) == [str(i).encode() for i in range(100)]
    with client.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.incr(f"n:{i % 10}")
        assert pipe.execute()[-1] == 100
    with client.pipeline() as pipe:
        assert pipe.set("{t}x", 1).incr("{t}x").execute() == [True, 2]
    assert client.info()["redis_version"]
    assert len(client.client_list()) >= 1
    assert client.client_setname("me") and client.client_getname() == "me"
    assert len(list(client.scan_iter())) >= 100
    assert client.config_get("maxclients")


def test_redis_py_with_a_name_and_decoding(proxy):
    client = redis.Redis(
        port=proxy.port, client_name="shop", decode_responses=True, db=3, health_check_interval=1
    )
    client.set("a", "ä")
    assert client.get("a") == "ä"
    assert client.client_info()["name"] == "shop" and client.client_info()["db"] == 3
    client.delete("a")


def test_redis_py_connection_pool_from_many_threads(proxy):
    import threading

    client = redis.Redis(port=proxy.port)
    client.delete("counter")
    failures = []

    def work():
        try:
            for _ in range(200):
                client.incr("counter")
        except redis.RedisError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert client.get("counter") == b"3200"


@pytest.mark.parametrize("view", ["virtual", "nodes"])
def test_redis_py_cluster(view, request):
    from support.programs import Proxy

    if view == "virtual":
        port = request.getfixturevalue("proxy").port
    else:
        port = Proxy(local_nodes=3, cluster_view="nodes").ready().port
    client = RedisCluster(host="127.0.0.1", port=port)
    client.flushall()
    for i in range(300):
        assert client.set(f"key:{i}", i)
    for i in range(300):
        assert client.get(f"key:{i}") == str(i).encode()
    assert client.mset_nonatomic({f"m:{i}": i for i in range(50)})
    assert client.mget_nonatomic([f"m:{i}" for i in range(50)]) == [str(i).encode() for i in range(50)]
    assert client.delete(*[f"{{tag}}{i}" for i in range(3)]) == 0
    with client.pipeline() as pipe:
        for i in range(100):
            pipe.get(f"key:{i}")
        assert pipe.execute() == [str(i).encode() for i in range(100)]
    assert client.cluster_keyslot("foo") == 12182
    assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) >= 350
    client.close()


@pytest.fixture(scope="module")
def ioredis():
    """The folder with ioredis in it, installed once into build/npm."""
    folder = os.path.join(ROOT, "build", "npm")
    modules = os.path.join(folder, "node_modules")
    os.makedirs(folder, exist_ok=True)
    fresh = False
    for name in ("package.json", "package-lock.json"):
        source, target = os.path.join(HERE, "ioredis", name), os.path.join(folder, name)
        with open(source, encoding="utf-8") as file:
            wanted = file.read()
        if os.path.exists(target):
            with open(target, encoding="utf-8") as file:
                fresh = fresh or file.read() != wanted
        else:
            fresh = True
        shutil.copy(source, target)
    if fresh or not os.path.isdir(os.path.join(modules, "ioredis")):
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
            cwd=folder,
            check=True,
            timeout=300,
        )
    return modules


@pytest.mark.parametrize("kind", ["plain", "cluster"])
def test_ioredis(kind, proxy, ioredis):
    done = subprocess.run(
        ["node", os.path.join(HERE, "ioredis", "basics.js"), kind, str(proxy.port)],
        env=dict(os.environ, NODE_PATH=ioredis),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stdout
