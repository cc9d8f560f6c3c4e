"""What the end of a log says about a kernel that did not start."""

from __future__ import annotations

from pathlib import Path

from pytest_nbgroups.kernels.start_causes import cause

NO_FOLDER = """Traceback (most recent call last):
  File "/i/mine.py", line 1
FileNotFoundError: [Errno 2] No such file or directory: '/proc/x/.ipython'"""


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """The last line names it; lines before may name any file."""
    assert cause(NO_FOLDER, tmp_path, {"HOME": "/proc/x", "IPYTHONDIR": "/i"}) == (
        "; HOME is '/proc/x', which cannot be used: set it to a folder that can be written to"
    )
    assert cause(NO_FOLDER, tmp_path, {"HOME": "/root"}) == ""
    assert cause("", tmp_path, {"HOME": "/root"}) == ""


def test_a_module_that_is_imported_in_the_place_of_pythons(tmp_path: Path) -> None:
    """If the log names its file; another module of the directory is no reason."""
    (tmp_path / "types.py").touch()
    (tmp_path / "mine.py").touch()
    tail = f'  File "{tmp_path}/mine.py", line 1\nOSError: mine'
    assert cause(tail, tmp_path, {}) == ""
    tail = f'  File "{tmp_path}/types.py", line 1\nOSError: mine'
    assert cause(tail, tmp_path, {}) == (
        "; Python imported types.py from the directory instead of its own module 'types': rename it"
    )
