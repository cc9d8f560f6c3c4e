"""The controller's end of the channel to the workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nbgroups.integration.xdist.channel import Controller


@pytest.mark.parametrize("left", [["A::notebooks"], []])
def test_a_session_that_ran_out_of_workers(left: list[str]) -> None:
    """It fails, although nothing that was run may have."""
    unused: Any = SimpleNamespace(config=None)
    scheduler: Any = SimpleNamespace(not_run=lambda: left)
    controller = Controller(unused, unused)
    controller.scheduler = scheduler
    session: Any = SimpleNamespace(Failed=pytest.Session.Failed)
    loop = controller.pytest_runtestloop(session)
    next(loop)
    with pytest.raises(pytest.Session.Failed if left else StopIteration):
        next(loop)


@pytest.mark.parametrize("has_started", [True, False])
def test_a_worker_whose_collection_ended(has_started: bool) -> None:  # noqa: FBT001  parametrized
    """It ends the session, unless tests run already: then it took another worker's place."""
    unused: Any = SimpleNamespace(config=None)
    node: Any = SimpleNamespace(gateway=SimpleNamespace(id="gw0"))
    controller = Controller(unused, unused)
    controller._take("gw0", '{"usage error": ["file or directory not found: nowhere"]}')
    if has_started:
        controller.pytest_runtest_logstart()
        controller.pytest_testnodedown(node)
    else:
        with pytest.raises(pytest.UsageError, match="nowhere"):
            controller.pytest_testnodedown(node)
