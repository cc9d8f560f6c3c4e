"""The weights file: duration of each experiment, committed so that all shards read the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_nbgroups.core.artifacts import write_atomically
from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.units import DURATION_LIMIT

VERSION = 1


def read_weights(path: Path) -> dict[str, float]:
    """Read seconds by node id. Raises DeclarationError with file and remedy."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise _error(path, "this weights file does not exist", "write it") from exc
    except OSError as exc:
        raise DeclarationError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise _error(path, f"is not JSON: {exc}", "write it again") from exc
    return _checked(path, content)


def _checked(path: Path, content: Any) -> dict[str, float]:  # noqa: ANN401  what JSON holds
    if not isinstance(content, dict) or not isinstance(content.get("experiments"), dict):
        raise _error(path, 'expected {"schema": 1, "experiments": {…}}', "write it again")
    if (version := content.get("schema")) != VERSION:
        raise _error(path, f"schema is {version!r}, expected {VERSION}", "write it again")
    for nodeid, weight in content["experiments"].items():
        if not _is_weight(weight):
            fault = (
                f"{nodeid} = {weight!r}: expected seconds, at least 0 and below {DURATION_LIMIT}"
            )
            raise _error(path, fault, "correct it, or write the file again")
    return dict(content["experiments"])


def _is_weight(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < DURATION_LIMIT  # type: ignore[operator]  # a number


def _error(path: Path, fault: str, remedy: str) -> DeclarationError:
    command = f"pytest --run-experiments --experiment-plan --experiment-weights {path}"
    return DeclarationError(f"{path}: {fault}; {remedy} with: {command}")


def kept_weights(path: Path, *, rootdir: Path) -> dict[str, float]:
    """Read the weights of experiments with an existing directory.

    Empty if the file has no usable weights.
    """
    try:
        earlier = read_weights(path)
    except DeclarationError:
        return {}
    return {n: weight for n, weight in earlier.items() if (rootdir / n.partition("::")[0]).is_dir()}


def write_weights(path: Path, seconds: Mapping[str, float]) -> None:
    """Write the duration of each experiment by node id, sorted and rounded. Raises OSError."""
    experiments = {nodeid: _rounded(seconds[nodeid]) for nodeid in sorted(seconds)}
    text = json.dumps({"schema": VERSION, "experiments": experiments}, indent=2)
    write_atomically(path, f"{text}\n")


def _rounded(seconds: float) -> float:
    """Round to two digits, at most tenths: noise between runs should not make a diff."""
    rounded = round(float(f"{seconds:.2g}"), 1)
    return int(rounded) if rounded.is_integer() else rounded
