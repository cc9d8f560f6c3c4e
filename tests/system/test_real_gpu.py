"""What CUDA itself sees of a lease, and what a killed notebook leaves on a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import GONE_S, Tree, await_condition, printed

from pytest_nbgroups.machine.gpu import find_gpus
from pytest_nbgroups.machine.gpu_reader import GpuReader

pytestmark = [pytest.mark.timeout(300), pytest.mark.real_gpu]

GB = 10**9
NOISE_BYTES = GB // 4
"""What the driver, and others beside us, may take or give back meanwhile."""

SHOW = """
import torch
count = torch.cuda.device_count()
print(count, *(f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in range(count)))
"""
HOLD = """
import time
from pathlib import Path
import torch
held = torch.ones(10**9, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
Path("held").touch()
while True:
    time.sleep(1)
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    tree = Tree(tmp_path)
    yield tree
    tree.close()


def test_cuda_sees_what_is_leased(tree: Tree) -> None:
    """The leased GPU alone and by its UUID, and none without a lease."""
    for name, gpus in (("leases", 1), ("none", 0)):
        tree.notebook(name, "1-show.ipynb", SHOW)
        tree.toml(name, f"[resources]\ngpus = {gpus}\n")
    finished = tree.pytest()
    assert finished.returncode == 0, finished.text
    (uuid,) = finished.experiment("leases")["attempts"][0]["lease"]["gpus"]
    (cell,) = finished.executed("leases", "1-show.ipynb").cells
    assert printed(cell).split() == ["1", uuid]
    (cell,) = finished.executed("none", "1-show.ipynb").cells
    assert printed(cell).split() == ["0"]


def test_memory_is_free_after_a_deadline(tree: Tree) -> None:
    """A notebook that holds 1 GB of a GPU is ended by its deadline, and what it held is free again."""
    gpu = find_gpus(tree.environment()).gpus[0]
    reader = GpuReader()

    def free_bytes() -> int:
        return sum(each.free_bytes for each in reader.read([gpu]))

    before = free_bytes()
    tree.notebook("A", "1-hold.ipynb", HOLD)
    toml = '[resources]\ngpus = 1\nram = "4GB"\n[run]\nnotebook_timeout = "60s"\n'
    tree.toml("A", toml)
    running = tree.start("--experiment-gpus", gpu.uuid)
    running.await_file(tree.directory("A") / "held")
    assert free_bytes() < before - GB + NOISE_BYTES
    finished = running.wait()
    ended = time.monotonic()
    assert finished.returncode == 1, finished.text
    assert finished.failure("A")["kind"] == "deadline"
    free = await_condition(lambda: free_bytes() > before - NOISE_BYTES, GONE_S)
    assert free, f"{before - free_bytes()} bytes are held {time.monotonic() - ended:.0f}s later"
