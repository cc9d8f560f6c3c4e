"""Machines on paper for several tests. Imported by name: this folder is on pytest's path."""

from __future__ import annotations

from pytest_nbgroups.core.resources import Budget, Gpu, Need, RamSource

GB = 10**9


def budget(cpus: float = 4, ram: int = 16 * GB, gpus: tuple[int, ...] = ()) -> Budget:
    """A machine; its GPUs are given by their memory in GB."""
    return Budget(
        cpus=cpus,
        cpus_source="test",
        ram_bytes=ram,
        ram_capacity_bytes=2 * ram,
        ram_source="test",
        gpus=tuple(
            Gpu(uuid=f"GPU-{i}", index=i, name="T", total_bytes=size * GB, free_bytes=0)
            for i, size in enumerate(gpus)
        ),
    )


def need(  # noqa: PLR0913  what Need has
    cpus: float = 1,
    ram: float = 2,
    gpus: int = 0,
    *,
    share: float | None = None,
    least: float = 0,
    locks: tuple[str, ...] = (),
    exclusive: bool = False,
    source: RamSource = "declared",
) -> Need:
    """What an experiment asks for; memory in GB."""
    return Need(
        cpus=cpus,
        ram_bytes=int(ram * GB),
        ram_source=source,
        gpus=1 if share else gpus,
        gpu_min_bytes=int(least * GB),
        gpu_share_bytes=None if share is None else int(share * GB),
        locks=locks,
        exclusive=exclusive,
    )
