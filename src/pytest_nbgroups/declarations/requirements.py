"""Requirements of an experiment or a notebook: modules, commands and environment variables."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable, Mapping


def missing(requires: Iterable[str], env: Mapping[str, str]) -> str | None:
    """Name the requirements that are not met, as a reason to skip; None if all are met.

    Modules are looked up in the interpreter that runs pytest, without importing them.
    """
    faults = [_missing(requirement, env) for requirement in requires]
    return "; ".join(filter(None, faults)) or None


def _missing(requirement: str, env: Mapping[str, str]) -> str | None:
    kind, _, name = requirement.partition(":")
    match kind:
        case "module":
            return None if _has_module(name) else f"needs the Python module {name}"
        case "command":
            found = shutil.which(name, path=env.get("PATH"))
            return None if found else f"needs the command {name}"
        case _:
            return None if env.get(name) else f"needs the environment variable {name}"


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:  # noqa: BLE001  it imports the packages above, which can raise anything
        return False
