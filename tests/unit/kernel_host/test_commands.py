from __future__ import annotations

import pytest

from pytest_nbgroups.kernel_host.commands import runs_ipykernel, runs_python


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/env/bin/python3.12", "-m", "ipykernel_launcher", "-f", "x"], True),
        (["python", "-Xfrozen_modules=off", "-m", "ipykernel", "-f", "x"], True),
        (["/env/bin/python", "-m", "bash_kernel", "-f", "x"], False),
        (["docker", "run", "python", "-m", "ipykernel_launcher"], False),
        (["julia", "-i", "kernel.jl", "x"], False),
        ([], False),
    ],
)
def test_ipykernel_is_recognized(argv: list[str], expected: bool) -> None:  # noqa: FBT001
    """Only where it runs on this machine, under a Python."""
    assert runs_ipykernel(argv) is expected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/env/bin/python3.12", "-m", "bash_kernel"], True),
        (["C:/Python/Python.exe", "kernel.py"], True),
        (["pypy3", "-m", "ipykernel"], True),
        (["julia", "kernel.jl"], False),
        (["/env/python/bin/xr", "-f", "x"], False),
        ([], False),
    ],
)
def test_python_is_recognized(argv: list[str], expected: bool) -> None:  # noqa: FBT001
    """By the name of the program, not by its folder."""
    assert runs_python(argv) is expected
