"""A lease lasts as long as some process holds it, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import LeaseTimeoutError
from pytest_nbgroups.core.resources import Budget, Claim, Need
from pytest_nbgroups.leases import tickets
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.scheduling.admission import Grant, Obstacle, admit

BUDGET = Budget(
    cpus=8, cpus_source="affinity", ram_bytes=10**10, ram_capacity_bytes=10**10, ram_source="RAM"
)
HOLDER = """
import sys
from pathlib import Path
from pytest_nbgroups.scheduling.admission import Grant
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.core.resources import Claim, Need
need = Need(cpus=1, ram_bytes=0, ram_source="declared", exclusive=True)
wanted = Claim(need=need, experiment="dead", session="t")
with LeasePool(Path(sys.argv[1])).lease(wanted, admission=lambda *_: Grant()):
    print("held", flush=True)
    sys.stdin.read()
"""


def claim(name: str, *locks: str) -> Claim:
    need = Need(cpus=1, ram_bytes=0, ram_source="declared", locks=locks)
    return Claim(need=need, experiment=name, session="s")


def admission(asking: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]) -> Grant | Obstacle:
    return admit(asking, holders=holders, ahead=ahead, budget=BUDGET, gpus=(), memory=None)


@pytest.fixture
def pool(tmp_path: Path) -> LeasePool:
    return LeasePool(tmp_path / "pool", poll_s=0.01)


def files(pool: LeasePool) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in pool.folder.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="a lock is its process's alone")
def test_heir(pool: LeasePool) -> None:
    """A process that inherits a descriptor keeps the lease that was given back, until it ends."""
    with pool.lease(claim("A", "x"), admission=admission) as held:
        heir = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=held.descriptors,
        )
    assert [each.experiment for each in pool.snapshot().holders] == ["A"]
    heir.communicate()
    with pool.lease(claim("B", "x"), admission=admission, wait_s=0):
        pass
    assert files(pool) == ["gate"]


def test_death(pool: LeasePool) -> None:
    """What a killed process held is free at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(pool.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        with (
            pytest.raises(LeaseTimeoutError, match=f"waits for dead .pid {process.pid}"),
            pool.lease(claim("A"), admission=admission, wait_s=0),
        ):
            pass
        process.kill()
        process.wait()
    with pool.lease(claim("A"), admission=admission, wait_s=0):
        pass
    assert files(pool) == ["gate"]


@pytest.mark.skipif(os.name == "nt", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child(tmp_path: Path) -> None:
    """A forked child does not keep alive what its parent gives back."""
    ticket = tickets.create(tmp_path, "holding", 1, claim("A"))
    started, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(started[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(started[0], 1)
    ticket.end()
    left = list(tmp_path.iterdir())
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for end in (*started, *go):
        os.close(end)
    assert left == []
