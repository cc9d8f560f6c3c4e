"""The idle item: what each worker is told to run after every unit, so that the unit starts at once.

xdist's worker starts an item when it knows the next one, since fixtures are torn down according to
that. The idle item is a next one that does nothing and shares no fixture with anything.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

IDLE = "(end of the session)"


class IdleItem(pytest.Item):
    """Runs nothing. The last one of a session tears the session's fixtures down."""

    def runtest(self) -> None:
        """Do nothing."""

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, IDLE


class IdleWorker:
    """Puts the idle item behind a worker's own items and keeps it out of all reports."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Called after xdist has told the controller what was collected."""
        session.items.append(IdleItem.from_parent(session, name=IDLE))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        if not isinstance(item, IdleItem):
            return None
        if nextitem is None:
            for report in runtestprotocol(item, log=False, nextitem=None):
                if report.failed:  # the teardown of a fixture of session scope
                    item.ihook.pytest_runtest_logreport(report=report)
        return True
