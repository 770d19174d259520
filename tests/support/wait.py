"""Waiting for something to become true, instead of sleeping and hoping."""
import os
import time

# One place to stretch every limit: sanitizer builds and busy machines are slower.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))


class NotInTime(AssertionError):
    """The condition did not become true within the limit."""


class Hopeless(AssertionError):
    """Waiting longer will not help: wait_until() passes it on at once."""


def wait_until(condition, limit=10.0, what=None, every=0.02):
    """Calls condition() until it gives a true value, and returns that value.

    An exception inside counts as "not yet"; the last one is shown when time runs out.
    """
    deadline = time.monotonic() + limit * PATIENCE
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except Hopeless:
            raise
        except Exception as error:  # pylint: disable=broad-except
            last = error
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__name__", "the condition")
            raise NotInTime(f"not within {limit * PATIENCE:.1f} s: {name}; last seen: {last!r}")
        time.sleep(every)
