"""The memory and CPU time that real kernels use, against what they are known to use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import Tree

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells shared pages apart"),
]

MB = 10**6
FORKS = """
import os, time
block = bytearray(b"x") * {mb}_000_000
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        {work}
        time.sleep(1.5)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""
SPIKE = """
import time
block = bytearray(b"x") * 300_000_000
time.sleep(0.2)
del block
"""
CHILD = """
import subprocess, sys
code = "import time; block = bytearray(b'x') * 300_000_000; time.sleep(0.2)"
subprocess.run([sys.executable, "-c", code], check=True)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.close()


def test_peaks_against_known_truths(tree: Tree) -> None:
    """Within a tenth: a short spike, readers that share, writers that do not, a short-lived child."""
    cases = {
        "idle": ("pass", 0),
        "spike": (SPIKE, 300),
        "readers": (FORKS.format(mb=200, work="sum(block[::4096])"), 200),
        "writers": (FORKS.format(mb=80, work="block[::4096] = b'y' * len(block[::4096])"), 400),
        "child": (CHILD, 308),  # and a second interpreter
    }
    for name, (code, _) in cases.items():
        tree.notebook(name, "1-a.ipynb", code)
    run = tree.pytest("-n0")
    assert run.returncode == 0, run.text
    peaks = {name: run.experiment(name)["attempts"][0]["usage"]["peak_bytes"] for name in cases}
    for name, (_, megabytes) in cases.items():
        truth = peaks["idle"] + megabytes * MB
        assert peaks[name] == pytest.approx(truth, rel=0.1), name


def test_cpu_time(tree: Tree) -> None:
    """Also that of a child that was never seen."""
    burn = "import time\nend = time.process_time() + 1\nwhile time.process_time() < end: pass"
    tree.notebook("idle", "1-a.ipynb", "pass")
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    tree.notebook("both", "1-a.ipynb", burn, child)
    run = tree.pytest("-n0")
    used = {
        name: run.experiment(name)["attempts"][0]["usage"]["cpu_s"] for name in ("idle", "both")
    }
    assert used["both"] - used["idle"] == pytest.approx(2.0, abs=0.6)
