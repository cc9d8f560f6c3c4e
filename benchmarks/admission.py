"""Whether leases ever exceed the budget: ``python benchmarks/admission.py``.

A mixed suite of sleeping experiments (RAM, CPUs, whole GPUs and shares of 4 fake ones, a lock, an
exclusive one) in one session, then in two at the same time, each with half of it, that share a pool of
leases. From the leases in the sessions' records come the sums of all that was held at each grant; each
peak stands beside its budget. A whole GPU counts as all of its memory, so that no second holder fits
beside it. The rival: the same sleeps as plain tests under xdist's ``load``, with the sums of what would
have been promised; nothing assigns GPUs there, and programs take the first ones.

Exits with 1 where a lease exceeded a budget.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat  # noqa: TID253  a program of its own
from makespan import fake_gpus

WORKERS = 8
RAM = "1600MB"
GPUS = 4
GPU_MIB = 81920
ROUNDING = 1e-9
SLEEPING_TEST = """
import time
def test_sleep():
    begun = time.time()
    time.sleep({seconds})
    with open({spans!r}, "a") as file:
        print({number}, begun, time.time(), file=file)
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """An experiment: how long it sleeps and what it declares."""

    seconds: float
    cpus: float
    ram_mb: int
    gpus: int = 0
    gpu_memory_gb: int = 0
    lock: str = ""
    exclusive: bool = False

    def toml(self) -> str:
        declared = [f"cpus = {self.cpus}", f"ram = '{self.ram_mb}MB'"]
        declared.append(f"exclusive = {str(self.exclusive).lower()}")
        declared.append(
            f"gpu_memory = '{self.gpu_memory_gb}GB'"
            if self.gpu_memory_gb
            else f"gpus = {self.gpus}"
        )
        if self.lock:
            declared.append(f"locks = ['{self.lock}']")
        return "\n".join(["[resources]", *declared, ""])


