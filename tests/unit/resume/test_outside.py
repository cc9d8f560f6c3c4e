"""Which files outside of an experiment's directory are looked at."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.resume.naming import Names
from pytest_nbgroups.resume.open_files import open_for_writing
from pytest_nbgroups.resume.outside import PATIENCE_S, Outside, Snapshot


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def outside(
    root: Path, *texts: str, outputs: tuple[str, ...] | None = None, **more: Any
) -> Outside:
    """As seen by ``experiments/A``."""
    here = root / "experiments" / "A"
    here.mkdir(parents=True, exist_ok=True)
    names = Names(directory=str(here), root=str(root), texts=texts)
    experiment = Experiment(name="A", directory=here, notebooks=(), outputs=outputs)
    settings = Settings(rootdir=root, artifacts=root / "kept")
    return Outside(experiment, settings, names, **more)


def shown(root: Path, snapshot: Snapshot) -> set[str]:
    return {Path(path).relative_to(root).as_posix() for path in snapshot.files}


def test_what_is_looked_at(tmp_path: Path) -> None:
    """Named folders with what is in them, of a named file its folder, of those above no folders."""
    seen = [
        *("top.txt", "experiments/beside.txt", "data/x.csv", "data/deep/y.csv"),
        *("out/named.csv", "out/beside.csv", ".hidden", "begun/run_1/x.txt", "begun/other.txt"),
    ]
    unseen = [
        *(
            "other/x.csv",
            "experiments/B/x.csv",
            "out/deep/x.csv",
            ".other",
            "kept/log",
            "note.ipynb",
        ),
        *("experiments/A/own.csv", "data/.git/x", "data/.hidden/x", "data/node_modules/x"),
        *("data/nested/1.ipynb", "data/nested/x.csv", "data/venv/pyvenv.cfg", "data/venv/x"),
        "data/__pycache__/x.pyc",
    ]
    write(tmp_path, *seen, *unseen)
    texts = ("data", "../../out/named.csv", "../../.hidden", "../../begun/run_*", "kept", "../..")
    assert shown(tmp_path, outside(tmp_path, *texts).snapshot()) == set(seen)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_that_leads_to_itself(tmp_path: Path) -> None:
    """It hides none of the files beside it."""
    write(tmp_path, "top.txt", "out/named.csv", "out/beside.csv")
    for folder in (tmp_path, tmp_path / "out"):
        (folder / "loop").symlink_to("loop")
    found = shown(tmp_path, outside(tmp_path, "../../out/named.csv").snapshot())
    assert found == {"top.txt", "out/named.csv", "out/beside.csv"}


def test_a_folder_that_appears(tmp_path: Path) -> None:
    """It is entered, now and later, unless it is another experiment."""
    looked = outside(tmp_path)
    before = looked.snapshot()
    write(tmp_path, "new/deep/x.csv", "experiments/B/1.ipynb", "experiments/B/x", ".cache/x")
    after = looked.snapshot(before)
    assert after.changed_since(before) == [str(tmp_path / "new/deep/x.csv")]
    assert looked.snapshot(after).files == after.files


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("edited"),
        lambda path: os.utime(path, (1, 1)),
        lambda path: (
            path.with_name("new").write_text("x.csv") and path.with_name("new").replace(path)
        ),
    ],
)
def test_a_file_that_changes(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """In its content, its times, or by another in its place; nothing else has."""
    write(tmp_path, "data/x.csv", "data/same.csv")
    looked = outside(tmp_path, "data")
    before = looked.snapshot()
    change(tmp_path / "data/x.csv")
    assert looked.snapshot(before).changed_since(before) == [str(tmp_path / "data/x.csv")]


def test_what_is_declared(tmp_path: Path) -> None:
    """All that matches, wherever it is; the directory itself is looked at elsewhere."""
    write(tmp_path, "repo/.git/x", "repo/out/.a/x", "elsewhere/deep/y", "repo/experiments/A/own")
    outputs = ("../../out/**", "../../../elsewhere", "../A")
    snapshot = outside(tmp_path / "repo", outputs=outputs).snapshot()
    assert shown(tmp_path, snapshot) == {"repo/out/.a/x", "elsewhere/deep/y"}
    assert snapshot.declared == set(snapshot.files)


def test_too_many_files_are_a_doubt(tmp_path: Path) -> None:
    """Only one look is spent on them; who has declared outputs is taken at their word."""
    write(tmp_path, *(f"data/{number}" for number in range(20)))
    looked: list[str] = []
    many = outside(tmp_path, "data", entries=19, look=looked.append)
    doubt = "the folders that it names hold more than 19 files, so the files that it wrote there are not known"
    assert many.snapshot().doubt.startswith(doubt)
    looked.clear()
    assert many.snapshot(Snapshot()).doubt.startswith(doubt)
    assert looked == []
    assert outside(tmp_path, "data", entries=20).snapshot().doubt == ""
    declared = outside(tmp_path, "data", entries=19, outputs=("../../data/1*",)).snapshot()
    assert (declared.doubt, len(declared.files)) == ("", 11)


def test_a_slow_disk_is_a_doubt(tmp_path: Path) -> None:
    """After some seconds."""
    write(tmp_path, "data/x.csv")
    times = iter([0.0, PATIENCE_S + 0.1])
    slow = outside(tmp_path, "data", clock=lambda: next(times))
    assert "files that take more than 5 s to check" in slow.snapshot().doubt


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_files_that_are_open_for_writing(tmp_path: Path) -> None:
    """Not those that are only read, or closed."""
    write(tmp_path, "written", "read", "closed")
    paths = [str(tmp_path / name) for name in ("written", "read", "closed", "gone")]
    with (tmp_path / "written").open("a"), (tmp_path / "read").open():
        assert open_for_writing(paths) == {paths[0]}
    assert open_for_writing(paths) == set()
    assert open_for_writing([str(tmp_path)]) == set()
