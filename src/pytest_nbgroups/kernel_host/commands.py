"""Classification of a kernel's command."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath

_IPYKERNEL_MODULES = ("ipykernel", "ipykernel_launcher")


def runs_ipykernel(argv: Sequence[str]) -> bool:
    """Return whether a Python on this machine runs ipykernel; not so under docker, ssh and their like."""
    return runs_python(argv) and any(
        flag == "-m" and module in _IPYKERNEL_MODULES for flag, module in pairwise(argv)
    )


def runs_python(argv: Sequence[str]) -> bool:
    """Return whether it is a program in Python: such kernels, for any language, are built on ipykernel."""
    return bool(argv) and PurePath(argv[0]).name.lower().startswith(("python", "pypy"))
