"""GPUs that a CUDA program sees in this environment. Pure: GPUs in, GPUs out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_nbgroups.core.resources import Gpu

_INDEX = re.compile(r"\+?0*([0-9]+)")  # as strtoul reads: ``1gpu`` is 1
_UUID_KINDS = ("GPU-", "MIG-")
_SHOWN = 44  # characters: a whole UUID


@dataclass(frozen=True, kw_only=True)
class Visible:
    """The visible GPUs in the order in which CUDA numbers them."""

    gpus: tuple[Gpu, ...]
    remark: str = ""
    """What the variable leaves out against its author's likely wish, or why it leaves nothing."""


def cuda_visible(gpus: Sequence[Gpu], env: Mapping[str, str]) -> Visible:
    """Apply ``CUDA_VISIBLE_DEVICES`` as CUDA does; never raises.

    Entries are NVML indices, or beginnings of UUIDs that fit one device each. An entry that names
    no device, or is of another kind than the first, ends the list; a device named twice leaves
    none. A GPU in MIG mode stands for its first MIG device.

    https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
    For duplicates and mixed kinds: ``_parse_visible_devices`` in PyTorch's ``torch/cuda/__init__.py``.
    """
    text = env.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return Visible(gpus=tuple(gpus))
    entries = [entry.strip() for entry in text.strip().removesuffix(",").split(",")]
    chosen: list[Gpu] = []
    for entry in entries:
        gpu = _find(entry, gpus) if _kind(entry) == _kind(entries[0]) else None
        if gpu is None:
            return Visible(
                gpus=tuple(chosen), remark=_ended(text, entry) if chosen else _setting(text)
            )
        if gpu in chosen:
            return Visible(gpus=(), remark=f"{_setting(text)} names a GPU twice")
        # CUDA shows one process one MIG device only, but each of these is leased to its own process.
        chosen.append(gpu)
    return Visible(gpus=tuple(chosen))


def container_visible(gpus: Sequence[Gpu], env: Mapping[str, str]) -> Visible:
    """Leave out what ``NVIDIA_VISIBLE_DEVICES`` does not grant; never raises.

    A privileged container sees every GPU of its host but owns only these. Only a list of UUIDs, or
    of their beginnings, is certain: indices are the host's, and ``all``, ``none`` and ``void`` name
    for the container runtime what to mount.

    https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
    """
    text = env.get("NVIDIA_VISIBLE_DEVICES", "")
    granted = tuple(entry.strip() for entry in text.split(","))
    if not all(_kind(entry) in _UUID_KINDS for entry in granted):
        return Visible(gpus=tuple(gpus))
    owned = tuple(
        gpu
        for gpu in gpus
        if gpu.uuid.startswith(granted) or _physical_uuid(gpu).startswith(granted)
    )
    remark = "" if owned else "NVIDIA_VISIBLE_DEVICES grants none of the GPUs found"
    return Visible(gpus=owned, remark=remark)


def order_remark(gpus: Sequence[Gpu], env: Mapping[str, str]) -> str:
    """A warning if indices in ``CUDA_VISIBLE_DEVICES`` may not be NVML's; else empty.

    CUDA's default order is "fastest first", which is NVML's only if all GPUs are alike.
    """
    by_index = _INDEX.match(env.get("CUDA_VISIBLE_DEVICES", "").strip())
    alike = len({gpu.name for gpu in gpus if gpu.parent_uuid is None}) <= 1
    if not by_index or alike or env.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return ""
    return (
        "CUDA may number GPUs of different models in another order than CUDA_VISIBLE_DEVICES means; "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )


def _kind(entry: str) -> str:
    return entry[:4] if entry.startswith(_UUID_KINDS) else "index"


def _find(entry: str, gpus: Sequence[Gpu]) -> Gpu | None:
    match _kind(entry):
        case "GPU-":
            fitting = [gpu for gpu in gpus if _physical_uuid(gpu).startswith(entry)]
            unique = len({_physical_uuid(gpu) for gpu in fitting}) == 1
        case "MIG-":
            fitting = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
            unique = len(fitting) == 1
        case _:
            index = _INDEX.match(entry)
            fitting = [gpu for gpu in gpus if index and index[1] == str(gpu.index)]
            unique = bool(fitting)
    return fitting[0] if unique else None


def _physical_uuid(gpu: Gpu) -> str:
    return gpu.parent_uuid or gpu.uuid


def _ended(text: str, entry: str) -> str:
    """No note is needed if ``-1`` ends a list on purpose."""
    return "" if entry == "-1" else f"CUDA ignores {_setting(text)} from {entry[:_SHOWN]!r} on"


def _setting(text: str) -> str:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return f"CUDA_VISIBLE_DEVICES={shown!r}"
