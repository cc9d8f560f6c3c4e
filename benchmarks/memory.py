"""How near measured peaks come to the truth: ``python benchmarks/memory.py``.

Runs notebooks that use a known amount of memory and prints what is measured as a ratio to the truth, beside what other
ways of measuring see of the same run: the sum of RSS over the process tree, sampled every 0.25 s with psutil, and the
RSS of the kernel alone, sampled every 0.1 s as memory_profiler does. The truth is what the notebook allocates, on top
of what an idle kernel was measured to use. Then the CPU time that the sampler takes, as a share of one core.

``--uml`` does all that inside of user-mode Linux, an ordinary program that is a kernel with a cgroup of its own for
each notebook, and prints what the cgroup's ``memory.peak`` says as well (Debian: ``apt-get install user-mode-linux``, or
unpack the package and name the program: ``--uml usr/bin/linux.uml``). Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # noqa: TID253  what others measure with

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.model import Experiment, ExperimentOutcome, Notebook
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.execution.experiment import run_experiment
from pytest_nbgroups.execution.halting import Halts
from pytest_nbgroups.execution.run import Run
from pytest_nbgroups.kernel_host.client import KernelHost
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.monitoring.watch import MemoryWatch
from pytest_nbgroups.resume.attempt import Attempt

MB = 10**6
CGROUPS = Path("/sys/fs/cgroup")
INTERPRETER_MB = 8
"""A second Python beside the kernel, without the libraries that they share."""
RSS_SUM_S, KERNEL_ALONE_S = 0.25, 0.1
UML_S = 900

SPIKE = "import time; block = bytearray(b'x') * {mb}_000_000; time.sleep({for_s}); del block"
FORKS = """
import os, time
block = bytearray(b"x") * {mb}_000_000
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        {work}
        time.sleep(2)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""
WRITE = "block[::4096] = b'y' * len(block[::4096])"
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A notebook and what it allocates."""

    name: str
    source: str
    megabytes: int


CASES = (
    Case(name="idle", source="pass", megabytes=0),
    Case(name="500 MB for 200 ms", source=SPIKE.format(mb=500, for_s=0.2), megabytes=500),
    Case(
        name="four forks read 400 MB",
        source=FORKS.format(mb=400, work="sum(block[::4096])"),
        megabytes=400,
    ),
    Case(
        name="four forks write 150 MB",
        source=FORKS.format(mb=150, work=WRITE),
        megabytes=5 * 150,
    ),
    Case(
        name="a child, 500 MB, 200 ms",
        source=CHILD.format(code=SPIKE.format(mb=500, for_s=0.2)),
        megabytes=500 + INTERPRETER_MB,
    ),
    Case(
        name="a child, 500 MB, 20 ms",
        source=CHILD.format(code=SPIKE.format(mb=500, for_s=0.02)),
        megabytes=500 + INTERPRETER_MB,
    ),
)


@dataclass(kw_only=True)
class Rival:
    """Samples in a way of its own."""

    interval_s: float
    measure: Callable[[psutil.Process], int]
    peak_bytes: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def watching(self, kernel: psutil.Process) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, args=[kernel])
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self, kernel: psutil.Process) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(psutil.Error):
                self.peak_bytes = max(self.peak_bytes, self.measure(kernel))
            self._ended.wait(self.interval_s)


def rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def rss_sum(kernel: psutil.Process) -> int:
    return sum(map(rss, [kernel, *kernel.children(recursive=True)]))


def peaks(case: Case, folder: Path) -> dict[str, int]:
    """Run a notebook; the peak in bytes by way of measuring."""
    rivals = {
        "RSS, summed": Rival(interval_s=RSS_SUM_S, measure=rss_sum),
        "kernel's RSS": Rival(interval_s=KERNEL_ALONE_S, measure=rss),
    }
    cgroup = CGROUPS / "notebook" / case.name.replace(" ", "-") if has_cgroups() else None
    with contextlib.ExitStack() as stack:

        def begin(pid: int) -> None:
            if cgroup is not None:
                cgroup.mkdir()
                (cgroup / "cgroup.procs").write_text(str(pid))
            for rival in rivals.values():
                stack.enter_context(rival.watching(psutil.Process(pid)))

        ours = run(case, folder, begin)
    found = {"ours": ours, **{name: rival.peak_bytes for name, rival in rivals.items()}}
    if cgroup is not None:
        found["cgroup"] = int((cgroup / "memory.peak").read_text())
    return found


def run(case: Case, folder: Path, begin: Callable[[int], None]) -> int:
    """Run a notebook as the plugin does; give the peak of its kernel's tree."""
    cell: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "a",
        "metadata": {},
        "outputs": [],
    }
    content = {"cells": [{**cell, "source": case.source}], "metadata": {}}
    path = folder / "1.ipynb"
    path.write_text(json.dumps({**content, "nbformat": 4, "nbformat_minor": 5}))
    settings = Settings(rootdir=folder, roots=(folder,), artifacts=folder / "artifacts")
    experiment = Experiment(name="memory", directory=folder, notebooks=(Notebook(path=path),))
    env = dict(os.environ)
    with contextlib.closing(KernelHost()) as host:
        result = run_experiment(
            Run(
                experiment=experiment,
                settings=settings,
                env=env,
                host=host,
                listener=lambda _event: None,
                holding=Holding(on_start=begin),
                halts=Halts(None),
                attempt=Attempt(experiment, settings, session="memory", env=env),
            ),
            Cancellation(),
        )
    if result.outcome is not ExperimentOutcome.PASSED or result.usage is None:
        sys.exit(f"{case.name}: {result.failure}")
    return result.usage.peak_bytes