@dataclass(frozen=True, kw_only=True)
class Span:
    """One run of a task, in seconds since the epoch, and what it held."""

    begun: float
    ended: float
    cpus: float
    ram_bytes: float
    gpus: tuple[str, ...]
    share_bytes: int | None
    locks: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a session may hand out."""

    cpus: float
    ram_bytes: int
    gpu_bytes: int
    """Of each GPU."""


@dataclass(kw_only=True)
class Audit:
    """The sums at each start, as parts of what there is."""

    peaks: dict[str, float] = field(default_factory=dict)
    violations: int = 0
    most_at_once: int = 0
    makespan_s: float = 0.0


def suite() -> list[Task]:
    """24 tasks, always the same."""
    rng = random.Random(24)  # noqa: S311  nothing secret

    def task(**special: Any) -> Task:  # noqa: ANN401  fields of Task
        return Task(
            seconds=rng.choice([0.5, 0.8, 1.2, 1.6, 2.0]),
            cpus=rng.choice([0.25, 0.25, 0.25, 0.5, 1]),
            ram_mb=rng.choice([50, 100, 100, 200, 300, 500, 700]),
            **special,
        )

    tasks = [task() for _ in range(9)]
    tasks += [task(gpus=gpus) for gpus in (1, 1, 1, 1, 2, 2)]
    tasks += [task(gpu_memory_gb=share) for share in (20, 30, 40, 50, 50, 60)]
    tasks += [task(lock="scanner"), task(lock="scanner"), task(exclusive=True)]
    return rng.sample(tasks, len(tasks))


def audit(spans: Sequence[Span], limits: Limits) -> Audit:
    """Go through the starts, where the sums grow. One that ends at that moment is not counted."""
    begun = min(span.begun for span in spans)
    audited = Audit(makespan_s=max(span.ended for span in spans) - begun)
    for moment in sorted(span.begun for span in spans):
        held = [span for span in spans if span.begun <= moment < span.ended]
        audited.most_at_once = max(audited.most_at_once, len(held))
        for name, part in parts(held, limits).items():
            audited.peaks[name] = max(audited.peaks.get(name, 0.0), part)
            audited.violations += part > 1 + ROUNDING
    return audited


def parts(held: Sequence[Span], limits: Limits) -> dict[str, float]:
    """What is held at one moment over what there is of it."""
    locks = Counter(lock for span in held for lock in span.locks)
    gpus: Counter[str] = Counter()
    for span in held:
        share = limits.gpu_bytes if span.share_bytes is None else span.share_bytes
        gpus.update(dict.fromkeys(span.gpus, share))
    return {
        "cpus": sum(span.cpus for span in held) / limits.cpus,
        "RAM": sum(span.ram_bytes for span in held) / limits.ram_bytes,
        "all GPUs": gpus.total() / limits.gpu_bytes / GPUS,
        "fullest GPU": max(gpus.values(), default=0) / limits.gpu_bytes,
        "a lock": max(locks.values(), default=0),
        "exclusive": len(held) if any(span.exclusive for span in held) else 0,
    }


class Bench:
    """A folder with the tasks, as experiments and as tests."""

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        self.folder = folder
        self.tasks = tasks
        gpus = fake_gpus(folder)
        description = "".join(f"gpu uuid=GPU-{n} total={GPU_MIB}\n" for n in range(GPUS))
        Path(gpus["FAKE_NVML"]).write_text(description)
        self.environment = {**os.environ, **gpus, "NBGROUPS_POOL": str(folder / "pool")}
        self.spans = folder / "spans.txt"
        self._write("experiments/pytest.ini", "[pytest]\n")
        self._write("tests/pytest.ini", "[pytest]\n")
        for number, task in enumerate(tasks):
            cell = nbformat.v4.new_code_cell(f"import time; time.sleep({task.seconds})")
            notebook = nbformat.v4.new_notebook(cells=[cell])
            self._write(f"experiments/E{number:02}/1-sleep.ipynb", nbformat.writes(notebook))
            self._write(f"experiments/E{number:02}/experiment.toml", task.toml())
            text = SLEEPING_TEST.format(seconds=task.seconds, spans=str(self.spans), number=number)
            self._write(f"tests/test_E{number:02}.py", text)

    def ours(self, *, sessions: int) -> tuple[list[Span], Limits]:
        """Run all experiments, in so many sessions at the same time."""
        names = [f"E{number:02}" for number in range(len(self.tasks))]
        folder = self.folder / "experiments"
        artifacts = [f".experiments-{n}-of-{sessions}" for n in range(sessions)]
        workers = str(WORKERS // sessions)
        options = ["--run-experiments", f"--experiment-ram={RAM}", "-n", workers]
        started = [
            self._start(folder, *options, f"--experiment-artifacts={name}", *names[n::sessions])
            for n, name in enumerate(artifacts)
        ]
        for process in started:
            finish(process)
        records = [json.loads((folder / name / "session.json").read_text()) for name in artifacts]
        budget = records[0]["budget"]
        leases = [e["attempts"][-1]["lease"] for r in records for e in r["experiments"]]
        limits = Limits(
            cpus=budget["cpus"],
            ram_bytes=budget["ram_bytes"],
            gpu_bytes=budget["gpus"][0]["total_bytes"],
        )
        return [span_of(lease) for lease in leases], limits

    def rival(self) -> list[Span]:
        finish(
            self._start(
                self.folder / "tests", "-p", "no:nbgroups", "--dist=load", "-n", str(WORKERS)
            )
        )
        lines = [line.split() for line in self.spans.read_text().splitlines()]
        return [
            promised(self.tasks[int(number)], float(begun), float(ended))
            for number, begun, ended in lines
        ]

    def _start(self, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.Popen(
            command,
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(output)


def span_of(lease: dict[str, Any]) -> Span:
    return Span(
        begun=lease["granted_at"],
        ended=lease["released_at"],
        cpus=lease["cpus"],
        ram_bytes=lease["ram_bytes"],
        gpus=tuple(lease["gpus"]),
        share_bytes=lease["gpu_share_bytes"],
        locks=tuple(lease["locks"]),
        exclusive=lease["exclusive"],
    )


def promised(task: Task, begun: float, ended: float) -> Span:
    """What a run without leases would have needed."""
    gpus = 1 if task.gpu_memory_gb else task.gpus
    return Span(
        begun=begun,
        ended=ended,
        cpus=task.cpus,
        ram_bytes=task.ram_mb * 10**6,
        gpus=tuple(f"GPU-{n}" for n in range(gpus)),
        share_bytes=task.gpu_memory_gb * 10**9 if task.gpu_memory_gb else None,
        locks=(task.lock,) if task.lock else (),
        exclusive=task.exclusive,
    )


def show(audits: dict[str, Audit]) -> None:
    print(f"{'peak / budget':<18}" + "".join(f"{name:>18}" for name in audits))
    for part in next(iter(audits.values())).peaks:
        peaks = "".join(f"{audited.peaks[part]:>18.3f}" for audited in audits.values())
        print(f"{part:<18}{peaks}")
    print(f"{'most at once':<18}" + "".join(f"{a.most_at_once:>18}" for a in audits.values()))
    print(f"{'makespan, s':<18}" + "".join(f"{a.makespan_s:>18.1f}" for a in audits.values()))
    print(f"{'violations':<18}" + "".join(f"{a.violations:>18}" for a in audits.values()))


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    tasks = suite()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), tasks)
        one, limits = bench.ours(sessions=1)
        two, _ = bench.ours(sessions=2)
        rival = bench.rival()
    if any(len(spans) != len(tasks) for spans in (one, two, rival)):
        sys.exit(f"{len(tasks)} were to run; {len(one)}, {len(two)} and {len(rival)} did")
    ours = {"one session": audit(one, limits), "two sessions": audit(two, limits)}
    print(
        f"{len(tasks)} experiments, {WORKERS} workers: {limits.cpus:g} cpus, {RAM}, {GPUS} fake GPUs"
    )
    show({**ours, "xdist load": audit(rival, limits)})
    violations = sum(audited.violations for audited in ours.values())
    print(f"violations: {violations}")
    sys.exit(violations > 0)


if __name__ == "__main__":
    main()
