"""The memory and CPU time that real processes use, against what they are known to use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import Tree

from pytest_nbgroups.kernels.holding import Holding, Sample
from pytest_nbgroups.monitoring.process_memory import Portion, ProcReader, PsutilReader
from pytest_nbgroups.monitoring.watch import MemoryWatch

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells shared pages apart"),
]

MB = 10**6
MIB = 2**20
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


def test_psutil_knows_this_process() -> None:
    """And says nothing of one that is not there."""
    found = PsutilReader().memory(os.getpid())
    assert found is not None
    assert found.peak_rss_bytes >= found.rss_bytes > MIB
    assert found.cpu_s > 0
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert PsutilReader().memory(ended.pid) is None


def test_proc_knows_this_process() -> None:
    """Alone with most of its pages; and a zombie has none."""
    reader = ProcReader()
    found, portion = reader.memory(os.getpid()), reader.portion(os.getpid())
    assert found is not None
    assert portion is not None
    assert MIB < portion.proportional_bytes <= portion.rss_bytes <= 1.05 * found.rss_bytes
    with subprocess.Popen([sys.executable, "-c", ""]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert reader.memory(zombie.pid) is None
        assert reader.portion(zombie.pid) == Portion()
    assert reader.portion(zombie.pid) == Portion()


def test_it_samples_while_it_is_entered() -> None:
    """At once and a last time, of the real processes below this one."""
    samples: list[Sample] = []
    with MemoryWatch(os.getppid(), Holding(on_sample=samples.append)) as watch:
        pass
    usage = watch.usage(None)
    assert usage is not None
    assert usage.peak_bytes > MIB
    assert not watch.warnings
