"""Selection of GPUs by the user. Pure: GPUs in, GPUs out."""

from __future__ import annotations

from dataclasses import replace

from pytest_nbgroups.core.errors import SelectionError
from pytest_nbgroups.core.resources import Gpu
from pytest_nbgroups.core.settings import GpuSelection
from pytest_nbgroups.machine.gpu import GpuFindings

_OPTION = "--experiment-gpus"


def choose(found: GpuFindings, selection: GpuSelection) -> GpuFindings:
    """Apply the option. Raises SelectionError for what is not there: a run with less is not meant.

    Names are NVML indices, or beginnings of UUIDs that fit one GPU; an index of a GPU in MIG mode
    stands for all its parts.
    """
    if selection.names is not None:
        chosen = [gpu for name in selection.names for gpu in _named(name, found)]
        return replace(found, gpus=tuple(dict.fromkeys(chosen)))
    if selection.count is None:
        return found
    if selection.count == 0:
        return replace(found, gpus=(), reason=f"{_OPTION} none")
    if selection.count > len(found.gpus):
        raise SelectionError(f"{_OPTION} {selection.count}: {_there_is(found)}")
    roomiest = sorted(found.gpus, key=lambda gpu: -gpu.free_bytes)[: selection.count]
    return replace(found, gpus=tuple(gpu for gpu in found.gpus if gpu in roomiest))


def _named(name: str, found: GpuFindings) -> list[Gpu]:
    if name.isdecimal():
        fitting = [gpu for gpu in found.gpus if gpu.index == int(name)]
    else:
        fitting = [gpu for gpu in found.gpus if gpu.uuid.startswith(name)]
        if len(fitting) > 1:
            raise SelectionError(f"{_OPTION}: {name!r} fits several GPUs; give more of the UUID")
    if not fitting:
        raise SelectionError(f"{_OPTION}: there is no GPU {name!r}; {_there_is(found)}")
    return fitting


def _there_is(found: GpuFindings) -> str:
    if not found.gpus:
        return f"found none ({found.reason})"
    listed = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in found.gpus)
    return f"found {len(found.gpus)}: {listed}"
