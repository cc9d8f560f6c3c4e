from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.machine.cgroup import (
    CgroupLevel,
    Controller,
    find_cgroup,
    parse_memberships,
    parse_mounts,
)
from pytest_nbgroups.machine.counts import parse_count

Paths: TypeAlias = dict[str, Any]
Machine: TypeAlias = Callable[..., Paths]


def names(paths: Paths, controller: Controller = "memory") -> list[str]:
    cgroup = find_cgroup(controller, **paths)
    return [level.name for level in cgroup.levels] if cgroup else []


def test_nested_version_2(machine: Machine) -> None:
    """Every level from the process's own cgroup to the mount point binds, its own first."""
    paths = machine("v2", "0::/user.slice/job/step\n")
    cgroup = find_cgroup("memory", **paths)
    assert cgroup is not None
    assert cgroup.version == 2
    assert names(paths) == ["/user.slice/job/step", "/user.slice/job", "/user.slice", "/"]
    mount = paths["root"] / "sys/fs/cgroup"
    assert cgroup.levels[0].directory == mount / "user.slice/job/step"
    assert cgroup.levels[-1].directory == mount


def test_private_namespace(machine: Machine) -> None:
    """In a private cgroup namespace the mount point is the process's own cgroup."""
    assert names(machine("v2", "0::/\n")) == ["/"]


def test_outside_of_namespace(machine: Machine) -> None:
    """A path that leads out of the namespace cannot be followed; the mount point still counts."""
    assert names(machine("v2", "0::/../../other\n")) == ["/"]


def test_docker_version_1(machine: Machine) -> None:
    """Docker shows the container's own cgroup at the mount point, under the host's path."""
    paths = machine("docker v1", "5:memory:/docker/ab12/sub\n4:cpu,cpuacct:/docker/ab12\n0::/x\n")
    assert names(paths) == ["/sub", "/"]
    cgroup = find_cgroup("cpu", **paths)
    assert cgroup is not None
    assert cgroup.version == 1
    assert cgroup.levels[0].directory == paths["root"] / "sys/fs/cgroup/cpu,cpuacct"


def test_docker_version_1_elsewhere(machine: Machine) -> None:
    """A process whose cgroup the mount does not show has the mount point alone."""
    assert names(machine("docker v1", "5:memory:/system.slice/ssh/session/1\n")) == ["/"]


def test_hybrid(machine: Machine) -> None:
    """Where both versions are mounted, a controller of version 1 stays with version 1."""
    paths = machine("hybrid", "4:memory:/job\n1:name=systemd:/job\n0::/other\n")
    memory, cpu = find_cgroup("memory", **paths), find_cgroup("cpu", **paths)
    assert memory is not None
    assert cpu is not None
    assert (memory.version, memory.levels[0].name) == (1, "/job")
    assert (cpu.version, cpu.levels[0].name) == (2, "/other")


def test_mount_that_shows_most(machine: Machine) -> None:
    """Of several mounts of one hierarchy the one that shows the process's own cgroup is taken."""
    paths = machine("v2", "0::/pod/container\n")
    mountinfo = paths["proc"] / "self/mountinfo"
    elsewhere = "30 23 0:28 /other /mnt/other rw - cgroup2 cgroup2 rw\n"
    mountinfo.write_text(elsewhere + mountinfo.read_text())
    assert names(paths) == ["/pod/container", "/pod", "/"]


def test_escapes_in_mount_points(machine: Machine) -> None:
    """The kernel's octal escapes for spaces and the like are undone."""
    paths = machine("v2", "0::/\n")
    line = r"31 23 0:28 / /mnt/my\040cgroups\134x rw - cgroup2 cgroup2 rw"
    (paths["proc"] / "self/mountinfo").write_text(line)
    cgroup = find_cgroup("cpu", **paths)
    assert cgroup is not None
    assert cgroup.levels[0].directory == paths["root"] / "mnt" / r"my cgroups\x"


def test_names_that_are_not_utf8(machine: Machine) -> None:
    """A cgroup's name may be any bytes: its files are found, and its name can be printed."""
    paths = machine("v2", "")
    (paths["proc"] / "self/cgroup").write_bytes(b"0::/\xff\n")
    cgroup = find_cgroup("memory", **paths)
    assert cgroup is not None
    assert cgroup.levels[0].name == r"/\xff"
    assert cgroup.levels[0].directory.name == "\udcff"


def test_colon_in_path() -> None:
    """Only the first two colons of a line separate."""
    assert parse_memberships("3:cpu,cpuacct:/a:b\n0::/c:d\n") == {
        "cpu": "/a:b",
        "cpuacct": "/a:b",
        "": "/c:d",
    }


@pytest.mark.parametrize("missing", ["cgroup", "mountinfo"])
def test_missing_files(machine: Machine, missing: str) -> None:
    """Without either file, as on macOS and Windows, there is no cgroup."""
    paths = machine("v2", "0::/\n")
    (paths["proc"] / "self" / missing).unlink()
    assert find_cgroup("memory", **paths) is None


def test_counts(tmp_path: Path) -> None:
    """A level's file holds a whole number, or nothing that limits."""
    level = CgroupLevel(name="/", directory=tmp_path)
    for text, count in [
        ("42\n", 42),
        ("max\n", None),
        ("-1\n", None),
        ("", None),
        ("\u0664", None),
    ]:
        (tmp_path / "limit").write_text(text, encoding="utf-8")
        assert level.count("limit") == count
    assert level.count("absent") is None


def test_endless_number() -> None:
    """Digits without end, which int() refuses, are no number."""
    assert parse_count("9" * 5000) is None


@given(st.binary())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    """Whatever the files hold, nothing is raised."""
    root = tmp_path_factory.mktemp("garbage")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_bytes(b"0::/" + garbage)
    lines = b"31 23 0:28 / /" + garbage + b" rw - cgroup2 cgroup2 rw\n" + garbage
    (root / "proc/self/mountinfo").write_bytes(lines)
    cgroup = find_cgroup("memory", proc=root / "proc", root=root)
    for level in cgroup.levels if cgroup else ():
        level.name.encode()
        level.count("memory.max")


@given(st.text())
def test_any_text(text: str) -> None:
    """Lines of another form are passed over."""
    parse_memberships(text)
    list(parse_mounts(text))
