from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_nbgroups.declarations.listing import nested_experiments, notebooks_in, walk

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")


def test_names_of_notebooks(tmp_path: Path) -> None:
    """Plain files with the suffix, whatever else is in the name, that are not ignored."""
    for name in ("a.ipynb", "new\nline é.ipynb", "skip.ipynb", "a.IPYNB", "a.ipynb.bak"):
        (tmp_path / name).touch()
    (tmp_path / "folder.ipynb").mkdir()
    found = notebooks_in(tmp_path, lambda path: path.name == "skip.ipynb")
    assert sorted(found) == ["a.ipynb", "new\nline é.ipynb"]


def test_walk_goes_parents_first(tmp_path: Path) -> None:
    """Sorted by name, and not into what is ignored."""
    for path in ("b/c", "a", "skip/d", "b/a"):
        (tmp_path / path).mkdir(parents=True)
    found = walk(tmp_path, lambda path: path.name == "skip")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        ".",
        "a",
        "b",
        "b/a",
        "b/c",
    ]


@links
def test_walk_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    """Neither back to an ancestor nor by way of two folders that link to each other."""
    for path in ("a", "b", "c"):
        (tmp_path / path).mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path, lambda _path: False)]
    assert found == [".", "a", "a/b", "b", "b/a", "c"]


@links
def test_a_link_that_leads_to_itself_costs_nothing(tmp_path: Path) -> None:
    """It is no directory, and does not end the walk."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert list(walk(tmp_path, lambda _path: False)) == [tmp_path, tmp_path / "sub"]


def test_directories_with_notebooks_below_an_experiment(tmp_path: Path) -> None:
    """The outermost of them, at any depth, and none that collection leaves out."""
    for name in ("1.ipynb", "a/1.ipynb", "a/b/1.ipynb", "c/d/1.ipynb", "e/f.txt", ".h/1.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = nested_experiments(tmp_path, lambda path: path.name.startswith("."))
    assert found == (tmp_path / "a", tmp_path / "c" / "d")
