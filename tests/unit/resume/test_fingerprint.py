"""What a notebook's fingerprint is made from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.errors import CheckpointError, NbgroupsError
from pytest_nbgroups.core.model import Experiment, Notebook
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.resume.checkpoint import Fingerprint
from pytest_nbgroups.resume.file_contents import FileContents
from pytest_nbgroups.resume.fingerprint import read_data, read_fingerprint
from pytest_nbgroups.resume.interpreter import Installation

Install = Callable[..., None]
IPYKERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def installation(executable: str) -> Installation:
    """Says which program it was asked about."""
    return Installation(interpreter=f"asked {executable}")


@pytest.fixture(autouse=True)
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    def write(
        name: str, argv: list[str] = IPYKERNEL, language: str = "python", **more: Any
    ) -> None:
        path = tmp_path / "kernels" / name / "kernel.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = {"argv": argv, "display_name": name, "language": language, **more}
        path.write_text(json.dumps(spec))

    write("python3")
    return write


def experiment(folder: Path, **changes: Any) -> Experiment:
    return Experiment(name="x", directory=folder, notebooks=(), **changes)


def fingerprint(folder: Path, kernel: str = "python3", source: str = "1") -> Fingerprint:
    """Of a notebook with one cell."""
    cell: dict[str, Any] = {
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    path = folder / "1.ipynb"
    path.write_text(json.dumps(content))
    settings = Settings(rootdir=folder, artifacts=folder)
    notebook = Notebook(path=path, kernel=kernel)
    return read_fingerprint(
        notebook, experiment(folder), settings, installation=installation, data={}
    )


def test_it_tells_of_the_kernels_interpreter(tmp_path: Path, install: Install) -> None:
    """The program that its kernelspec starts; ``python`` is the one that runs pytest."""
    assert fingerprint(tmp_path).interpreter == f"asked {sys.executable}"
    install("short", ["python", *IPYKERNEL[1:]])
    assert fingerprint(tmp_path, "short").interpreter == f"asked {sys.executable}"


def test_what_starts_the_kernel_counts(tmp_path: Path, install: Install) -> None:
    """Its command, variables, and its folder where the command speaks of it."""
    first = fingerprint(tmp_path)
    install("python3", metadata={"debugger": True})
    assert fingerprint(tmp_path) == first
    install("python3", env={"A": "1"})
    assert fingerprint(tmp_path).kernelspec != first.kernelspec
    install("python3", [*IPYKERNEL, "{resource_dir}"])
    assert fingerprint(tmp_path).kernelspec != first.kernelspec


def test_a_kernel_of_another_language(tmp_path: Path, install: Install) -> None:
    """Its kernelspec alone stands for what it has."""
    install("shell", [sys.executable, "-m", "bash_kernel"], language="bash")
    assert fingerprint(tmp_path, "shell").interpreter == ""


@pytest.mark.parametrize(
    "argv", [["{prefix}/bin/python", *IPYKERNEL[1:]], [sys.executable, "-m", "runner"]]
)
def test_a_python_that_cannot_be_asked_is_a_doubt(
    tmp_path: Path, install: Install, argv: list[str]
) -> None:
    """Which one would run is known to its starter alone."""
    install("far", argv)
    with pytest.raises(CheckpointError, match=r"^what the kernel far has installed is not known$"):
        fingerprint(tmp_path, "far")


def test_what_would_fail_has_none(tmp_path: Path) -> None:
    """The reason is that with which the notebook fails."""
    with pytest.raises(NbgroupsError, match="no kernel named 'gone'"):
        fingerprint(tmp_path, "gone")


# Data


def data(folder: Path, *patterns: str) -> dict[str, str]:
    states = read_data(experiment(folder, data=patterns), FileContents())
    return {path: "none" if s.sha256 == "none" else "file" for path, s in states.items()}


def test_data_outside_of_the_directory(tmp_path: Path) -> None:
    """Files at any depth, hidden ones too; a folder counts with all that is in it."""
    here = tmp_path / "experiments" / "A"
    here.mkdir(parents=True)
    for name in ("data/a.csv", "data/deep/b.csv", "data/deep/.c", "data/zarr.z/0.0", "lib/x.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    whole = {f"../../data/{n}": "file" for n in ("a.csv", "deep/b.csv", "deep/.c", "zarr.z/0.0")}
    assert data(here, "../../data/**") == whole
    assert data(here, "../../data") == whole
    assert data(here, "../../data/*.z") == {"../../data/zarr.z/0.0": "file"}
    assert data(here, "../../**/*.py", "../none/*") == {
        "../../lib/x.py": "file",
        "../none/*": "none",
    }
    absolute = tmp_path / "lib" / "x.py"
    assert data(here, str(absolute)) == {absolute.as_posix(): "file"}


@pytest.mark.skipif(sys.platform == "win32", reason="makes a pipe")
def test_data_that_cannot_be_read_is_a_doubt(tmp_path: Path) -> None:
    """Nothing is known of what it holds."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r"^data: pipe cannot be read"):
        data(tmp_path, "p*")


def test_what_tools_leave_is_no_data(tmp_path: Path) -> None:
    """A module that a notebook imports leaves a cache beside itself."""
    for name in ("lib/x.py", "lib/__pycache__/x.pyc", "lib/.git/HEAD", "lib/1.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    below = {"lib/x.py": "file", "lib/1.ipynb": "file"}
    inside = {"x.py": "file", "1.ipynb": "file"}
    assert data(tmp_path, "lib") == data(tmp_path, "lib/**") == below
    assert data(tmp_path / "lib", "**") == data(tmp_path / "lib", ".") == inside


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
@pytest.mark.parametrize("pattern", ["data", "data/**"])
def test_data_behind_links(tmp_path: Path, pattern: str) -> None:
    """A folder may lie elsewhere; a link that leads back is passed over."""
    here = tmp_path / "here"
    for folder in (here / "data", tmp_path / "far"):
        folder.mkdir(parents=True)
        (folder / "a.csv").touch()
    (here / "data" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(here / "data")
    assert set(data(here, pattern)) == {"data/a.csv", "data/link/a.csv"}


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read all")
def test_data_in_a_folder_that_cannot_be_listed_is_a_doubt(tmp_path: Path) -> None:
    """It may hold anything."""
    folder = tmp_path / "data" / "closed"
    folder.mkdir(parents=True)
    folder.chmod(0)
    try:
        with pytest.raises(CheckpointError, match=r"^data: data/closed cannot be listed: "):
            data(tmp_path, "data")
    finally:
        folder.chmod(0o700)
