"""Shared by all integration tests: clusters to talk to, and what happens around each test."""
import pytest
from support import process
from support.programs import Node, Proxy
from support.wait import PATIENCE


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    terminalreporter.write_line(f"integration: {len(stats.get('passed', []))} passed, {failed} failed")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        report.sections.append(("processes", process.outputs()))


@pytest.fixture(autouse=True)
def processes():
    """What a test starts ends with it, and must end well; what fixtures of a whole file started
    stays, and must stay alive."""
    process.forget_finished()
    yield
    running = list(reversed(process.Process.running))
    gone = [f"{one.name} is gone\n{one.output(30)}" for one in running if one.lasting and not one.alive()]
    mine = [one for one in running if not one.lasting]
    codes = [(one.name, one.stop(), one) for one in mine]
    bad = [f"{name} ended with {code}\n{one.output(30)}" for name, code, one in codes if code != 0]
    assert not bad + gone, "\n".join(bad + gone)


def _ended_well(server):
    code = server.stop()
    assert code == 0, f"{server.name} ended with {code}\n{server.output(50)}"


@pytest.fixture(scope="module")
def node():
    """One node that holds every slot, for a whole file; its tests leave it as they found it."""
    server = Node(enable_debug_command="yes").ready()
    server.lasting = True
    yield server
    _ended_well(server)


@pytest.fixture(scope="module")
def proxy():
    """A proxy with three nodes, for a whole file; its tests leave it as they found it."""
    limits = {"request_timeout": f"{15 * PATIENCE:.0f}s", "heartbeat_interval": f"{5 * PATIENCE:.0f}s"}
    server = Proxy(local_nodes=3, enable_debug_command="yes", **limits).ready()
    server.lasting = True
    yield server
    _ended_well(server)


@pytest.fixture(params=["node", "proxy"])
def server(request):
    """The same test against a node and against a proxy: a client cannot tell them apart."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def empty(server):
    """server, without a key in any database."""
    server.r.flushall()
    return server
