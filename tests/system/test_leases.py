"""The lease pool under real processes, real signals and real users."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="the witness locks files as POSIX does")

from lease_stress import GPUS, Kind, Stress, admission, claim_of

from pytest_nbgroups.core.errors import LeaseTimeoutError
from pytest_nbgroups.core.resources import Need
from pytest_nbgroups.leases.pool import LeasePool

USERS = (4001, 4002)
PATIENCE_S = 300
"""It ends within ten seconds on an idle machine."""
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from lease_stress import admission, claim_of
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.core.resources import Need
need = Need(cpus=1, ram_bytes=0, ram_source="declared", gpus=4)
with LeasePool(Path(sys.argv[1])).lease(claim_of(need), admission=admission) as held:
    program = "import sys, time; print('ready', flush=True); sys.stdin.read()"
    kernel = [sys.executable, "-c", program]
    subprocess.Popen(kernel, pass_fds=held.descriptors, start_new_session=True)
    time.sleep(600)
"""


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


def check(stress: Stress) -> None:
    outcome = stress.run()
    assert outcome.errors == []
    assert outcome.violations == 0
    assert outcome.finished
    assert outcome.kills >= 1
    assert outcome.leases == stress.workers * stress.leases
    left = LeasePool(stress.folder / "pool").snapshot()
    assert (left.holders, left.waiting) == ((), ())


@pytest.mark.parametrize("kind", ["gpu", "ram"])
def test_killed_at_random(kind: Kind, shared_folder: Path, chance: random.Random) -> None:
    """Whoever is killed when, no GPU is used by two, no RAM is used twice, and all get their turn."""
    check(
        Stress(
            folder=shared_folder,
            kind=kind,
            workers=12,
            leases=8,
            kill_every_s=0.3,
            limit_s=PATIENCE_S,
            chance=chance,
        )
    )


@pytest.mark.parametrize("kind", ["gpu", "ram"])
def test_lenders_killed_at_random(kind: Kind, shared_folder: Path, chance: random.Random) -> None:
    """What leases lend is used by one at a time too, also while the kernels of a dead one still end."""
    check(
        Stress(
            folder=shared_folder,
            kind=kind,
            workers=6,
            leases=4,
            kill_every_s=0.5,
            limit_s=PATIENCE_S,
            lends=True,
            chance=chance,
        )
    )


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="needs root, to be two others")
def test_two_users(shared_folder: Path, chance: random.Random) -> None:
    """Two users who trust each other with nothing, each under umask 077, share one pool."""
    check(
        Stress(
            folder=shared_folder,
            kind="gpu",
            workers=8,
            leases=8,
            kill_every_s=0.3,
            limit_s=PATIENCE_S,
            users=USERS,
            chance=chance,
        )
    )


def test_kernel_outlives_its_worker(tmp_path: Path) -> None:
    """A lease lasts until the kernel that inherited it is gone, also when its worker is killed."""
    need = Need(cpus=1, ram_bytes=0, ram_source="declared", gpus=1)
    pool = LeasePool(tmp_path / "pool")
    worker = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(pool.folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdin is not None
    assert worker.stdout.readline() == "ready\n"  # from the kernel
    worker.kill()
    worker.wait()
    with (
        pytest.raises(LeaseTimeoutError, match=f"held by stress .pid {worker.pid}"),
        pool.lease(claim_of(need), admission=admission, wait_s=1),
    ):
        pass
    worker.stdin.close()  # which ends the kernel
    with pool.lease(claim_of(need), admission=admission, wait_s=10) as held:
        assert held.gpus == (GPUS[0].uuid,)
    worker.stdout.close()
