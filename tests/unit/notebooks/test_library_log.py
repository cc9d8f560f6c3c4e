"""What nbformat logs is kept from the reader."""

from __future__ import annotations

import logging
import threading

import pytest
from traitlets.log import get_logger

from pytest_nbgroups.notebooks.library_log import silenced


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_nothing_is_logged_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    """Before and after it is, also if the work within fails."""
    log = get_logger()
    log.error("before")

    def fail() -> None:
        with silenced():
            log.error("within")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    log.error("after")
    assert messages(caplog) == ["before", "after"]


def test_other_threads_log_as_before(caplog: pytest.LogCaptureFixture) -> None:
    """Also if both are silenced one within the other."""
    log = get_logger()
    with silenced(), silenced():
        thread = threading.Thread(target=log.error, args=("elsewhere",))
        thread.start()
        thread.join()
        log.error("here")
    assert messages(caplog) == ["elsewhere"]
    assert logging.getLogger(log.name).filters == []
