"""What the package is to those who import it, and that these tests mirror it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_nbgroups

SOURCE = Path(pytest_nbgroups.__file__).parent
TESTS = Path(__file__).parent

WITHOUT = {
    "_version.py": "made at the build",
    "api.py": "runs kernels: tests/system/test_api.py",
    "core/errors.py": "names alone",
    "core/settings.py": "values alone",
    "engines/local.py": "leases and runs kernels: tests/system/test_api.py",
    "engines/protocol.py": "values and a protocol: tests/system/test_orders.py",
    "engines/session_start.py": "puts together what is tested apart: tests/system",
    "events.py": "names alone",
    "execution/cells.py": "talks to a kernel: tests/system/test_cell_endings.py",
    "execution/experiment.py": "runs kernels: tests/system/test_order.py",
    "execution/notebook_run.py": "the state of a run: tests/system/test_order.py",
    "execution/notebook.py": "runs a kernel: tests/system/test_time_limits.py",
    "execution/run.py": "runs kernels: tests/system/test_order.py",
    "hints/signs.py": "read through hints/finding.py, as its users do",
    "hints/suggestions.py": "read through hints/finding.py, as its users do",
    "history/statements.py": "SQL, run by the tests of history/store.py",
    "integration/as_installed.py": "an import hook: tests/integration/test_registration.py",
    "kernel_host/client.py": "starts a process: tests/system/test_kernel_host.py",
    "kernel_host/connection.py": "talks to a process: tests/system/test_kernel_host.py",
    "kernel_host/program.py": "values alone",
    "kernel_host/windows_tree.py": "Windows' own",
    "kernels/kernel.py": "talks to a kernel: tests/system/test_kernels.py",
    "kernels/running.py": "starts a kernel: tests/system/test_kernels.py",
    "machine/gpu.py": "asks NVML: tests/system/test_gpu.py, with one that is made up",
    "machine/gpu_reader.py": "asks NVML: tests/system/test_gpu_reader.py",
    "reports/session_schema.py": "values alone, held against records by test_session_file.py",
    "resume/interpreter.py": "asks another Python: tests/system/test_interpreters.py",
}
"""Modules without a unit test -> why."""


@pytest.mark.parametrize("name", pytest_nbgroups.__all__)
def test_public_names_are_there(name: str) -> None:
    """Each under its own name, and documented."""
    value = getattr(pytest_nbgroups, name)
    if name != "Event":  # a union
        assert value.__name__ == name
        assert value.__doc__


def test_public_names_are_sorted() -> None:
    """So that none is listed twice or overlooked."""
    assert pytest_nbgroups.__all__ == sorted(set(pytest_nbgroups.__all__))


def test_the_version_is_there() -> None:
    """As people ask for it."""
    assert pytest_nbgroups.__version__[0].isdigit()


def test_other_names_are_not() -> None:
    """The message is Python's own."""
    with pytest.raises(
        AttributeError, match=r"^module 'pytest_nbgroups' has no attribute 'run_experiments'$"
    ):
        pytest_nbgroups.run_experiments  # noqa: B018


def modules() -> Iterator[str]:
    """The modules with code of their own, as paths below the package."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name != "__init__.py":
            yield path.relative_to(SOURCE).as_posix()


def needs_pytest(module: str) -> bool:
    """Whether it is of the face or the integration and imports pytest: pytester tests it there."""
    if "/" in module and not module.startswith("integration/"):
        return False
    tree = ast.parse((SOURCE / module).read_text("utf-8"))
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return any(name in {"pytest", "pluggy"} or name.startswith("_pytest") for name in names)


def mirror_of(module: str) -> Path:
    """Where its unit test is."""
    path = TESTS / module
    return path.with_name(f"test_{path.stem.strip('_')}.py")


def test_every_module_has_its_test() -> None:
    """In the file that mirrors it, unless there is a reason."""
    missing = [
        module
        for module in modules()
        if not mirror_of(module).exists() and module not in WITHOUT and not needs_pytest(module)
    ]
    assert missing == []


def test_every_reason_is_needed() -> None:
    """A module that has a test, that pytester tests, or that is gone, needs none."""
    there = set(modules())
    assert [
        module
        for module in WITHOUT
        if module not in there | {"_version.py"}
        or mirror_of(module).exists()
        or needs_pytest(module)
    ] == []


def test_every_reason_names_what_is_there() -> None:
    """A test that a reason names exists."""
    root = TESTS.parents[1]
    named = {
        word.strip(",")
        for reason in WITHOUT.values()
        for word in reason.split()
        if "tests/" in word
    }
    assert [name for name in sorted(named) if not (root / name).exists()] == []


def test_names_of_test_files_are_there_once() -> None:
    """Pytest imports each by its name alone, and refuses to collect a second one of the same name."""
    names = sorted(path.name for path in TESTS.parent.rglob("test_*.py"))
    assert names == sorted(set(names))


def test_written_test_files_have_names_of_their_own() -> None:
    """Tests that write tests collect them in this process, which keeps one module for each name."""
    own = {path.name for path in TESTS.parent.rglob("test_*.py")}
    texts = [path.read_text("utf-8") for path in (TESTS.parent / "integration").glob("*.py")]
    written = {name for text in texts for name in re.findall(r"\btest_\w+\.py\b", text)}
    assert written
    assert written.isdisjoint(own)