def has_cgroups() -> bool:
    """Whether the init script below has prepared some for us."""
    return (CGROUPS / "notebook").is_dir()


def print_peaks(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        idle = peaks(CASES[0], Path(folder))
        print(f"an idle kernel: {idle['ours'] / MB:.0f} MB\n")
        print(f"{'peak / truth':<26}{'truth':>8}" + "".join(f"{name:>14}" for name in idle))
        for case in CASES[1:]:
            for number in range(runs):
                once = Case(
                    name=f"{case.name} {number}", source=case.source, megabytes=case.megabytes
                )
                print_row(case, peaks(once, Path(folder)), idle)


def print_row(case: Case, found: Mapping[str, int], idle: Mapping[str, int]) -> None:
    truth = idle["ours"] + case.megabytes * MB
    # What a kernel has when it enters its cgroup stays charged to the one that it comes from.
    added = {"cgroup": idle["ours"] - idle["cgroup"]} if "cgroup" in idle else {}
    ratios = [(value + added.get(name, 0)) / truth for name, value in found.items()]
    print(f"{case.name:<26}{truth / MB:>5.0f} MB" + "".join(f"{each:>14.2f}" for each in ratios))


@contextlib.contextmanager
def children(count: int, source: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            child = subprocess.Popen(
                [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            stack.enter_context(child)
            stack.callback(child.kill)
            assert child.stdout is not None  # noqa: S101  a pipe, as asked for
            child.stdout.readline()
        yield


def print_cost(seconds: float) -> None:
    """Watch a tree while it does nothing, and while each process has grown since the last look."""
    wait = "print(flush=True); sys.stdin.read()"
    grow = "print(flush=True)\nblocks = []\nwhile True: blocks.append(bytearray(10**5)); time.sleep(0.1)"
    print(f"\n{'CPU time of the sampler':<42}{'share of a core':>15}")
    for count in (1, 10, 50):
        for name, source in (("that wait", wait), ("that grow", grow)):
            with children(count, f"import sys, time\n{source}"):
                begun = time.monotonic()
                with MemoryWatch(os.getpid(), Holding()) as watch:
                    time.sleep(seconds)
                share = watch.cpu_s / (time.monotonic() - begun)
            print(f"{f'{count} processes {name}, {seconds:g} s':<42}{share:>14.2%}")


INIT = """#!/bin/sh
export PATH={path} HOME=/run TMPDIR=/run LANG=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run
mount -t cgroup2 none {cgroups}
echo +memory >{cgroups}/cgroup.subtree_control
mkdir {cgroups}/notebook
echo +memory >{cgroups}/notebook/cgroup.subtree_control
ip link set lo up 2>/dev/null
cd /run
{command}
poweroff -f
"""


def run_in_uml(program: str, arguments: list[str]) -> None:
    """Boot a Linux over this one's files, whose first process is this benchmark."""
    command = shlex.join([sys.executable, os.path.abspath(__file__), *arguments])  # noqa: PTH100
    with tempfile.TemporaryDirectory() as folder:
        init = Path(folder) / "init"
        init.write_text(INIT.format(path=os.environ["PATH"], cgroups=CGROUPS, command=command))
        init.chmod(0o700)
        options = ["mem=3G", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", "quiet"]
        consoles = ["con=null", "con0=null,fd:1", "con1=null,fd:1"]
        subprocess.run(
            [program, *options, *consoles],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": "/dev/shm"},  # noqa: S108  its memory is a file there
            check=False,
            timeout=UML_S,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=1, help="of each notebook")
    parser.add_argument("--seconds", type=float, default=10, help="to watch each tree of processes")
    parser.add_argument(
        "--uml", nargs="?", const="linux.uml", help="run in user-mode Linux, and where that is"
    )
    arguments = parser.parse_args()
    if arguments.uml is None:
        print_peaks(arguments.runs)
        print_cost(arguments.seconds)
        return
    program = shutil.which(arguments.uml)
    if program is None:
        parser.error(f"no program {arguments.uml}; apt-get install user-mode-linux")
    run_in_uml(program, [f"--runs={arguments.runs}", f"--seconds={arguments.seconds}"])


if __name__ == "__main__":
    main()
