from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nbgroups.history.filesystem import network_filesystem

MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:41 / /home rw,relatime shared:7 master:2 - nfs4 server:/home rw,vers=4.2
31 30 0:42 / /home/ann/local rw - xfs /dev/sdb rw
32 27 0:43 / /with\040space rw - cifs //server/share rw
33 27 0:44 / /remote rw - fuse.sshfs ann@server: rw
34 27 0:45 / /windows rw - fuseblk /dev/sdc rw
35 27 0:46 / /twice rw - nfs server:/twice rw
36 35 0:47 / /twice rw - tmpfs tmpfs rw
a line that is none
37 27 0:48 / /cut
"""


@pytest.mark.parametrize(
    ("path", "filesystem"),
    [
        ("/work/project", ""),
        ("/home/ann/project", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/ann", ""),
        ("/home/ann/local/project", ""),
        ("/with space/project", "cifs"),
        ("/remote/project", "fuse.sshfs"),
        ("/windows/project", ""),
        ("/twice/project", ""),
        ("/cut/project", ""),
    ],
)
def test_the_innermost_mount_counts(path: str, filesystem: str) -> None:
    """And of two in one place the later."""
    assert network_filesystem(Path(path), MOUNTINFO) == filesystem


@pytest.mark.parametrize(
    "filesystem",
    ["9p", "afs", "beegfs", "ceph", "cifs", "fuse.rclone", "gpfs", "lustre", "nfs", "nfs4", "smb3"],
)
def test_network_filesystems(filesystem: str) -> None:
    """Those that people have their projects on."""
    text = f"22 1 0:21 / / rw - {filesystem} server:/ rw"
    assert network_filesystem(Path("/project"), text) == filesystem


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "apfs"])
def test_local_filesystems(filesystem: str) -> None:
    """WAL works there."""
    assert not network_filesystem(Path("/project"), f"22 1 0:21 / / rw - {filesystem} disk rw")


def test_where_nothing_tells() -> None:
    """As on macOS and Windows, a filesystem is taken for local."""
    assert not network_filesystem(Path("/project"), "")
