"""Folders of Jupyter, and what to do about those that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.kernels.jupyter_folders import kernel_folders, remedy


def test_where_kernels_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Jupyter's folders and in IPython's, as far as they are there; none is created."""
    ipython, data = tmp_path / "ipython", tmp_path / "data"
    (data / "kernels").mkdir(parents=True)
    monkeypatch.setenv("IPYTHONDIR", str(ipython))
    monkeypatch.setenv("JUPYTER_PATH", str(data))
    assert str(data / "kernels") in kernel_folders()
    assert not ipython.exists()
    (ipython / "kernels").mkdir(parents=True)
    assert kernel_folders()[-1] == str(ipython / "kernels")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    assert str(tmp_path / "file/kernels") not in kernel_folders()


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is named with its variable: it is no fault of a kernelspec."""
    look = os.listdir

    def refuse(folder: str) -> list[str]:
        if folder.startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", folder)
        return look(folder)

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(KernelStartError) as caught:
        kernel_folders()
    assert str(caught.value) == (
        f"Jupyter looks for kernels in {tmp_path}/kernels, which cannot be read: Permission denied; "
        f"JUPYTER_DATA_DIR is '{tmp_path}', which cannot be used: set it to a folder that can be written to"
    )


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an entry in passwd, as in a container that is run with any number, needs HOME."""

    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("IPYTHONDIR", raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    with pytest.raises(KernelStartError, match=r"folders of kernels: Could not .*; set HOME$"):
        kernel_folders()


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        ("/i/profile_default", "IPYTHONDIR is '/i'"),
        ("/i", "IPYTHONDIR is '/i'"),
        ("/d/kernels", "JUPYTER_DATA_DIR is '/d'"),
        ("/p2/kernels", "JUPYTER_PATH is '/p1:/p2'"),
        ("/h/.ipython", "HOME is '/h'"),
        ("/h/.local/share/jupyter/kernels", "HOME is '/h'"),
        ("/h/.local/lib/python3/x.py", None),
        ("/elsewhere", None),
        ("", None),
    ],
)
def test_the_variable_behind_a_path(path: str, variable: str | None) -> None:
    """What else lies in the home directory has nothing to do with it."""
    env = {
        "JUPYTER_PATH": "/p1:/p2",
        "IPYTHONDIR": "/i",
        "JUPYTER_DATA_DIR": "/d",
        "HOME": "/h",
        "JUPYTER_CONFIG_DIR": "",
    }
    expected = (
        f"; {variable}, which cannot be used: set it to a folder that can be written to"
        if variable
        else ""
    )
    assert remedy(path, env) == expected
