"""The kill switch: one command ends copying in every worker within a second."""

from __future__ import annotations

import time

import pytest

from tests.support.load import Load
from tests.support.product import Product, wait_until
from tests.support.recorder import Recorder, answer


def last_copy_after(new: Recorder, moment_ns: int) -> float:
    """Give how long after *moment_ns* the last copy arrived, in seconds."""
    return max(((one.at_ns - moment_ns) / 1e9 for one in new.requests), default=0.0)


@pytest.mark.alone
def test_copies_end_everywhere_within_a_second() -> None:
    """`shadow off --all` ends copying in every worker within a second, without a restart or a lost request.

    So does `rollback --all --local`, which needs no control.
    """
    with (
        Recorder(answer(b"same")) as legacy,
        Recorder(answer(b"same")) as new,
        Product(
            {
                "workers": 2,
                "backends": {"old": {"url": legacy.url}, "new": {"url": new.url}},
                "defaults": {"legacy": "old", "new": "new", "shadow": {"max_per_second": "off"}},
                "routes": [{"name": "orders", "match": {"path": "/api/**"}, "initial_stage": "shadow"}],
            }
        ) as product,
        Load(product.port, clients=4) as load,
    ):
        workers = product.pids()["worker"]
        wait_until(lambda: len(new.requests) > 20, "copies")
        done = product.run("shadow", "off", "--all", "--reason", "drill")
        off = time.monotonic_ns()
        load.wait(400)
        first = last_copy_after(new, off)

        assert product.run("shadow", "on", "--all").returncode == 0
        count = len(new.requests)
        wait_until(lambda: len(new.requests) > count + 20, "copies again")
        local = product.run("rollback", "--all", "--local", "--state-dir", str(product.state_dir))
        off = time.monotonic_ns()
        load.wait(400)
        second = last_copy_after(new, off)
        after = product.pids()["worker"]

    assert done.returncode == local.returncode == 0, (done.stderr, local.stderr)
    assert load.failures == []
    assert first < 1.0
    assert second < 1.0
    assert after == workers
