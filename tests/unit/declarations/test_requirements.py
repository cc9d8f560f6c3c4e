from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_nbgroups.declarations.requirements import missing


def test_what_is_there_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module, a command and a variable, each where it is looked for."""
    name = "tool.exe" if sys.platform == "win32" else "tool"
    (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", "")
    env = {"PATH": str(tmp_path), "TOKEN": "x"}
    assert missing(["module:json", "module:os.path", "command:tool", "env:TOKEN"], env) is None
    assert missing([], {}) is None


def test_everything_that_is_missing_is_named() -> None:
    """So that it can be installed in one go."""
    requires = ["module:no_such", "module:json", "command:no-such", "env:NO_SUCH"]
    assert missing(requires, {}) == (
        "needs the Python module no_such; needs the command no-such; "
        "needs the environment variable NO_SUCH"
    )


def test_an_empty_variable_is_missing() -> None:
    """GitHub sets secrets that are not there to nothing."""
    assert missing(["env:TOKEN"], {"TOKEN": ""}) == "needs the environment variable TOKEN"


@pytest.mark.parametrize(
    "name", ["no_such.inner", "json.no_such.x", ".relative", "__main__.x", "a..b"]
)
def test_modules_that_cannot_be_there(name: str) -> None:
    """Whatever the import system thinks of such a name."""
    assert missing([f"module:{name}"], {}) == f"needs the Python module {name}"


def test_a_package_that_breaks_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch does where its libraries do not fit: its submodules cannot be had."""
    (tmp_path / "breaks_on_import").mkdir()
    (tmp_path / "breaks_on_import" / "__init__.py").write_text("raise OSError('libcudart.so')")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing(["module:breaks_on_import.cuda"], {}) == (
        "needs the Python module breaks_on_import.cuda"
    )
    assert missing(["module:breaks_on_import"], {}) is None
    assert "breaks_on_import" not in sys.modules
