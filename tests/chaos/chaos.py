#!/usr/bin/env python3
"""Faults on real processes under a load that remembers: see README.md.

Started by tests/chaos/run, in namespaces of its own where the machine allows it: then each node has
its own network and can be cut off; else there are no partitions.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support.process import Process, free_port, temp_dir  # noqa: E402
from support.programs import ROOT, Node, Proxy  # noqa: E402
from support.cluster import View  # noqa: E402
from support.wait import wait_until  # noqa: E402

HUB = "10.77.0.1"
DISK_MB = 64
# Every other error is one of the cluster, which clients are to see none of.
ALLOWED = {"error-TRYAGAIN", "error-UNKNOWNOUTCOME"}


def sh(*words, check=True):
    return subprocess.run(words, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Network:
    """A bridge in our namespace, and a namespace on it for each node. None of it is seen outside."""

    def __init__(self, count):
        self.namespaces = {}
        self.cut_off = {}
        sh("ip", "link", "set", "lo", "up")
        sh("mount", "-t", "tmpfs", "tmpfs", "/run")
        sh("ip", "link", "add", "hub", "type", "bridge")
        sh("ip", "addr", "add", f"{HUB}/24", "dev", "hub")
        sh("ip", "link", "set", "hub", "up")
        for i in range(count):
            name = f"n{i}"
            sh("ip", "netns", "add", name)
            sh("ip", "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
            sh("ip", "link", "set", f"v{i}", "master", "hub", "up")
            sh("ip", "-n", name, "addr", "add", f"{self.address(i)}/24", "dev", "eth0")
            sh("ip", "-n", name, "link", "set", "eth0", "up")
            sh("ip", "-n", name, "link", "set", "lo", "up")

    @staticmethod
    def address(i):
        return f"10.77.0.{11 + i}"

    def prefix(self, i):
        return ["ip", "netns", "exec", f"n{i}"]

    @staticmethod
    def isolate(i, cut):
        """Nothing to it, nothing from it."""
        sh("bridge", "link", "set", "dev", f"v{i}", "state", "0" if cut else "3", check=False)

    def one_way(self, i, j, cut):
        """What i sends to j is lost; j None: to the proxy and the coordinator."""
        to = HUB if j is None else self.address(j)
        sh("ip", "-n", f"n{i}", "route", "add" if cut else "del", "blackhole", f"{to}/32", check=False)


class ChaosNode(Node):
    def __init__(self, network, index, coordinator, disk_mb=0, **options):
        self.prefix = network.prefix(index) if network else []
        self.filler = None
        directory = temp_dir(f"shoal-node-{index}")
        if network:
            options.update(bind="0.0.0.0", announce_host=network.address(index), protected_mode="no")
        if network and disk_mb:
            disk = os.path.join(directory, "disk")
            os.mkdir(disk)
            sh("mount", "-t", "tmpfs", "-o", f"size={disk_mb}m", "tmpfs", disk)
            self.filler = os.path.join(disk, "filler")
            options.update(dir=disk)
        super().__init__(coordinator=coordinator, name=f"node-{index}", directory=directory, **options)

    def fill(self):
        """Not a byte more goes to its disk."""
        with open(self.filler, "wb", buffering=0) as file:
            block = bytes(65536)
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def empty(self):
        if os.path.exists(self.filler):
            os.remove(self.filler)

    def start(self):
        plain = self.argv
        self.argv = self.prefix + plain
        try:
            super().start()
        finally:
            self.argv = plain


class Chaos:
    def __init__(self, o):
        self.o = o
        self.rng = random.Random(o.seed)
        self.network = Network(o.nodes) if o.partitions_possible else None
        self.control = free_port()
        self.settings = {
            "control_port": self.control,
            "control_bind": HUB if self.network else "127.0.0.1",
            "heartbeat_interval": "300ms",
            "assignment_delay": "500ms",
            "shards": 32,
            "min_nodes": o.nodes,
            "replication_mode": o.mode,
            "lease": "1s",
            "replica_replace_delay": "3s",
            "failover_hold": "30s",
            "request_timeout": "30s",
            "loglevel": o.log_level,
        }
        self.proxy = Proxy(**self.settings).ready()
        self.view = View(self.proxy)
        host = HUB if self.network else "127.0.0.1"
        self.nodes = [
            ChaosNode(
                self.network, i, f"{host}:{self.control}", disk_mb=DISK_MB if o.fills else 0,
                appendonly=o.appendonly, loglevel=o.log_level, log_segment_size="4mb",
            )  # fmt: skip
            for i in range(o.nodes)
        ]
        self.ids = {}
        self.counts = {}
        self.load = None
        self.undo = []  # (when, what, function)
        self.lag = 0  # entries, of dead primaries' shards, as told before they died

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- how it is --

    def healthy(self):
        """Every shard has its primary and a full set in sync."""
        try:
            rows = self.view.shards()
        except OSError:
            return False
        wanted = min(2, self.o.nodes)
        return bool(rows) and all(row["primary"] != "-" and int(row["in-sync"]) >= wanted for row in rows)

    def settle(self, limit=40.0):
        until = time.monotonic() + limit
        while time.monotonic() < until:
            if self.healthy():
                return True
            time.sleep(0.1)
        self.count("not-settled")
        return False

    # -- faults --

    def pick(self):
        alive = [n for n in self.nodes if n.alive()]
        return self.rng.choice(alive) if alive else None

    def later(self, low, high, what, function):
        self.undo.append((time.monotonic() + self.rng.uniform(low, high), what, function))

    def run_due(self, everything=False):
        now = time.monotonic()
        due = [u for u in self.undo if everything or u[0] <= now]
        self.undo = [u for u in self.undo if u not in due]
        for _, _, function in due:
            function()

    def note_lag(self, node):
        """What its replicas lack, as far as is known: what may be lost under async."""
        try:
            ids = {row["addr"].rsplit(":", 1)[1]: row["id"] for row in self.view.nodes().values()}
            for row in self.view.shards():
                if row["primary"] == ids.get(str(node.port)):
                    lags = [part.split(":") for part in row["replicas"].split(",")]
                    self.lag += min((int(part[2]) for part in lags if len(part) > 2 and part[2].isdigit()), default=0)
        except (OSError, ValueError, KeyError):
            self.count("lag-unknown")

    def kill(self):
        node = self.pick()
        if node is None:
            return
        if self.o.mode == "async":
            self.note_lag(node)
        node.kill()
        self.count("kills")
        self.later(0.1, 4.0, "start", lambda: node.alive() or node.start())

    def stop(self):
        node = self.pick()
        if node is None:
            return
        node.pause()
        self.count("stops")
        self.later(0.2, 5.0, "resume", node.resume)

    def partition(self):
        i = self.rng.randrange(self.o.nodes)
        j = self.rng.choice([k for k in range(self.o.nodes) if k != i] + [None])
        kind = self.rng.randrange(3)
        net = self.network
        self.count("partitions")
        if kind == 0:
            net.isolate(i, True)
            self.later(0.2, 6.0, "heal", lambda: net.isolate(i, False))
        elif kind == 1:
            net.one_way(i, j, True)
            self.later(0.2, 6.0, "heal", lambda: net.one_way(i, j, False))
        else:
            for k in [k for k in range(self.o.nodes) if k != i]:
                net.one_way(i, k, True)
            self.later(
                0.2, 6.0, "heal", lambda: [net.one_way(i, k, False) for k in range(self.o.nodes) if k != i]
            )

    def fill(self):
        node = self.pick()
        if node is None:
            return
        node.fill()
        self.count("fills")
        self.later(0.5, 4.0, "empty", node.empty)

    def operate(self):
        node = self.rng.choice(self.nodes)
        try:
            ids = {row["addr"].rsplit(":", 1)[1]: row["id"] for row in self.view.nodes().values()}
            me = ids.get(str(node.port))
            what = self.rng.randrange(3)
            with self.proxy.wire(limit=5) as wire:
                if what == 0 or me is None:
                    wire.command("CLUSTER", "REBALANCE", "START")
                    self.count("rebalances")
                elif what == 1:
                    wire.command("CLUSTER", "FAILOVER", me)
                    self.count("handovers-asked")
                else:
                    wire.command("CLUSTER", "DRAIN", me)
                    self.count("drains")
                    self.later(2.0, 8.0, "undrain", lambda: self.undrain(me))
        except OSError:
            pass

    def undrain(self, node_id):
        with self.proxy.wire(limit=5) as wire:
            wire.command("CLUSTER", "DRAIN", node_id, "CANCEL")

    # -- the run --

    def start_load(self):
        argv = [
            os.environ["CHAOS_LOAD"], "--port", str(self.proxy.port), "--rate", str(self.o.rate),
            "--connections", str(self.o.connections), "--async", "1" if self.o.mode == "async" else "0",
        ]  # fmt: skip
        self.load = Process(argv, name="load")

    def plan(self):
        todo = ["kill"] * self.o.kills + ["stop"] * self.o.stops + ["operate"] * self.o.operations
        if self.network:
            todo += ["partition"] * self.o.partitions + ["fill"] * self.o.fills
        self.rng.shuffle(todo)
        return todo

    def run(self):
        wait_until(self.view.served, 30, "every shard to have a primary")
        wait_until(self.healthy, 30, "every shard to have its copies")
        self.start_load()
        time.sleep(1.0)  # nothing is waited for: load in peace, so that faults meet a cluster with data
        for i, what in enumerate(self.plan()):
            if not self.load.alive():
                break
            getattr(self, what)()
            # Mostly one after the other, sometimes on top of each other.
            if self.rng.random() < self.o.overlap:
                time.sleep(self.rng.uniform(0.0, 1.0))
                self.run_due()
                continue
            while self.undo:
                time.sleep(0.05)
                self.run_due()
            self.settle()
            if i % 20 == 19:
                print(f"# {i + 1} faults, {self.counts}", flush=True)
        while self.undo:
            time.sleep(0.05)
            self.run_due()
        settled = self.settle(60)
        time.sleep(1.0)  # ... and a second of it after the last fault, for its reads to be judged too
        self.load.signal(signal.SIGTERM)
        self.load.popen.wait(400)
        return self.report() and settled

    def judge(self, rows):
        """What the design allows clients to see, beside what the load itself looks for."""
        wrong = []
        writes = int(rows.get("acknowledged", 0))
        allowed = set(ALLOWED) | ({"error-MISCONF"} if self.o.fills else set())
        wrong += [f"{name} {value}" for name, value in rows.items() if name.startswith("error-") and name not in allowed]
        if self.o.mode == "sync":
            unknown = int(rows.get("unknown-told", 0))
            if unknown * 100000 > writes:
                wrong.append(f"{unknown} of {writes} writes of unknown outcome")
            wrong += [f"{name} {value}" for name, value in rows.items()
                      if name.startswith("unknown-of-") and not name.endswith("-DEL") and int(value)]  # fmt: skip
        return wrong

    def report(self):
        rows = dict(line.split(" ", 1) for line in self.load.output().splitlines() if " " in line[:60] and line[0] != "#")
        for line in self.load.output().splitlines():
            if line.startswith("#"):
                print(line)
        print("faults:", " ".join(f"{k}={v}" for k, v in sorted(self.counts.items())))
        for name in ("acknowledged", "reads", "unknown", "unknown-told", "refused", "lost", "keys", "keys-broken",
                     "keys-undecided", "keys-unread", "connections-cut", "longest-ms"):
            print(f"{name}: {rows.get(name)}")
        for name, value in sorted(rows.items()):
            if name.startswith("error-"):
                print(f"{name}: {value}")
        if self.o.mode == "async":
            print(f"lag of dead primaries' shards, as last told: {self.lag} entries")
        wrong = self.judge(rows)
        for line in wrong:
            print(f"not allowed: {line}")
        good = rows.get("verdict") == "good" and self.load.exit_code == 0 and not wrong
        for node in [*self.nodes, self.proxy]:
            if not node.alive():
                print(f"{node.name} ended with {node.exit_code}:\n{node.output(last_lines=30)}")
                good = False
        if not good:
            for node in [*self.nodes, self.proxy]:
                print(f"--- {node.name}\n{node.output(last_lines=25)}")
        return good


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--nodes", type=int, default=4)
    p.add_argument("--kills", type=int, default=4)
    p.add_argument("--stops", type=int, default=2)
    p.add_argument("--partitions", type=int, default=3)
    p.add_argument("--operations", type=int, default=3)
    p.add_argument("--fills", type=int, default=0, help="disks that are full for a while; needs namespaces")
    p.add_argument("--overlap", type=float, default=0.15)
    p.add_argument("--rate", type=int, default=2000)
    p.add_argument("--connections", type=int, default=20)
    p.add_argument("--mode", default="sync")
    p.add_argument("--log-level", default="notice")
    p.add_argument("--appendonly", default="yes")
    p.add_argument("--partitions-possible", type=int, default=0)
    o = p.parse_args()
    print(f"chaos with seed {o.seed}" + ("" if o.partitions_possible else ", without partitions"), flush=True)
    chaos = Chaos(o)
    try:
        good = chaos.run()
    finally:
        for process in list(Process.running):
            process.resume()
            process.kill()
    print(f"chaos: {'1 passed, 0 failed' if good else '0 passed, 1 failed'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
