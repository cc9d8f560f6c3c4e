"""Builds the fake NVML library. Test folders are no packages, so this is loaded by its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_name("fake_nvml.c")
_OPTIONS = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread")


def why_not() -> str:
    """Why the library cannot be built here; empty where it can."""
    if sys.platform != "linux":
        return "the fake NVML is for Linux"
    return "" if _compiler() else "no C compiler"


def build(directory: Path) -> Path:
    """Compile ``libnvidia-ml.so.1`` into a directory and return it: a member of LD_LIBRARY_PATH."""
    target = directory / "libnvidia-ml.so.1"
    soname = f"-Wl,-soname,{target.name}"
    command = [_compiler(), *_OPTIONS, soname, "-o", str(target), str(_SOURCE)]
    subprocess.run(command, check=True)
    return directory


def environment(library: Path, description: Path) -> dict[str, str]:
    """Variables under which a new process finds the fake library and the GPUs described in a file."""
    inherited = os.environ.get("LD_LIBRARY_PATH")
    search = os.pathsep.join(filter(None, [str(library), inherited]))
    return {"LD_LIBRARY_PATH": search, "FAKE_NVML": str(description)}


def _compiler() -> str:
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), "")
