"""Leases under fire: ``python benchmarks/leases.py``.

Twelve processes lease GPUs or RAM, each starts a "kernel" that uses them, and every third of a second
one process is killed. Files that only the kernels lock witness what two use at once. Beside the
lease pool runs what is usually built instead, a row with a pid in a database: a killed process loses
its row though its kernel goes on. Then what it costs twelve processes to wait.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sqlite3  # noqa: TID253  the rival
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "system"))

from lease_stress import (
    GPUS,
    RAM_UNITS,
    Acquire,
    Kind,
    Outcome,
    Stress,
    admission,
    claim_of,
    from_pool,
    main,
)

from pytest_nbgroups.core.resources import Need
from pytest_nbgroups.leases.pool import LeasePool

GB = 10**9
USERS = (4001, 4002)
WAITERS = 12
WAIT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """The rival's lease: no descriptor that a kernel could inherit."""

    gpus: tuple[str, ...]
    waited_s: float
    descriptors: tuple[int, ...] = ()


def from_rows(folder: Path) -> Acquire:
    """A table of (thing, pid); rows whose process is gone are deleted by whoever comes next."""
    database = sqlite3.connect(folder / "rows.sqlite", timeout=60, isolation_level=None)
    database.execute("create table if not exists held (thing text primary key, pid integer)")

    @contextmanager
    def acquire(need: Need) -> Iterator[Row]:
        started = time.monotonic()
        while not (things := _take(database, need)):
            time.sleep(random.uniform(0.01, 0.05))  # noqa: S311
        try:
            gpus = tuple(things) if need.gpus else ()
            yield Row(gpus=gpus, waited_s=time.monotonic() - started)
        finally:
            for thing in things:
                database.execute("delete from held where thing = ?", (thing,))

    return acquire


def _take(database: sqlite3.Connection, need: Need) -> list[str]:
    count = need.gpus or need.ram_bytes // GB
    things = (
        [gpu.uuid for gpu in GPUS] if need.gpus else [f"{unit} GB" for unit in range(RAM_UNITS)]
    )
    database.execute("begin immediate")
    try:
        rows = database.execute("select thing, pid from held").fetchall()
        held = {thing for thing, pid in rows if _is_alive(pid)}
        free = [thing for thing in things if thing not in held][:count]
        if len(free) < count:
            return []
        values = [(thing, os.getpid()) for thing in free]
        database.executemany("insert or replace into held values (?, ?)", values)
        return free
    finally:
        database.execute("commit")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def report(name: str, outcome: Outcome, left: int) -> None:
    cuts = statistics.quantiles(outcome.waits_s, n=100)
    print(
        f"{name:<22}{outcome.leases:>7}{outcome.kills:>7}{outcome.violations:>9}{left:>7}"
        f"{outcome.seconds:>8.1f}s{outcome.leases / outcome.seconds:>9.1f}"
        f"{cuts[49]:>9.3f}{cuts[94]:>8.3f}{outcome.waits_s[-1]:>8.3f}"
        f"{'' if outcome.finished else '  NOT FINISHED'}{'  ERRORS' if outcome.errors else ''}"
    )
    for error in outcome.errors[:3]:
        print(error)


def stress(
    name: str,
    kind: Kind,
    leases: int,
    *,
    rival: bool = False,
    lends: bool = False,
    users: tuple[int | None, ...] = (None,),
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        folder.chmod(0o1777)
        program = (__file__, "--rival-worker") if rival else (__file__, "--worker")
        outcome = Stress(
            folder=folder,
            kind=kind,
            workers=12,
            leases=leases,
            kill_every_s=0.3,
            limit_s=300,
            program=program,
            users=users,
            lends=lends,
        ).run()
        report(name, outcome, _rows_left(folder) if rival else _tickets_left(folder))


def _tickets_left(folder: Path) -> int:
    found = LeasePool(folder / "pool").snapshot()
    return len(found.holders) + len(found.waiting)


def _rows_left(folder: Path) -> int:
    with sqlite3.connect(folder / "rows.sqlite") as database:
        return int(database.execute("select count(*) from held").fetchone()[0])


def wait_cost() -> None:
    """CPU time of processes that wait, as a part of one core."""
    with tempfile.TemporaryDirectory() as directory:
        pool = LeasePool(Path(directory) / "pool")
        need = Need(cpus=1, ram_bytes=0, ram_source="declared", gpus=len(GPUS))
        with pool.lease(claim_of(need), admission=admission):
            command = [sys.executable, __file__, "--waiter", str(pool.folder)]
            waiters = [
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WAITERS)
            ]
            shares = [float(waiter.communicate()[0]) for waiter in waiters]
    print(
        f"\n{WAITERS} waiters use {statistics.mean(shares):.2%} of a core each "
        f"(at most {max(shares):.2%}) over {WAIT_S:g}s"
    )


def waiter(folder: Path) -> None:
    """Wait in vain, and print the part of a core that it took."""
    pool = LeasePool(folder)
    give_up_at, start_at = time.monotonic() + 2 + WAIT_S, time.monotonic() + 2
    used: list[float] = []

    def cancelled() -> bool:
        if not used and time.monotonic() > start_at:  # the others have come by now
            used.append(_cpu_s())
        return time.monotonic() > give_up_at

    need = Need(cpus=1, ram_bytes=0, ram_source="declared", gpus=1)
    with suppress(Exception), pool.lease(claim_of(need), admission=admission, cancelled=cancelled):
        pass
    print((_cpu_s() - used[0]) / WAIT_S)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leases", type=int, default=30, help="by each of twelve processes")
    leases = parser.parse_args().leases
    print(
        f"{'':<22}{'leases':>7}{'kills':>7}{'double':>9}{'stuck':>7}{'time':>9}{'per s':>9}"
        f"{'wait p50':>9}{'p95':>8}{'max':>8}"
    )
    kinds: tuple[Kind, ...] = ("gpu", "ram")
    for kind in kinds:
        stress(f"lease pool, {kind}", kind, leases)
        stress(f"lent leases, {kind}", kind, leases, lends=True)
        stress(f"row with a pid, {kind}", kind, leases, rival=True)
    if os.getuid() == 0:
        stress("lease pool, two users", "gpu", leases, users=USERS)
    wait_cost()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--worker", options]:
            main(from_pool, options)
        case ["--rival-worker", options]:
            main(from_rows, options)
        case ["--waiter", folder]:
            waiter(Path(folder))
        case _:
            run()
