"""Lookup of this process's cgroup, in version 1, in version 2, and if both are mounted.

The formats: cgroups(7), proc_pid_mountinfo(5), https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pytest_nbgroups.machine.counts import parse_count

Controller: TypeAlias = Literal["cpu", "memory"]

_UNIFIED = ""  # /proc/<pid>/cgroup names no controllers in the line of version 2
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True)
class CgroupLevel:
    """One directory on the way from a process's own cgroup up to the mount point."""

    name: str
    """The path below the mount point, for people; ``/`` is the mount point."""
    directory: Path

    @property
    def domain(self) -> str:
        """The same text for every process that this level limits, in whatever container it is."""
        try:
            # Device and inode: a container sees the same cgroup under another path.
            found = self.directory.stat()
        except OSError:
            return f"cgroup {self.name}"
        return f"cgroup {found.st_dev}:{found.st_ino}"

    def count(self, file: str) -> int | None:
        """The whole number in one of its files; ``None`` if there is none."""
        return parse_count(read_text(self.directory / file))

    def entry(self, file: str, name: str) -> int | None:
        """The whole number behind a name in one of its files; ``None`` if there is none."""
        return entry(read_text(self.directory / file), name)


@dataclass(frozen=True, kw_only=True)
class Cgroup:
    """The directories whose limits bind a process: its own first, the mount point last."""

    version: Literal[1, 2]
    levels: tuple[CgroupLevel, ...]


@dataclass(frozen=True, kw_only=True)
class CgroupMount:
    """A mounted cgroup hierarchy."""

    keys: frozenset[str]
    """Its controllers; for version 2 the empty string alone."""
    origin: str
    """The cgroup that is seen at the mount point: ``/``, or a container's own."""
    point: str


def find_cgroup(
    controller: Controller, *, proc: Path = Path("/proc"), root: Path = Path("/")
) -> Cgroup | None:
    """Find the cgroup that limits ``controller`` for this process.

    On a hybrid host, on which version 2 is mounted without controllers, it is that of version 1.
    ``None`` if there is no cgroup (macOS, Windows) or nothing readable describes it; never raises.
    ``root`` stands before each mount point.
    """
    memberships = parse_memberships(read_text(proc / "self/cgroup"))
    mounts = tuple(parse_mounts(read_text(proc / "self/mountinfo")))
    # Version 1 first: a controller that it has mounted is not available in version 2.
    versions: tuple[tuple[Literal[1, 2], str], ...] = ((1, controller), (2, _UNIFIED))
    for version, key in versions:
        chains = [_levels(m, memberships.get(key, ""), root) for m in mounts if key in m.keys]
        if chains and key in memberships:
            # A cgroup may be mounted in several places; not all of them show the process's own.
            return Cgroup(version=version, levels=max(chains, key=len))
    return None


def parse_memberships(text: str) -> Mapping[str, str]:
    """Read ``/proc/<pid>/cgroup``: controller -> path, the empty string standing for version 2."""
    paths = {}
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and (controllers or hierarchy == "0"):
            paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def parse_mounts(text: str) -> Iterator[CgroupMount]:
    """Read the cgroup hierarchies from ``/proc/<pid>/mountinfo``; other lines are passed over."""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        mount, filesystem = left.split(" "), right.split(" ")
        if len(mount) < 6 or len(filesystem) < 3:  # noqa: PLR2004  the fields that are always there
            continue
        keys = _keys(filesystem[0], filesystem[2])
        if keys:
            yield CgroupMount(keys=keys, origin=_unescape(mount[3]), point=_unescape(mount[4]))


def read_text(path: Path) -> str:
    """The stripped text of a small file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return ""


def entry(text: str, name: str) -> int | None:
    """The whole number behind a name, in a text of one name and one number a line."""
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        if key == name:
            return parse_count("".join(rest.split()[:1]))  # /proc/meminfo has a unit behind it
    return None


def _keys(filesystem: str, options: str) -> frozenset[str]:
    match filesystem:
        case "cgroup":
            return frozenset(options.split(","))
        case "cgroup2":
            return frozenset({_UNIFIED})
        case _:
            return frozenset()


def _unescape(text: str) -> str:
    """Undo the kernel's octal escapes for space, tab, newline and backslash."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _levels(mount: CgroupMount, path: str, root: Path) -> tuple[CgroupLevel, ...]:
    parts = _parts_below(_parts(mount.origin), _parts(path))
    point = root.joinpath(*_parts(mount.point))
    return tuple(
        CgroupLevel(
            name=_printable("/" + "/".join(parts[:depth])),
            directory=point.joinpath(*parts[:depth]),
        )
        for depth in range(len(parts), -1, -1)
    )


def _printable(text: str) -> str:
    """Text that a terminal takes, from a path that may not be UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _parts_below(origin: tuple[str, ...], path: tuple[str, ...]) -> tuple[str, ...]:
    """The part of a path that is visible below a mount point.

    A container that shares the host's namespace sees its own cgroup at the mount point under the
    host's path. ``..`` leads out of a private namespace: the mount point is all that can be seen.
    """
    if ".." in (*origin, *path) or path[: len(origin)] != origin:
        return ()
    return path[len(origin) :]
