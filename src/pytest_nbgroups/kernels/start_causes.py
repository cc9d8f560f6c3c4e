"""Causes of a kernel's end before it was ready, as far as the end of its log shows them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from pytest_nbgroups.kernel_host.surroundings import importable
from pytest_nbgroups.kernels.jupyter_folders import remedy

_QUOTED = re.compile(r"'([^'\n]+)'")


def cause(tail: str, directory: Path, env: Mapping[str, str]) -> str:
    """The reason with the remedy, as a clause; "" if the log shows none that is known.

    ``directory`` and ``env`` are those of the kernel.
    """
    return _hidden_module(tail, directory) or _unusable_folder(tail, env)


def _hidden_module(tail: str, directory: Path) -> str:
    for name, entry in importable(str(directory)):
        if name in sys.stdlib_module_names and str(directory / entry) in tail:
            return f"; Python imported {entry} from the directory instead of its own module {name!r}: rename it"
    return ""


def _unusable_folder(tail: str, env: Mapping[str, str]) -> str:
    """The last line is the exception that ended the kernel."""
    last = tail.rpartition("\n")[2]
    return next(filter(None, (remedy(path, env) for path in _QUOTED.findall(last))), "")
