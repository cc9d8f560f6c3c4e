"""Which kernels can be forked, and what their server is made of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_nbgroups.kernel_host.connection import NotForkedError
from pytest_nbgroups.kernel_host.warm_start import Wanted, command_of

if sys.platform != "linux":
    pytest.skip("kernels are forked only on Linux", allow_module_level=True)

KERNEL = ("-m", "ipykernel_launcher", "-f", "x")


def wanted(folder: Path, **env: str) -> Wanted:
    return Wanted(
        command=command_of([sys.executable, *KERNEL]),
        cwd=folder,
        env=env,
        preload=("wave",),
        log_path=None,
    )


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-O", "-X", "dev"),
        ("-W", "error::UserWarning", "-I"),
        ("-Wignore", "-Xdev", "--check-hash-based-pycs", "never"),
    ],
)
def test_flags_of_the_interpreter(flags: tuple[str, ...]) -> None:
    """Are those of the server."""
    command = command_of([sys.executable, *flags, *KERNEL])
    assert command.interpreter == (sys.executable, *flags)
    assert (command.module, command.arguments) == ("ipykernel_launcher", ("-f", "x"))


@pytest.mark.parametrize("before", [("wrapper.py",), ("-O", "-c", "pass"), ("-X", "dev", "x")])
def test_a_program_before_ipykernel(before: tuple[str, ...]) -> None:
    """Would be run with the arguments of a server."""
    with pytest.raises(NotForkedError, match="runs something else before ipykernel"):
        command_of([sys.executable, *before, *KERNEL])


def test_the_names_of_a_notebook_make_no_kind(tmp_path: Path) -> None:
    """Nor does its directory; all other variables do."""
    own = {
        "NBGROUPS_NOTEBOOK": "1.ipynb",
        "NBGROUPS_EXPERIMENT": "a",
        "NBGROUPS_LEASE": "holding-1",
    }
    request = wanted(tmp_path, **own).request
    assert request == wanted(tmp_path / "other", NBGROUPS_NOTEBOOK="2.ipynb").request
    assert request != wanted(tmp_path, A="1").request


@pytest.mark.parametrize(
    ("path", "depends"), [("/a:/b", False), ("/a:b", True), ("", True), ("/a:", True)]
)
def test_relative_paths_of_modules(tmp_path: Path, path: str, depends: bool) -> None:  # noqa: FBT001
    """Are looked up where a server is started."""
    expected = str(tmp_path) if depends else os.sep
    assert wanted(tmp_path, PYTHONPATH=path).request["cwd"] == expected
