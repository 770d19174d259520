#!/usr/bin/python3
"""usage: limits.py plain PORT

The rate limits of Flask-Limiter and others: fixed, elastic and moving windows."""
import sys

sys.path.pop(0)  # this folder, whose names are those of libraries

from limits import RateLimitItemPerHour, storage, strategies  # noqa: E402

store = storage.storage_from_string(f"redis://127.0.0.1:{sys.argv[2]}")
for strategy in strategies.STRATEGIES.values():
    limiter = strategy(store)
    item = RateLimitItemPerHour(5)
    assert [limiter.hit(item, strategy.__name__, "ann") for _ in range(8)] == [True] * 5 + [False] * 3
    assert limiter.get_window_stats(item, strategy.__name__, "ann")[1] == 0
    assert limiter.hit(item, strategy.__name__, "bob")
print("fine")
