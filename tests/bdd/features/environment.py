"""Around the scenarios: every process that one started ends with it."""
from support import process


def before_all(context):
    context.counts = {"passed": 0, "failed": 0}


def before_scenario(context, scenario):
    process.forget_finished()


def after_scenario(context, scenario):
    failed = scenario.status.name == "failed"
    bad = []
    for one in reversed(list(process.Process.running)):
        code = one.stop()
        if code != 0:
            bad.append(f"{one.name} ended with {code}")
    if failed or bad:
        print(process.outputs())
    context.counts["failed" if failed or bad else "passed"] += 1
    assert not bad, "; ".join(bad)


def after_all(context):
    counts = context.counts
    print(f"bdd: {counts['passed']} passed, {counts['failed']} failed")
