"""What a Python tells of itself and of what it has installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_nbgroups.errors import CheckpointError
from pytest_nbgroups.execution.interpreter import Interpreters, ask


def test_a_python_tells_what_it_has() -> None:
    """Its version and prefix, and distributions under their normalized names."""
    told = ask(sys.executable)
    version = "{}.{}.{}".format(*sys.version_info)
    assert told.interpreter.endswith(f"{version} in {sys.prefix}")
    assert {"pytest-nbgroups", "nbclient", "typing-extensions"} <= told.distributions.keys()


@pytest.mark.parametrize("command", ["/no/such/python", "false"])
def test_a_python_that_does_not_tell(command: str) -> None:
    """Whatever is the matter with it."""
    with pytest.raises(CheckpointError, match=f"^{command} does not tell what is installed: "):
        ask(command)


def test_a_python_is_asked_again_when_something_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that it imports from has changed then."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    interpreters = Interpreters()
    first = interpreters.installation(sys.executable)
    assert interpreters.installation(sys.executable) is first
    info = tmp_path / "Some_Thing-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Some.Thing\nVersion: 1.5\n")
    (info / "direct_url.json").write_text('{"url": "file:///x"}')
    os.utime(tmp_path, (1, 1))
    second = interpreters.installation(sys.executable)
    added = dict(second.distributions.items() - first.distributions.items())
    assert added.keys() == {"some-thing"}
    assert added["some-thing"].startswith("1.5 ")
