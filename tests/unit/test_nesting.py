from __future__ import annotations

from pathlib import Path

from pytest_nbgroups.nesting import nested_experiments


def test_directories_with_notebooks_below_an_experiment(tmp_path: Path) -> None:
    """The outermost of them, at any depth, and none that collection leaves out."""
    for name in ("1.ipynb", "a/1.ipynb", "a/b/1.ipynb", "c/d/1.ipynb", "e/f.txt", ".h/1.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = nested_experiments(tmp_path, lambda path: path.name.startswith("."))
    assert found == (tmp_path / "a", tmp_path / "c" / "d")
