"""A kernel to start, and the way to start it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups.core.settings import OUTPUT_LIMIT, SHUTDOWN_GRACE_S, Transport
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.kernels.kernelspecs import find_kernel_spec

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec

_NOTHING = Holding()


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A kernel to start, and the way to start it."""

    name: str
    """As `canonical_name` spells it."""
    cwd: Path
    env: Mapping[str, str]
    """The whole environment; variables of the kernelspec stand above it, and those of ``holding`` above all."""
    log_path: Path | None
    """File to which its raw output is appended."""
    transport: Transport = "auto"
    startup_timeout_s: float = 60.0
    """Time for its first answer."""
    ends_at: float | None = None
    """Deadline on `time.monotonic` for its start, the imports of ``preload`` and its exit handlers."""
    holding: Holding = _NOTHING
    output_limit: Size = OUTPUT_LIMIT
    """Outputs of its cells that are kept."""
    shutdown_grace_s: float = SHUTDOWN_GRACE_S
    """Time for its exit handlers once it has been asked to end."""
    preload: tuple[str, ...] | None = None
    """If it is not None, fork the kernel if possible, from a process that has imported these modules."""

    @cached_property
    def spec(self) -> KernelSpec:
        """Raises KernelStartError."""
        return find_kernel_spec(self.name)

    def left_s(self) -> float | None:
        """Seconds until it has to end; None if it has no deadline."""
        return None if self.ends_at is None else max(0.0, self.ends_at - time.monotonic())

    def patience_s(self) -> float:
        """Seconds to wait for its first answer."""
        left_s = self.left_s()
        return self.startup_timeout_s if left_s is None else min(left_s, self.startup_timeout_s)
