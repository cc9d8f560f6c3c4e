"""The GPUs of this machine that a session may use, through NVIDIA's management library (NVML)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from pytest_nbgroups.core.resources import Gpu
from pytest_nbgroups.machine.visibility import container_visible, cuda_visible, order_remark

Handle: TypeAlias = Any  # what NVML calls a device; pynvml has no annotations


@dataclass(frozen=True, kw_only=True)
class GpuFindings:
    """The usable GPUs and the notes about the others."""

    gpus: tuple[Gpu, ...] = ()
    reason: str = ""
    """Why there are none; empty if there are some."""
    notes: tuple[str, ...] = ()


def find_gpus(env: Mapping[str, str]) -> GpuFindings:
    """Every GPU that this process may use, in CUDA's order; a GPU in MIG mode as its MIG devices.

    Never raises for what NVML answers: without a library or driver there are none, and a GPU that
    fails is left out with a note. Can take a second if the driver is not in persistence mode.
    """
    try:
        import pynvml
    except ImportError:
        return GpuFindings(reason="nvidia-ml-py is not installed")
    try:
        with _nvml(pynvml):
            devices, notes = read_devices(pynvml)
    except pynvml.NVMLError as error:
        return GpuFindings(reason=_reason(pynvml, error))
    return select(devices, notes, env)


def select(devices: tuple[Gpu, ...], notes: tuple[str, ...], env: Mapping[str, str]) -> GpuFindings:
    """Of all devices, those that the environment shows and that are usable."""
    if not devices:
        return GpuFindings(
            reason="no NVIDIA GPU is usable" if notes else "no NVIDIA GPU", notes=notes
        )
    cuda = cuda_visible(devices, env)
    owned = container_visible(cuda.gpus, env)
    usable = tuple(gpu for gpu in owned.gpus if gpu.usable)
    notes += tuple(
        f"GPU {gpu.index} is left out: its compute mode is prohibited"
        for gpu in owned.gpus
        if not gpu.usable
    )
    notes += tuple(filter(None, [order_remark(devices, env)]))
    if usable:
        return GpuFindings(gpus=usable, notes=notes + tuple(filter(None, [cuda.remark])))
    remark = owned.remark if cuda.gpus else cuda.remark
    return GpuFindings(reason=remark or "no NVIDIA GPU is usable", notes=notes)


@contextmanager
def _nvml(nvml: ModuleType) -> Iterator[None]:
    """Hold NVML open. Raises NVMLError if there is no library or no driver."""
    nvml.nvmlInit()
    try:
        yield
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _reason(nvml: ModuleType, error: Exception) -> str:
    match getattr(error, "value", None):
        case nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return "no NVIDIA driver"
        case nvml.NVML_ERROR_DRIVER_NOT_LOADED:
            return "the NVIDIA driver is not loaded"
        case nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            return "NVML: driver and NVML library differ in version; restart after a driver update"
        case _:
            return f"NVML: {error}"


def read_devices(nvml: ModuleType) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Every device, and a note on each that fails: one lost GPU must not hide the others."""
    devices: list[Gpu] = []
    notes: list[str] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            found = _read_gpu(nvml, index)
        except (nvml.NVMLError, UnicodeError) as error:
            notes.append(f"GPU {index} is left out: {error}")
            continue
        devices += found
        if not found:
            notes.append(f"GPU {index} is left out: in MIG mode without a MIG device")
    return tuple(devices), tuple(notes)


def _read_gpu(nvml: ModuleType, index: int) -> list[Gpu]:
    """A GPU as itself, or as its MIG devices."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    parts = mig_handles(nvml, handle)
    if parts is None:
        return [_describe(nvml, handle, index=index, parent=None)]
    return [_describe(nvml, part, index=index, parent=handle) for part in parts]


def mig_handles(nvml: ModuleType, handle: Handle) -> list[Handle] | None:
    """The MIG devices of a GPU in MIG mode, which runs nothing itself; None for any other GPU."""
    mig_mode, _ = ask(nvml, (0, 0), nvml.nvmlDeviceGetMigMode, handle)
    if mig_mode != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    slots = range(ask(nvml, 0, nvml.nvmlDeviceGetMaxMigDeviceCount, handle))
    parts = [ask(nvml, None, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, n) for n in slots]
    return [part for part in parts if part is not None]


def _describe(nvml: ModuleType, handle: Handle, *, index: int, parent: Handle | None) -> Gpu:
    """Raises NVMLError for a device that does not report its UUID or its memory."""
    total, free, unified = _memory(nvml, handle)
    rates = ask(nvml, None, nvml.nvmlDeviceGetUtilizationRates, handle)
    # The compute mode of a MIG device is that of its GPU.
    mode = ask(nvml, None, nvml.nvmlDeviceGetComputeMode, handle if parent is None else parent)
    return Gpu(
        uuid=nvml.nvmlDeviceGetUUID(handle),
        index=index,
        name=ask(nvml, "NVIDIA GPU", nvml.nvmlDeviceGetName, handle),
        total_bytes=total,
        free_bytes=free,
        utilization=rates.gpu / 100 if rates else 0.0,
        unified=unified,
        usable=mode != nvml.NVML_COMPUTEMODE_PROHIBITED,
        parent_uuid=None if parent is None else nvml.nvmlDeviceGetUUID(parent),
    )


def _memory(nvml: ModuleType, handle: Handle) -> tuple[int, int, bool]:
    """Total and free bytes, and whether they are the host's: GB10, Jetson and others share it."""
    try:
        info = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        info = None
    if info and info.total:
        return info.total, info.free, False
    import psutil

    host = psutil.virtual_memory()
    return host.total, host.available, True


def ask(nvml: ModuleType, default: Any, question: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    """An answer that one can do without. UnicodeError: some drivers garble names."""
    try:
        return question(*args)
    except (nvml.NVMLError, UnicodeError):
        return default
