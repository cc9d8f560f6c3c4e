from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

import pytest

from pytest_nbgroups.core.artifacts import Artifacts, write_atomically

posix = pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")


def test_paths() -> None:
    """Of an experiment that lies below a folder of its root."""
    artifacts = Artifacts(folder=Path("out"))
    assert artifacts.executed("a/b", "1-x.ipynb") == Path("out/notebooks/a/b/1-x.ipynb")
    assert artifacts.log("a/b", "1-x.ipynb") == Path("out/logs/a/b/1-x.log")
    assert artifacts.log("a", "1.5-x.y.ipynb") == Path("out/logs/a/1.5-x.y.log")


def test_what_is_reused_stays(tmp_path: Path) -> None:
    """With its log; all else of the earlier run goes, but nothing of experiments below it."""
    artifacts = Artifacts(folder=tmp_path)
    kept = [artifacts.executed("a", "1.ipynb"), artifacts.log("a", "1.ipynb")]
    below = [artifacts.executed("a/b", "1.ipynb"), artifacts.checkpoint("a/b")]
    gone = [artifacts.executed("a", "2.ipynb"), artifacts.log("a", "2.ipynb")]
    for path in (*kept, *below, *gone):
        write_atomically(path, "")
    artifacts.remove_earlier("a", keep=["1.ipynb"])
    assert [path.exists() for path in (*kept, *below, *gone)] == [True] * 4 + [False] * 2


def test_nothing_is_created_before_it_is_used(tmp_path: Path) -> None:
    """Asking for a path leaves no trace."""
    artifacts = Artifacts(folder=tmp_path / "out")
    artifacts.executed("a", "1.ipynb")
    artifacts.log("a", "1.ipynb")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_ignores_itself(tmp_path: Path) -> None:
    """Results do not end up in a commit; a user's own rules stay."""
    artifacts = Artifacts(folder=tmp_path / "deep" / "out")
    artifacts.prepare()
    ignore = tmp_path / "deep" / "out" / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.write_text("!keep\n")
    artifacts.prepare()
    assert ignore.read_text() == "!keep\n"


def test_write_creates_and_replaces(tmp_path: Path) -> None:
    """In UTF-8 with line ends as given, and nothing else is left in the folder."""
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "first\n")
    write_atomically(path, "zweites é\r\n")
    assert path.read_bytes() == "zweites é\r\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    """As the umask says, not as temporary files are."""
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.txt", "")
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


@pytest.mark.parametrize("name", ["x" * 249 + ".ipynb", "心" * 83 + ".ipynb", "a\nb.ipynb"])
def test_any_name_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    """The temporary name beside it is not longer than a name can be."""
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("the file system has no such names")
    write_atomically(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"


def test_halves_of_characters_are_escaped(tmp_path: Path) -> None:
    """JSON may hold them, UTF-8 may not."""
    write_atomically(tmp_path / "a.json", '"\ud83d"')
    assert (tmp_path / "a.json").read_bytes() == b'"\\ud83d"'


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither a temporary file nor a change."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder"):
        write_atomically(tmp_path / "folder", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the write and its end."""
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@posix
def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A folder of the artifacts that is a link could lead to the user's own notebooks."""
    own = tmp_path / "experiments" / "Heart"
    own.mkdir(parents=True)
    (own / "1-load.ipynb").write_text("precious")
    artifacts = Artifacts(folder=tmp_path / "out")
    artifacts.prepare()
    (tmp_path / "out" / "notebooks").symlink_to(tmp_path / "experiments")
    reason = f"{tmp_path / 'out' / 'notebooks'} is a link, which could lead out of the artifacts folder; remove it"
    with pytest.raises(OSError, match=f"{re.escape(reason)}$"):
        artifacts.remove_earlier("Heart")
    with pytest.raises(OSError, match=f"{re.escape(reason)}$"):
        artifacts.make_room(artifacts.executed("Heart", "1-load.ipynb"))
    assert (own / "1-load.ipynb").read_text() == "precious"


@posix
def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """Artifacts may lie on another disk."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "scratch")
    artifacts = Artifacts(folder=tmp_path / "out")
    artifacts.make_room(artifacts.log("a/b", "1.ipynb"))
    assert (tmp_path / "scratch" / "logs" / "a" / "b").is_dir()


@pytest.mark.parametrize("experiment", ["..", "a/../../../b"])
def test_no_name_leads_out(tmp_path: Path, experiment: str) -> None:
    """No experiment is called so; if one were, nothing of it would be written or removed."""
    artifacts = Artifacts(folder=tmp_path / "out")
    for act in (artifacts.remove_earlier, lambda e: artifacts.make_room(artifacts.log(e, "1"))):
        with pytest.raises(OSError, match="leads out of the artifacts folder"):
            act(experiment)
    assert list(tmp_path.iterdir()) == []
