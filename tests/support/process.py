"""Child processes of a test: started on free ports in their own folder, always stopped.

A process keeps its output in a file beside its data; text of it is shown when a test fails
(Process.running holds all that are alive). Signals go to the pid that was started here and,
at the very end, to the process group that it leads, so that its children go too.
"""
import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from .wait import PATIENCE, wait_until

_ports_given = set()
_random = random.Random(os.getpid() ^ time.time_ns())


def free_port(span=1):
    """A port (the first of span ones) that nobody listens on, below the range that outgoing
    connections use, and, if there is one, not given out before by this test run."""
    for given in (_ports_given, set()):  # in a long run nearly all have been given out: then again
        for _ in range(1000):
            first = _random.randrange(12000, 22000)
            ports = range(first, first + span)
            if given.isdisjoint(ports) and all(_is_free(port) for port in ports):
                _ports_given.update(ports)
                return first
    raise RuntimeError("no free port found")


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def temp_dir(name="shoal"):
    """A new folder that goes away when the tests end, unless KEEP_DIRS is set."""
    path = tempfile.mkdtemp(prefix=f"{name}-")
    if not os.environ.get("KEEP_DIRS"):
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class Process:
    """One program, started at once."""

    running = []  # all that were started and not yet stopped, oldest first
    started = []  # all of the current test, stopped or not: see forget_finished()

    def __init__(self, argv, name=None, directory=None, env=None):
        self.argv = [str(word) for word in argv]
        self.name = name or os.path.basename(self.argv[0])
        self.dir = directory or temp_dir(self.name)
        self.env = env
        self.output_path = os.path.join(self.dir, f"{self.name}.out")
        self.popen = None
        self.lasting = False  # outlives the test that started it
        self.start()

    def start(self):
        """Starts it, or starts it again with the same arguments."""
        # setpriv: should this test process be killed outright, its children get SIGTERM.
        guard = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with open(self.output_path, "ab") as output:
            self.popen = subprocess.Popen(
                guard + self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.dir,
                env=dict(os.environ, **self.env) if self.env else None,
                start_new_session=True,
            )
        Process.running.append(self)
        if self not in Process.started:
            Process.started.append(self)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def exit_code(self):
        """None while it runs; negative: the signal that ended it."""
        return self.popen.poll()

    def alive(self):
        return self.exit_code is None

    def output(self, last_lines=None):
        with open(self.output_path, "rb") as file:
            text = file.read().decode("utf-8", "replace")
        if last_lines is not None:
            text = "\n".join(text.splitlines()[-last_lines:])
        return text

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def pause(self):
        """SIGSTOP: the process falls silent, its connections stay open."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """kill -9, and its whole group when it is gone; waits until it is."""
        self.signal(signal.SIGKILL)
        self.popen.wait()
        self._sweep()

    def wait(self, limit=10.0):
        """Waits until it ends by itself; its exit code."""
        wait_until(lambda: not self.alive(), limit, f"{self.name} to end")
        self._sweep()
        return self.exit_code

    def stop(self, limit=5.0):
        """SIGTERM; its exit code. One that does not end within the limit is killed, which is
        an error."""
        if self.alive():
            self.resume()
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(limit * PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"{self.name} did not end within {limit * PATIENCE} s after SIGTERM"
                ) from None
        self._sweep()
        return self.exit_code

    def _sweep(self):
        """Ends what the process left behind in its group; forgets it."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        if self in Process.running:
            Process.running.remove(self)

    def cpu_seconds(self):
        """CPU seconds so far, of all its threads: exact."""
        return time.clock_gettime((~self.pid << 3) | 2)  # what clock_getcpuclockid() gives

    def cpu_ticks(self):
        """User and system CPU ticks so far: coarse, for their proportion."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]), int(fields[12])

    def memory_bytes(self):
        """Resident set size."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def children(self):
        """Pids of its direct children."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]


def stop_all():
    """Ends everything that a test left running, newest first, without ceremony."""
    for process in reversed(list(Process.running)):
        if process.alive():
            process.resume()
            process.signal(signal.SIGTERM)
    deadline = time.monotonic() + 2 * PATIENCE
    for process in reversed(list(Process.running)):
        while process.alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()


def forget_finished():
    """Start of a new test: outputs of the last one are no longer of interest."""
    Process.started[:] = list(Process.running)


def outputs(last_lines=40):
    """The last lines of every process of the current test, for a failure report."""
    parts = []
    for process in Process.started:
        state = "running" if process.alive() else f"ended with {process.exit_code}"
        parts.append(f"--- {process.name} (pid {process.pid}, {state}) {process.dir}")
        parts.append(process.output(last_lines))
    return "\n".join(parts)


def _terminated(*_):
    sys.exit(143)


atexit.register(stop_all)
if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
    try:
        signal.signal(signal.SIGTERM, _terminated)
    except ValueError:
        pass  # imported from a thread: the main program decides
