"""Steps of a checkpoint, for the tests of what reads and writes them."""

from __future__ import annotations

from typing import Any

from pytest_nbgroups.core.model import NotebookOutcome
from pytest_nbgroups.resume.checkpoint import FileState, Fingerprint, Step

FINGERPRINT = Fingerprint(
    code="c",
    tags="t",
    kernel="python3",
    kernelspec="k",
    resources={"cpus": "2"},
    env={"A": "1"},
    interpreter="CPython 3.13.1 in /usr",
    distributions={"numpy": "2.1", "mine": "0.1 ab12"},
    data={"../x.csv": "d"},
)


def state(sha256: str, **changes: Any) -> FileState:
    values = {"size": 1, "mtime_ns": 2, "ctime_ns": 3, "inode": 4, "settled": True}
    return FileState(**{**values, "sha256": sha256, **changes})


def step(name: str, files: str = "", **changes: Any) -> Step:
    """One that passed; ``files`` such as ``a=1 b=2`` are names and contents."""
    pairs = (pair.partition("=") for pair in files.split())
    values: dict[str, Any] = {
        "outcome": NotebookOutcome.PASSED,
        "fingerprint": FINGERPRINT,
        "files": {name: state(content) for name, _, content in pairs},
    }
    return Step(name=name, **{**values, **changes})
