"""Many processes that lease and are killed, and a witness that no thing is ever used by two.

The witness knows nothing of the lease pool: each GPU, and each gigabyte of the RAM, is a file that
its user locks for as long as its kernel lives. A kernel lives on for a while after its worker.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, TextIO, TypeAlias

from pytest_nbgroups.core.resources import Budget, Claim, Gpu, Need
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.scheduling.admission import Grant, Obstacle, admit
from pytest_nbgroups.scheduling.lending import within

GB = 10**9
GPUS = tuple(
    Gpu(uuid=f"GPU-{index}", index=index, name="A100", total_bytes=GB, free_bytes=GB)
    for index in range(4)
)
RAM_UNITS = 8
BUDGET = Budget(
    cpus=1000.0,
    cpus_source="",
    ram_bytes=RAM_UNITS * GB,
    ram_capacity_bytes=RAM_UNITS * GB,
    ram_source="",
    gpus=GPUS,
)
ORPHAN_S = 0.3
"""So long a kernel goes on once its worker is dead."""
_DYING_S = 0.15
"""A dying process lets go of its files one by one."""

Kind: TypeAlias = Literal["gpu", "ram"]


class Held(Protocol):
    """What was granted, by whatever pool."""

    @property
    def gpus(self) -> tuple[str, ...]: ...
    @property
    def descriptors(self) -> tuple[int, ...]: ...
    @property
    def waited_s(self) -> float: ...


Acquire: TypeAlias = Callable[[Need], AbstractContextManager[Held]]


def claim_of(need: Need) -> Claim:
    choices = tuple(gpu.uuid for gpu in GPUS)
    return Claim(need=need, experiment="stress", session="s", gpu_choices=choices)


def admission(claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]) -> Grant | Obstacle:
    return admit(claim, holders=holders, ahead=ahead, budget=BUDGET, gpus=GPUS, memory=None)


def from_pool(folder: Path) -> Acquire:
    pool = LeasePool(folder / "pool")
    return lambda need: pool.lease(claim_of(need), admission=admission, wait_s=120)


def work(
    folder: Path, number: int, kind: Kind, count: int, acquire: Acquire, chance: random.Random
) -> None:
    """Lease, use and release ``count`` times; write a line for each."""
    os.umask(0o077)
    with (folder / f"log-{number}").open("a", buffering=1) as log:
        for _ in range(count):
            units = chance.choice((1, 1, 2)) if kind == "gpu" else chance.randint(1, 4)
            with acquire(_need(kind, units)) as held:
                _use(folder, kind, held, units, log, chance)
            log.write(f"OK {held.waited_s:.4f}\n")


def lend(folder: Path, number: int, kind: Kind, count: int, chance: random.Random) -> None:
    """Lease ``count`` times, and let three others use what was leased, each in a lease inside that one."""
    pool = LeasePool(folder / "pool")
    with (folder / f"log-{number}").open("a", buffering=1) as log, ThreadPoolExecutor() as threads:
        for _ in range(count):
            units = chance.choice((1, 2)) if kind == "gpu" else chance.randint(1, 4)
            claim = claim_of(replace(_need(kind, units), cpus=3))
            with pool.lease(claim, admission=admission, wait_s=120) as outer:
                borrow = partial(_borrow, folder, kind, pool, outer.claim, log)
                seeds = [chance.randrange(2**32) for _ in range(3)]  # threads draw in any order
                list(threads.map(borrow, [1, 1, units], seeds))
            log.write(f"OK {outer.waited_s:.4f}\n")


def _borrow(  # noqa: PLR0913, PLR0917  the last two are drawn for each
    folder: Path, kind: Kind, pool: LeasePool, lender: Claim, log: TextIO, units: int, seed: int
) -> None:
    budget = within(BUDGET, lender)
    claim = replace(
        claim_of(_need(kind, units)), cpu_limit=budget.cpus, lender=lender.ticket, session="inside"
    )
    asked = partial(admit, budget=budget, gpus=budget.gpus, memory=None)

    def ask(claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]) -> Grant | Obstacle:
        return asked(claim, holders=holders, ahead=ahead)

    with pool.lease(claim, admission=ask, wait_s=120) as held:
        _use(folder, kind, held, units, log, random.Random(seed))  # noqa: S311  no secret


def _use(
    folder: Path, kind: Kind, held: Held, units: int, log: TextIO, chance: random.Random
) -> None:
    """Use what is held for a moment, by a kernel that may outlive this process."""
    with ExitStack() as used:
        wanted = held.gpus if kind == "gpu" else tuple(map(str, range(RAM_UNITS)))
        descriptors = _witness(folder, kind, wanted, units)
        if len(descriptors) < units:
            log.write("VIOLATION\n")
        for descriptor in descriptors:
            used.callback(os.close, descriptor)
        used.enter_context(_kernel((*held.descriptors, *descriptors)))
        time.sleep(chance.uniform(0, 0.03))


def _need(kind: Kind, units: int) -> Need:
    return Need(
        cpus=1,
        ram_bytes=units * GB if kind == "ram" else 0,
        ram_source="declared",
        gpus=units if kind == "gpu" else 0,
    )


def _witness(folder: Path, kind: Kind, names: Sequence[str], count: int) -> list[int]:
    """Lock as many of the files; fewer where others use them longer than it takes to die."""
    give_up_at = time.monotonic() + _DYING_S
    locked: dict[str, int] = {}
    while len(locked) < count and time.monotonic() < give_up_at:
        for name in names:
            if name in locked or len(locked) == count:
                continue
            descriptor = os.open(folder / f"{kind}-{name}", os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                locked[name] = descriptor
        time.sleep(0 if len(locked) == count else 0.003)
    return list(locked.values())


@contextmanager
def _kernel(descriptors: tuple[int, ...]) -> Iterator[None]:
    """A process that uses what was leased, and outlives a worker that is killed."""
    command = ["/bin/sh", "-c", f"read line; sleep {ORPHAN_S}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=descriptors) as kernel:
        try:
            yield
        finally:
            kernel.kill()


@dataclass(kw_only=True)
class Outcome:
    """What came of it."""

    leases: int
    kills: int
    violations: int
    seconds: float
    waits_s: list[float]
    finished: bool
    errors: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Stress:
    """Starts the workers, kills one every so often that has had a lease, and starts it again for the rest."""

    folder: Path
    kind: Kind
    workers: int
    leases: int
    """By each worker."""
    kill_every_s: float
    limit_s: float
    program: tuple[str, ...] = (__file__,)
    users: tuple[int | None, ...] = (None,)
    """User ids that the workers have in turn."""
    lends: bool = False
    """Whether the workers lend what they lease."""
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  no secret
    """Draws who is killed when, and the seed of each worker."""

    def run(self) -> Outcome:
        self._prepare()
        started = time.monotonic()
        alive = {number: self._start(number, self.leases) for number in range(self.workers)}
        had = dict.fromkeys(alive, 0)
        kills, kill_at, errors = 0, started + 0.6, []
        try:
            while alive and time.monotonic() < started + self.limit_s:
                time.sleep(0.02)
                for number, process in list(alive.items()):
                    if process.poll() is None:
                        continue
                    _, error = process.communicate()
                    errors += [error] if process.returncode != -signal.SIGKILL and error else []
                    left = self.leases - len(self._waits(number))
                    del alive[number]
                    if left > 0:
                        alive[number] = self._start(number, left)
                        had[number] = self.leases - left
                # One that has had no lease since its start is spared: on a busy machine, where a
                # start takes longer than the time between two kills, none would ever have one.
                victims = [number for number in alive if len(self._waits(number)) > had[number]]
                if victims and time.monotonic() > kill_at:
                    alive[self.chance.choice(victims)].kill()
                    kills += 1
                    kill_at = time.monotonic() + self.chance.uniform(0.5, 1.5) * self.kill_every_s
        finally:
            for process in alive.values():
                process.kill()
                process.communicate()
        logs = [self._log(number).read_text() for number in range(self.workers)]
        waits = [wait for number in range(self.workers) for wait in self._waits(number)]
        return Outcome(
            leases=len(waits),
            kills=kills,
            violations=sum(log.count("VIOLATION") for log in logs),
            seconds=time.monotonic() - started,
            waits_s=sorted(waits),
            finished=not alive,
            errors=errors,
        )

    def _prepare(self) -> None:
        names = [f"gpu-{gpu.uuid}" for gpu in GPUS]
        names += [f"ram-{unit}" for unit in range(RAM_UNITS)]
        names += [self._log(number).name for number in range(self.workers)]
        for name in names:
            (self.folder / name).touch()
            (self.folder / name).chmod(0o666)

    def _start(self, number: int, count: int) -> subprocess.Popen[str]:
        options = {
            "folder": str(self.folder),
            "number": number,
            "seed": self.chance.randrange(2**32),
            "kind": self.kind,
            "count": count,
            "lends": self.lends,
            "user": self.users[number % len(self.users)],
        }
        return subprocess.Popen(
            [sys.executable, *self.program, json.dumps(options)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _log(self, number: int) -> Path:
        return self.folder / f"log-{number}"

    def _waits(self, number: int) -> list[float]:
        lines = self._log(number).read_text().splitlines()
        return [float(line.split()[1]) for line in lines if line.startswith("OK ")]


def main(acquire_from: Callable[[Path], Acquire], options: str) -> None:
    """The entry of a worker."""
    said = json.loads(options)
    folder = Path(said["folder"])
    chance = random.Random(said["seed"])  # noqa: S311  no secret
    if said["user"] is not None:  # only now: this Python can be where others may not read
        os.setgroups([])
        os.setgid(said["user"])
        os.setuid(said["user"])
    if said["lends"]:
        lend(folder, said["number"], said["kind"], said["count"], chance)
    else:
        work(folder, said["number"], said["kind"], said["count"], acquire_from(folder), chance)


if __name__ == "__main__":
    main(from_pool, sys.argv[1])
