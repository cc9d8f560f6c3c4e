"""What a Python tells of itself and of what it has installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil  # noqa: TID253  to look at processes
import pytest

from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.resume import interpreter
from pytest_nbgroups.resume.bounds import ReadingStoppedError
from pytest_nbgroups.resume.interpreter import Interpreters, ask


def test_a_python_tells_what_it_has() -> None:
    """Its version and prefix, and distributions under their normalized names."""
    told = ask(sys.executable)
    version = "{}.{}.{}".format(*sys.version_info)
    assert told.interpreter.endswith(f"{version} in {sys.prefix}")
    assert {"pytest-nbgroups", "nbclient", "typing-extensions"} <= told.distributions.keys()


def test_a_python_that_is_not_there_does_not_tell() -> None:
    """The reason is the system's."""
    with pytest.raises(
        CheckpointError, match=r"^/no/such/python does not report what is installed: "
    ):
        ask("/no/such/python")


@pytest.mark.skipif(sys.platform == "win32", reason="makes a script")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo one >&2; echo last >&2; exit 3", "it ended with status 3: last"),
        ("exit 1", "it ended with status 1"),
        ("echo nonsense", "Expecting value: line 1 column 1 (char 0)"),
        ("exec sleep 60", "no answer within 0.2 s"),
    ],
)
def test_a_python_that_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    """Whatever is the matter with it is told in one line, without the program that was to ask it."""
    monkeypatch.setattr(interpreter, "_PATIENCE_S", 0.2 if "sleep" in script else 60.0)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o700)
    with pytest.raises(CheckpointError) as caught:
        ask(str(python))
    assert str(caught.value) == f"{python} does not report what is installed: {reason}"


def test_a_python_that_greets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a start-up file prints does not matter."""
    (tmp_path / "sitecustomize.py").write_text("print('welcome to the cluster')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ask(sys.executable).interpreter.startswith("CPython")


def test_a_python_is_asked_again_when_something_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that it imports from has changed then, or a .pth file in it that says where a package is."""
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
    (tmp_path / "editable.pth").write_text("/one")
    third = interpreters.installation(sys.executable)
    folder = tmp_path.stat().st_mtime_ns
    (tmp_path / "editable.pth").write_text("/two")
    os.utime(tmp_path / "editable.pth", (1, 1))
    assert tmp_path.stat().st_mtime_ns == folder
    assert interpreters.installation(sys.executable) is not third


@pytest.mark.skipif(sys.platform == "win32", reason="makes a script")
def test_a_python_that_hangs_holds_nothing_up(tmp_path: Path) -> None:
    """Once the run is stopped it is killed, long before its time is over."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    python.chmod(0o700)

    def check() -> None:
        if (tmp_path / "pid").exists():
            raise ReadingStoppedError

    with pytest.raises(ReadingStoppedError):
        ask(str(python), check)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
