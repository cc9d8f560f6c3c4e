"""Which GPUs ``--experiment-gpus`` leaves to a session."""

from __future__ import annotations

import pytest

from pytest_nbgroups.core.errors import SelectionError
from pytest_nbgroups.core.resources import Gpu
from pytest_nbgroups.core.settings import GpuSelection
from pytest_nbgroups.machine.gpu import GpuFindings
from pytest_nbgroups.machine.gpu_choice import choose


def gpu(index: int, uuid: str, free: int = 8) -> Gpu:
    """A device."""
    return Gpu(uuid=uuid, index=index, name="T", total_bytes=8, free_bytes=free)


FOUND = GpuFindings(
    gpus=(gpu(0, "GPU-aa", 2), gpu(2, "GPU-ab"), gpu(3, "MIG-1", 4), gpu(3, "MIG-2", 4))
)


@pytest.mark.parametrize(
    ("selection", "uuids"),
    [
        (GpuSelection(), ["GPU-aa", "GPU-ab", "MIG-1", "MIG-2"]),
        (GpuSelection(count=4), ["GPU-aa", "GPU-ab", "MIG-1", "MIG-2"]),
        (GpuSelection(count=2), ["GPU-ab", "MIG-1"]),
        (GpuSelection(names=("2", "0")), ["GPU-ab", "GPU-aa"]),
        (GpuSelection(names=("GPU-ab", "2")), ["GPU-ab"]),
        (GpuSelection(names=("3",)), ["MIG-1", "MIG-2"]),
        (GpuSelection(names=("MIG-2",)), ["MIG-2"]),
    ],
)
def test_the_users_choice(selection: GpuSelection, uuids: list[str]) -> None:
    """Of a number, those with the most free memory; of names, those that are named."""
    assert [each.uuid for each in choose(FOUND, selection).gpus] == uuids


def test_none() -> None:
    """The reason is then what an experiment is skipped for that needs one."""
    assert choose(FOUND, GpuSelection(count=0)) == GpuFindings(reason="--experiment-gpus none")


@pytest.mark.parametrize(
    ("selection", "found", "message"),
    [
        (
            GpuSelection(count=2),
            GpuFindings(gpus=(gpu(0, "GPU-aa"),)),
            r"--experiment-gpus 2: found 1: 0 \(GPU-aa\)",
        ),
        (
            GpuSelection(count=1),
            GpuFindings(reason="no NVIDIA driver"),
            r"--experiment-gpus 1: found none \(no NVIDIA driver\)",
        ),
        (GpuSelection(names=("1",)), FOUND, r"there is no GPU '1'; found 4: 0 \(GPU-aa\), 2 "),
        (GpuSelection(names=("GPU-a",)), FOUND, "'GPU-a' fits several GPUs; give more of the UUID"),
    ],
)
def test_what_is_not_there(selection: GpuSelection, found: GpuFindings, message: str) -> None:
    """A run on fewer GPUs than asked for is not what was meant."""
    with pytest.raises(SelectionError, match=message):
        choose(found, selection)
