"""The idle item: sent to each worker after every unit, so that the unit starts at once.

xdist's worker starts an item when it knows the next one, since fixtures are torn down according to
that. The idle item is a next one that does nothing and shares no fixture with anything.
"""

from __future__ import annotations

from pathlib import Path

import pytest

IDLE = "(end of the session)"


class IdleItem(pytest.Item):
    """Runs nothing."""

    def runtest(self) -> None:
        """Do nothing."""

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, IDLE


class IdleWorker:
    """Puts the idle item behind a worker's own items and keeps it out of all reports."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        # By now xdist has sent the collection to the controller, which must not see the idle item.
        session.items.append(IdleItem.from_parent(session, name=IDLE, nodeid=IDLE))

    # The first answer counts: no plugin runs or reports the idle item.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        if not isinstance(item, IdleItem):
            return None
        if nextitem is None:
            _end_session_fixtures(item)
        return True


def _end_session_fixtures(item: IdleItem) -> None:
    """Tear down the fixtures that are left; report an error as one of the session's end."""
    # Without pytest's hooks for the phases of an item, whose implementations expect a test.
    state = item.session._setupstate  # noqa: SLF001  pytest has no other way
    call = pytest.CallInfo.from_call(
        lambda: state.teardown_exact(None), when="teardown", reraise=pytest.exit.Exception
    )
    report = pytest.TestReport.from_item_and_call(item, call)
    if report.failed:
        item.ihook.pytest_runtest_logreport(report=report)
