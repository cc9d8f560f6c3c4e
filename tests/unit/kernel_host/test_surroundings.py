"""Whether what a fork server has imported is what a plain start would import."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_nbgroups.kernel_host.surroundings import Surroundings, read_at_start


def rewrite(path: Path, text: str) -> None:
    """Write in place, a second later: the folder stays as it is."""
    folder = path.parent.stat()
    path.write_text(text)
    os.utime(path, (folder.st_mtime + 1, folder.st_mtime + 1))
    assert path.parent.stat().st_mtime_ns == folder.st_mtime_ns


def test_files_that_come_go_or_change(tmp_path: Path) -> None:
    """Are named; how they are is remembered when they are watched, and each change counts once."""
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_text("1")
    surroundings = Surroundings()
    surroundings.watch([str(there), str(missing)])
    assert surroundings.changed() is None
    rewrite(there, "2")
    assert surroundings.changed() == str(there)
    surroundings.watch([str(there)])
    missing.touch()
    assert surroundings.changed() == str(missing)
    surroundings.watch([str(missing)])
    there.unlink()
    assert surroundings.changed() == str(there)


def test_what_python_reads_at_its_start(tmp_path: Path) -> None:
    """Where packages are installed, the folder too; and folders that a .pth file names in vain."""
    site = tmp_path / "site-packages"
    (site / "here").mkdir(parents=True)
    (site / "mine.pth").write_text("here\n/no/such/folder\n\n# no/such\nimport os\nelsewhere\n")
    (site / "latin.pth").write_bytes(b"\xff\n")
    other = tmp_path / "lib"
    found = set(read_at_start([str(site), str(other)]))
    assert found == {
        str(site),
        *(str(site / name) for name in ("mine.pth", "latin.pth", "elsewhere")),
        "/no/such/folder",
        *(
            str(folder / f"{kind}customize.py")
            for folder in (site, other)
            for kind in ("site", "user")
        ),
    }


@pytest.mark.parametrize("name", ["types.py", "types.pyc", "types.abi3.so", "types/__init__.py"])
def test_a_module_in_the_directory(tmp_path: Path, name: str) -> None:
    """Hides one of its name that lies elsewhere."""
    surroundings = Surroundings(modules={"types": "/usr/lib/python", "mine": str(tmp_path)})
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    (tmp_path / "mine.py").touch()
    assert surroundings.hidden_by(str(tmp_path)) == name.partition("/")[0]


def test_what_hides_no_module(tmp_path: Path) -> None:
    """A folder without an __init__, another suffix, another name; a directory that is not there has nothing."""
    (tmp_path / "types").mkdir()
    for name in ("types.txt", "types", "my_types.py"):
        if not (tmp_path / name).exists():
            (tmp_path / name).touch()
    surroundings = Surroundings(modules={"types": "/usr/lib/python"})
    assert surroundings.hidden_by(str(tmp_path)) is None
    assert surroundings.hidden_by(str(tmp_path / "gone")) is None
