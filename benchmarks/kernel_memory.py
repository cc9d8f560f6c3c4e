"""The memory of warm and plain kernels: ``python benchmarks/kernel_memory.py``. Linux only.

Runs two experiments at once with ``-n 2``, looks at each of their processes while the kernels wait in their first
cell, and again after 20 empty cells. Prints for every role the mean over its processes: the peak of the resident memory
(for a forked process since its fork) and the proportional share at that moment, in which a page that several processes
share is divided among them; so the shares of all processes add up to what the session takes. Then the same where the
kernels import numpy and pandas, preloaded or not. Needs both libraries.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import psutil  # noqa: TID253  to look at processes
import trees

from pytest_nbgroups.monitoring.process_memory import ProcReader

NAMES = ("One", "Two")
WAIT = "_ = open('{gate}').read()"
LIBRARIES = "import numpy, pandas"
PLAIN_START = ("-o", "experiment_kernel_start=plain")
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "plain": ("pass", PLAIN_START),
    "warm": ("pass", ()),
    "plain, numpy and pandas": (LIBRARIES, PLAIN_START),
    "warm, numpy and pandas": (LIBRARIES, ()),
    "preloaded, numpy and pandas": (LIBRARIES, ("-o", "experiment_preload=numpy pandas")),
}
"""What is compared -> what the kernels do, and how pytest is called."""
IDLE, LATER = "kernel, first cell", "kernel, 20 cells on"
ROLES = ("controller", "worker", "kernel host", "fork server", IDLE, LATER)
TOTAL = "all, first cells"

Memory: TypeAlias = tuple[float, float]
"""Peak resident and proportional bytes."""


def lay_out(root: Path, work: str) -> None:
    for name in NAMES:
        folder = root / "experiments" / name
        gates = [WAIT.format(gate=f"gate-{n}") for n in (1, 2)]
        pid = f"import os\n{work}\n_ = open('pid', 'w').write(str(os.getpid()))\n{gates[0]}"
        trees.write_notebook(folder / "1-run.ipynb", [pid, *["pass"] * 20, gates[1]])
        for number in (1, 2):
            os.mkfifo(folder / f"gate-{number}")


def memory(pid: int) -> Memory:
    reader = ProcReader()
    whole, portion = reader.memory(pid), reader.portion(pid)
    if whole is None or portion is None:
        sys.exit(f"process {pid} cannot be looked at")
    return whole.peak_rss_bytes, portion.proportional_bytes


def roles(root: Path, controller: int) -> dict[str, list[int]]:
    """Role -> pids, while all kernels wait in their first cell."""
    found: dict[str, list[int]] = defaultdict(list, {"controller": [controller]})
    for name in NAMES:
        kernel = psutil.Process(int((root / "experiments" / name / "pid").read_text()))
        host = kernel.parent()
        worker = host.parent() if host else None
        if host is None or worker is None:
            sys.exit("a kernel has lost its parents")
        found["worker"].append(worker.pid)
        found["kernel host"].append(host.pid)
        found["fork server"] += [p.pid for p in host.children() if p.pid != kernel.pid]
        found[IDLE].append(kernel.pid)
    return found


def measure(root: Path, options: tuple[str, ...]) -> dict[str, Memory]:
    """Role -> mean of its processes."""
    command = trees.pytest_command("-n2", *options)
    with subprocess.Popen(
        command, cwd=root, env=trees.environment(root), stdout=subprocess.DEVNULL
    ) as pytest:
        gates = [open(root / "experiments" / n / "gate-1", "w") for n in NAMES]  # noqa: SIM115, PTH123  open once their kernels wait there
        pids = roles(root, pytest.pid)
        seen = {role: [memory(pid) for pid in each] for role, each in pids.items()}
        for gate in gates:
            gate.close()
        gates = [open(root / "experiments" / n / "gate-2", "w") for n in NAMES]  # noqa: SIM115, PTH123
        seen[LATER] = [memory(pid) for pid in pids[IDLE]]
        for gate in gates:
            gate.close()
    if pytest.returncode:
        sys.exit(f"pytest ended with {pytest.returncode}")
    shares = [share for role in ROLES[:-1] for _, share in seen.get(role, ())]
    means = {
        role: (fmean(peak for peak, _ in each), fmean(share for _, share in each))
        for role, each in seen.items()
        if each
    }
    return {**means, TOTAL: (0.0, sum(shares))}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    table = {}
    for kind, (work, options) in KINDS.items():
        with tempfile.TemporaryDirectory() as name:
            root = trees.root(Path(name))
            lay_out(root, work)
            table[kind] = measure(root, options)
    print(
        "MB, peak resident / proportional share\n" + " " * 22 + "".join(f"{k:>29}" for k in KINDS)
    )
    for role in (*ROLES, TOTAL):
        print(f"{role:<22}" + "".join(f"{_shown(table[kind].get(role)):>29}" for kind in KINDS))


def _shown(memory: Memory | None) -> str:
    if memory is None:
        return "-"
    peak, share = (each / 1e6 for each in memory)
    return f"{peak:.1f} / {share:.1f}" if peak else f"{share:.1f}"


if __name__ == "__main__":
    main()
