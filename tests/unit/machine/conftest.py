"""Machines made of files, and GPUs made of a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

# (origin of the mount, mount point, file system, options), as in /proc/self/mountinfo
_MOUNTS = {
    "v1": [
        ("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
        ("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
    ],
    "docker v1": [
        ("/docker/ab12", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
        ("/docker/ab12", "/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
    ],
    "v2": [("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate")],
    "hybrid": [
        ("/", "/sys/fs/cgroup/unified", "cgroup2", "rw"),
        ("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
        ("/", "/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd"),
    ],
}

Paths: TypeAlias = dict[str, Path]


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Paths]:
    """Write a machine's files: its kind of cgroup mounts, ``/proc/self/cgroup``, limits by path.

    Returns the keyword arguments that lead there.
    """

    def write(kind: str, cgroup: str, files: Mapping[str, object] | None = None) -> Paths:
        contents = {
            "proc/self/cgroup": cgroup,
            "proc/self/mountinfo": "".join(
                f"31 23 0:28 {origin} {point} rw,nosuid shared:9 - {filesystem} {filesystem} {options}\n"
                for origin, point, filesystem, options in _MOUNTS[kind]
            ),
            **{f"sys/fs/cgroup/{path}": f"{value}\n" for path, value in (files or {}).items()},
        }
        for path, text in contents.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return {"proc": tmp_path / "proc", "root": tmp_path}

    return write
