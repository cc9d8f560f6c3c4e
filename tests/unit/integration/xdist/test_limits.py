"""What pytest-xdist may be asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nbgroups.integration.xdist.limits import (
    AUTO,
    refuse_unsupported,
    user_decides,
    worker_count,
)


def config(dist: str = "load", tx: list[str] | None = None) -> Any:
    return SimpleNamespace(getoption={"dist": dist, "tx": tx}.get)


@pytest.mark.parametrize(
    ("tx", "count"),
    [(None, 0), ([], 0), (["popen"], 1), (["popen"] * 3, 3), (["2*popen", "popen"], 3)],
)
def test_how_many_workers(tx: list[str] | None, count: int) -> None:
    """A number before ``*`` stands for so many; none means that all runs in this process."""
    assert worker_count(config(tx=tx)) == count


@pytest.mark.parametrize(
    ("dist", "tx", "word"),
    [
        ("each", [], "--dist each"),
        ("load", ["ssh=host"], "--tx ssh=host"),
        ("load", ["popen", "popen//chdir=x"], "--tx popen//chdir=x"),
        ("load", ["popen//via=gw0"], "--tx popen//via=gw0"),
    ],
)
def test_what_is_refused(dist: str, tx: list[str], word: str) -> None:
    """It would run an experiment twice, or where its directory is not; the message says what to use."""
    with pytest.raises(pytest.UsageError, match=f"^--run-experiments with {word}: .*; use -"):
        refuse_unsupported(config(dist, tx))


def test_what_is_accepted() -> None:
    """Workers on this machine, in this folder."""
    refuse_unsupported(config("no"))
    refuse_unsupported(config("loadgroup", ["popen", "2*popen"]))


def deciding(*plugins: object, conftests: tuple[object, ...] = ()) -> Any:
    """A configuration in which these plugins say how many workers ``auto`` is."""
    hooks = [SimpleNamespace(plugin=plugin) for plugin in plugins]
    hook = SimpleNamespace(
        pytest_xdist_auto_num_workers=SimpleNamespace(get_hookimpls=lambda: hooks)
    )
    return SimpleNamespace(hook=hook, pluginmanager=SimpleNamespace(_conftest_plugins=conftests))


def test_who_decides_on_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user, by a conftest.py or xdist's variable; a plugin that is installed is no decision."""
    monkeypatch.delenv(AUTO, raising=False)
    conftest, plugin = object(), object()
    assert not user_decides(deciding())
    assert not user_decides(deciding(plugin, conftests=(conftest,)))
    assert user_decides(deciding(plugin, conftest, conftests=(conftest,)))
    monkeypatch.setenv(AUTO, "3")
    assert user_decides(deciding())
