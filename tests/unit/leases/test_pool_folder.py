from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.leases.pool_folder import default_folder, prepare

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and links of POSIX")


def refusal(folder: Path) -> str:
    with pytest.raises(LeaseError) as caught:
        prepare(folder)
    return str(caught.value)


def test_variable() -> None:
    """The variable names the folder."""
    assert default_folder({"NBGROUPS_POOL": "/scratch/pool"}) == Path("/scratch/pool")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm")  # noqa: S108
def test_linux() -> None:
    """On Linux it is in memory, where every user has his tickets."""
    assert default_folder({}, platform="linux") == Path("/dev/shm/pytest-nbgroups")  # noqa: S108


@posix
def test_macos() -> None:
    """On macOS it is not in TMPDIR, which is the user's own."""
    found = default_folder({"TMPDIR": "/var/folders/x"}, platform="darwin")
    assert found == Path("/tmp/pytest-nbgroups")  # noqa: S108


def test_windows(tmp_path: Path) -> None:
    """On Windows it is where programs keep what all users share."""
    env = {"ProgramData": str(tmp_path)}
    assert default_folder(env, platform="win32") == tmp_path / "pytest-nbgroups"


@posix
def test_created(tmp_path: Path) -> None:
    """Everyone may write in it, whatever the umask, and nobody may remove what is another's."""
    previous = os.umask(0o077)
    try:
        prepare(tmp_path / "pool")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "pool").stat().st_mode) == 0o1777
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]
    prepare(tmp_path / "pool")


@posix
def test_one_of_two_creators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second takes the folder of the first, and leaves no other behind."""
    (tmp_path / "pool").mkdir(mode=0o777)
    (tmp_path / "pool" / "gate").touch()
    monkeypatch.setattr(os.path, "lexists", _first_absent())
    prepare(tmp_path / "pool")
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]
    assert (tmp_path / "pool" / "gate").exists()


def _first_absent() -> object:
    answers = iter([False])
    return lambda _path: next(answers, True)


@posix
def test_link(tmp_path: Path) -> None:
    """A link could lead to anywhere, so it is refused: folder, reason and remedy are named."""
    (tmp_path / "target").mkdir()
    (tmp_path / "pool").symlink_to(tmp_path / "target")
    assert refusal(tmp_path / "pool") == (
        f"the lease pool {tmp_path / 'pool'} cannot be used: it is a symbolic link; remove it, or set "
        "NBGROUPS_POOL to a local folder that everyone who runs experiments on this machine can write to"
    )


def test_file(tmp_path: Path) -> None:
    """A file is no folder."""
    (tmp_path / "pool").touch()
    assert "cannot be used: it is not a folder; " in refusal(tmp_path / "pool")


@posix
def test_no_parent(tmp_path: Path) -> None:
    """Where it cannot be created, the operating system's reason is told."""
    assert "cannot be used: No such file or directory; " in refusal(tmp_path / "a" / "pool")


@posix
@pytest.mark.skipif(os.name == "posix" and os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize(("mode", "refused"), [(0o777, True), (0o1777, False)])
def test_of_another_user(tmp_path: Path, mode: int, refused: bool) -> None:  # noqa: FBT001  parameters
    """Another user's folder is fit only if it keeps others from removing our tickets."""
    folder = tmp_path / "pool"
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, 4001, 4001)
    if refused:
        assert "another user owns it and can remove your files in it" in refusal(folder)
    else:
        prepare(folder)


@posix
def test_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which we may not write is of no use."""
    (tmp_path / "pool").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be used: you cannot write to it; " in refusal(tmp_path / "pool")


@posix
@pytest.mark.parametrize(("mode", "refused"), [(0o777, True), (0o1777, False), (0o775, False)])
def test_open_to_everyone(tmp_path: Path, mode: int, refused: bool) -> None:  # noqa: FBT001  parameters
    """One's own folder too must keep strangers from removing tickets; its group is one's own choice."""
    folder = tmp_path / "pool"
    folder.mkdir()
    folder.chmod(mode)
    if refused:
        reason = "everyone can remove files in it (set its sticky bit with chmod +t)"
        assert f"cannot be used: {reason}; " in refusal(folder)
    else:
        prepare(folder)
