from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.kernels import endpoint as module
from pytest_nbgroups.kernels.endpoint import (
    LONGEST_SOCKET_PATH,
    fits,
    folder_candidates,
    open_endpoint,
)

IPYKERNEL = ["/env/bin/python3", "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{f}"]
BASH = ["/env/bin/python3", "-m", "bash_kernel", "-f", "{f}"]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets and permissions")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short XDG_RUNTIME_DIR of our own; pytest's folders may be too long for sockets."""
    with tempfile.TemporaryDirectory(prefix="xdg", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


@posix_only
def test_ipykernel_meets_on_unix_sockets(runtime: Path) -> None:
    """In a private folder below XDG_RUNTIME_DIR that is gone in the end."""
    with open_endpoint("auto", IPYKERNEL) as endpoint:
        assert endpoint.transport == "ipc"
        assert endpoint.folder.parent == runtime
        assert endpoint.ip == str(endpoint.folder / "k")
        assert stat.S_IMODE(endpoint.folder.stat().st_mode) == 0o700
        assert list(endpoint.folder.iterdir()) == []
        endpoint.connection_file.touch()
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize(
    ("wanted", "argv", "transport"),
    [("auto", BASH, "tcp"), ("tcp", IPYKERNEL, "tcp"), ("ipc", BASH, "ipc")],
)
@posix_only
def test_the_transport_is_as_wanted(wanted: str, argv: list[str], transport: str) -> None:
    """Auto takes IPC for ipykernel only; else the user's word counts."""
    with open_endpoint(wanted, argv) as endpoint:  # type: ignore[arg-type]
        assert endpoint.transport == transport
        assert (endpoint.ip == "127.0.0.1") == (transport == "tcp")


@posix_only
@pytest.mark.parametrize(("mask", "lacking"), [(0o777, "0700"), (0o277, "0200")])
@pytest.mark.parametrize("wanted", ["ipc", "tcp"])
def test_a_umask_that_nothing_can_be_used_with(
    runtime: Path, mask: int, lacking: str, wanted: str
) -> None:
    """The error names it and says what to do, and no folder is left."""
    previous = os.umask(mask)
    try:
        with (
            pytest.raises(KernelStartError, match=f"umask .*{lacking} of 0700.*, such as 022"),
            open_endpoint(wanted, IPYKERNEL),  # type: ignore[arg-type]
        ):
            pass
    finally:
        os.umask(previous)
    assert list(runtime.iterdir()) == []


@posix_only
@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_a_runtime_folder_that_others_can_enter_is_not_used(runtime: Path, mode: int) -> None:
    """The folder's own permissions are the first protection."""
    runtime.chmod(mode)
    assert str(runtime) not in list(folder_candidates(os.environ))


@pytest.mark.parametrize("value", ["", "relative", "/does/not/exist"])
def test_a_runtime_folder_that_is_none_is_not_used(value: str) -> None:
    """A relative path would hang the kernel."""
    candidates = list(folder_candidates({"XDG_RUNTIME_DIR": value}))
    assert value not in candidates
    assert candidates[0] == tempfile.gettempdir()


@posix_only
def test_a_runtime_folder_of_another_user_is_not_used(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After su the variable may still name the other user's folder."""
    monkeypatch.setattr(os, "geteuid", lambda: runtime.stat().st_uid + 1)
    assert str(runtime) not in list(folder_candidates(os.environ))


def test_the_longest_socket_path_is_the_limit() -> None:
    """The name of the folder, and of the last channel's socket, are counted in bytes."""
    rest = len("/nbgroups-12345678/k-5")
    fitting = "/" + "x" * (LONGEST_SOCKET_PATH - rest - 1)
    assert len(f"{fitting}/nbgroups-12345678/k-5") == LONGEST_SOCKET_PATH
    assert fits(Path(fitting))
    assert not fits(Path(fitting + "x"))
    assert not fits(Path(fitting[:-1] + "é"))
    assert not fits(Path("relative"))


@posix_only
def test_a_long_temporary_folder_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sockets go to /tmp; they would not fit below a long TMPDIR."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with open_endpoint("auto", IPYKERNEL) as endpoint:
        assert endpoint.transport == "ipc"
        assert endpoint.folder.parent == Path("/tmp")  # noqa: S108
    assert not endpoint.folder.exists()


@posix_only
def test_auto_falls_back_to_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems hold no sockets; then loopback serves."""
    monkeypatch.setattr(module, "_holds_sockets", lambda _folder: False)
    with open_endpoint("auto", IPYKERNEL) as endpoint:
        assert endpoint.transport == "tcp"


@posix_only
def test_ipc_that_cannot_be_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for IPC is told the remedy."""
    monkeypatch.setattr(module, "_holds_sockets", lambda _folder: False)
    with (
        pytest.raises(KernelStartError, match="set experiment_transport = tcp"),
        open_endpoint("ipc", IPYKERNEL),
    ):
        pass


def test_no_writable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what was tried and what to set."""
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(module, "folder_candidates", lambda _environ: [missing])
    with pytest.raises(KernelStartError, match="set TMPDIR") as caught, open_endpoint("tcp", BASH):
        pass
    assert missing in str(caught.value)
