"""A program for the kernel host to start: a kernel, or the server that kernels are forked from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command, and all that its process gets."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    descriptors: Sequence[int] = ()
    """Open in the kernel host, and inherited."""
