"""What is said when memory runs out, in a real cgroup, without privileges: ``python benchmarks/oom.py``.

Boots Debian's `user-mode-linux`, a kernel that runs as an ordinary process over this file system. In it pytest runs
experiments in a cgroup of version 2, whose OOM killer ends kernels that grow slowly and at once, children of kernels that
survive, and an innocent neighbour of one that grows. Prints each message, and fails where one is not what it should
be. Needs ``linux.uml`` in PATH, or its path as the argument.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uml import kernel_argument, run_in_box

MARK = "session.json of "
SLOW = """
import time
blocks = []
while True:
    blocks.append(bytearray(b"x") * 10_000_000)
    time.sleep(0.05)
"""
SPIKE = 'bytearray(b"x") * 1_000_000_000'
CHILD = """
import subprocess, sys
ran = subprocess.run([sys.executable, "-c", 'bytearray(b"x") * 1_000_000_000'], check={check})
print(ran)
"""
LARGE = """
import time
from pathlib import Path
block = bytearray(b"x") * 200_000_000
Path("/run/large").touch()
time.sleep(600)
"""
MANY = """
import subprocess, sys, time
from pathlib import Path
while not Path("/run/large").exists():
    time.sleep(0.1)
code = 'import time; block = bytearray(b"x") * 40_000_000; print(flush=True); time.sleep(600)'
children = []
while "oom_kill 0" in Path("/sys/fs/cgroup/box/memory.events").read_text():
    children.append(subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE))
    children[-1].stdout.readline()
    time.sleep(1)
for child in children:
    child.kill()
    child.wait()
"""
ALONE = {
    "slow-growth": SLOW,
    "one-spike": SPIKE,
    "child-and-cell-fails": CHILD.format(check=True),
    "child-and-cell-passes": CHILD.format(check=False),
    "killed-from-outside": "import os\nos.kill(os.getpid(), 9)",
}
BESIDE = {"innocent": LARGE, "grows": MANY}
EXPECTED = {
    "slow-growth": ("out_of_memory", "out of memory, it was ended by the OOM killer"),
    "one-spike": ("out_of_memory", "out of memory, it was ended by the OOM killer"),
    "child-and-cell-fails": ("cell", "possibly a child of this kernel"),
    "child-and-cell-passes": (None, "possibly a child of this kernel"),
    "killed-from-outside": ("kernel_died", "ended no process of cgroup /box meanwhile"),
    "innocent": ("out_of_memory", "beside it ran grows ("),
}
"""By experiment; what becomes of the one that grows is its own affair."""


def write_experiments(folder: Path, sources: Mapping[str, str]) -> None:
    for name, source in sources.items():
        cell: dict[str, object] = {
            "cell_type": "code",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        kernel = {"name": "python3", "display_name": "python3", "language": "python"}
        notebook = {
            "cells": [cell],
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 4,
        }
        directory = folder / "experiments" / name
        directory.mkdir(parents=True)
        (directory / "1-run.ipynb").write_text(json.dumps(notebook))
        (directory / "experiment.toml").write_text('[resources]\ncpus = 0.1\nram = "50MB"\n')
    (folder / "pytest.ini").write_text("[pytest]\n")


def run(kernel: str, sources: Mapping[str, str], *arguments: str, limit: str) -> dict[str, Any]:
    """The record of a session in that cgroup."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        write_experiments(folder, sources)
        unwanted = "-p no:cacheprovider -p no:rerunfailures"  # the latter wants a network
        pytest = f"{sys.executable} -m pytest --run-experiments {unwanted}"
        work = f"{pytest} {' '.join(arguments)}\necho\necho '{MARK}'\ncat .experiments/session.json"
        limits = {"memory.max": limit}
        printed = run_in_box(kernel, folder, work, limits=limits, memory="1536M", timeout_s=240)
    told, found, record = printed.partition(MARK)
    if not found:
        sys.exit(printed)
    try:
        data: dict[str, Any] = json.JSONDecoder().raw_decode(record.strip())[0]
    except ValueError:
        sys.exit(told + record)
    return data


def told(experiment: Mapping[str, Any]) -> Iterator[str]:
    """What is said of an experiment: its kind of failure, the message and the evidence; its warnings."""
    (attempt,) = experiment["attempts"]
    for notebook in attempt["notebooks"]:
        yield f"{notebook['name']} {notebook['outcome']}"
        if failure := notebook["failure"]:
            yield f"{failure['kind']}: {failure['message']}"
            yield from failure["evidence"]
            yield f"remedy: {failure['remedy']}"
    yield from attempt["warnings"]


def is_as_expected(experiment: Mapping[str, Any]) -> bool:
    if experiment["name"] not in EXPECTED:
        return True
    kind, text = EXPECTED[experiment["name"]]
    failures = [n["failure"] for a in experiment["attempts"] for n in a["notebooks"]]
    kinds = {failure and failure["kind"] for failure in failures}
    return kinds == {kind} and text in "\n".join(told(experiment))


def show(experiments: Sequence[Mapping[str, Any]]) -> set[str]:
    """Print what was said of each; give the names of those that are as expected."""
    for experiment in experiments:
        print(f"{experiment['name']}{'' if is_as_expected(experiment) else ' (NOT AS EXPECTED)'}")
        print("".join(f"    {line}\n" for line in told(experiment)), flush=True)
    return {experiment["name"] for experiment in experiments if is_as_expected(experiment)}


def main() -> None:
    kernel = kernel_argument(__doc__)
    good = show(run(kernel, ALONE, "-n0", limit="400M")["experiments"])
    good |= show(run(kernel, BESIDE, "-n2", limit="700M")["experiments"])
    if wrong := sorted(EXPECTED.keys() - good):
        sys.exit(f"not as expected: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
