"""Names of a session and of this version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from pytest_nbgroups.core import identity
from pytest_nbgroups.core.identity import plugin_version, session_id


def test_sessions_sort_by_time() -> None:
    """The id is UTC, whatever the zone of the machine, and ends with the token."""
    ids = [session_id(at, token) for at, token in ((0.0, "b"), (0.0, "c"), (86_400.5, "a"))]
    assert ids == ["1970-01-01T00-00-00Z-b", "1970-01-01T00-00-00Z-c", "1970-01-02T00-00-00Z-a"]
    assert ids == sorted(ids)
    assert session_id(1738326605.9, "1a2b3c") == "2025-01-31T12-30-05Z-1a2b3c"


def test_a_source_tree_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is written all the same."""

    def absent(_name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(identity, "version", absent)
    assert plugin_version() == "unknown"
