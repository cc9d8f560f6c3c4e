"""Folders of Jupyter and IPython, and the variables that name them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from jupyter_core.paths import jupyter_path

from pytest_nbgroups.core.errors import KernelStartError

_VARIABLES = (
    "IPYTHONDIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_PATH",
)
_IPYTHON = ".ipython"
_BELOW_HOME = (_IPYTHON, ".jupyter", ".local/share/jupyter", "Library/Jupyter")


def kernel_folders() -> list[str]:
    """Folders in which Jupyter looks for kernelspecs, as far as they are there. Raises KernelStartError.

    IPython's is computed here: IPython's own function creates the folder, and another temporary one on each call
    if it cannot.
    """
    try:
        folders = [*jupyter_path("kernels"), str(_ipython_folder() / "kernels")]
    except (OSError, RuntimeError) as exc:  # no HOME, and a user without an entry in passwd
        raise KernelStartError(
            f"Jupyter cannot find the folders of kernels: {exc}; set HOME"
        ) from exc
    return [folder for folder in folders if _is_readable(folder)]


def _ipython_folder() -> Path:
    named = os.environ.get("IPYTHONDIR")
    return Path(named).expanduser() if named else Path.home() / _IPYTHON


def _is_readable(folder: str) -> bool:
    """Return whether it is there. Raises KernelStartError if it is, but cannot be read: Jupyter would end in it."""
    try:
        os.listdir(folder)  # noqa: PTH208  the call that Jupyter makes
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        why = f"Jupyter looks for kernels in {folder}, which cannot be read: {exc.strerror}"
        raise KernelStartError(why + remedy(folder, os.environ)) from exc
    return True


def remedy(path: str, env: Mapping[str, str]) -> str:
    """Return a remedy for a path that cannot be used, as a clause; "" if no variable names a folder above it."""
    for variable, folder, value in _named(env):
        if Path(path).is_relative_to(folder):
            return f"; {variable} is {value!r}, which cannot be used: set it to a folder that can be written to"
    return ""


def _named(env: Mapping[str, str]) -> Iterator[tuple[str, Path, str]]:
    """Variable, folder, value."""
    for variable in _VARIABLES:
        value = env.get(variable, "")
        for folder in filter(None, value.split(os.pathsep)):  # JUPYTER_PATH names several
            yield variable, Path(folder).expanduser().absolute(), value
    if home := env.get("HOME"):
        yield from (("HOME", Path(home) / below, home) for below in _BELOW_HOME)
