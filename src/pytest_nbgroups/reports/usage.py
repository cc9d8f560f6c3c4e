"""A run's peak of memory and its GPUs, as a table shows them."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_nbgroups.core.resources import Gpu, Lease, Usage
from pytest_nbgroups.core.units import format_size

_UUID_SHOWN = len("GPU-1a2b3c4d")


def peak_text(usage: Usage | None) -> str:
    """Render ``1.2 GiB``, ``<= 1.2 GiB`` if the true peak may be lower; nothing if it was not measured."""
    if usage is None or usage.peak_bytes == 0:
        return ""
    return f"{'<= ' if usage.is_upper_bound else ''}{format_size(usage.peak_bytes)}"


def gpus_text(lease: Lease | None, gpus: Sequence[Gpu]) -> str:
    """Render ``0,1``: the leased GPUs by index, or by the start of the UUID if ``gpus`` lacks it."""
    if lease is None:
        return ""
    # Without MIG devices, whose index is that of the whole GPU.
    indices = {gpu.uuid: gpu.index for gpu in gpus if gpu.parent_uuid is None}
    known = sorted(indices[uuid] for uuid in lease.gpus if uuid in indices)
    others = [uuid[:_UUID_SHOWN] for uuid in lease.gpus if uuid not in indices]
    return ",".join([*map(str, known), *others])
