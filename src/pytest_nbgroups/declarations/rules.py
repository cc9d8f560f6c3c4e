"""The rules that keys of ``[resources]`` must keep together. Each key has its own in `KEYS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.resources import Resources


def contradictions(table: Mapping[str, Any]) -> Iterator[str]:
    """Name the keys of one table that exclude each other."""
    if "gpu_memory" not in table:
        return
    if table.get("gpus", 1) != 1:
        yield (
            f"gpus = {table['gpus']} with gpu_memory: gpu_memory is a share of one GPU; "
            "remove gpus, or declare whole GPUs with gpu_min_memory"
        )
    if "gpu_min_memory" in table:
        yield (
            "gpu_memory with gpu_min_memory: the first is a share of one GPU, the second "
            "asks for whole ones; keep one of them"
        )


def check_resources(resources: Resources, source_of: Callable[[str], str]) -> None:
    """Check what is declared in all places together. Raises DeclarationError.

    ``source_of`` names the place where a key is declared.
    """
    if resources.ram_limit and resources.ram is None:
        raise DeclarationError(
            f"{source_of('ram_limit')}: [resources] ram_limit = true: there is no ram to limit it to; "
            'declare the most that it may take, such as ram = "4GB", or remove ram_limit'
        )
