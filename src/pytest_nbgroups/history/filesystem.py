"""The filesystem of a path. SQLite's WAL needs memory that all its users share."""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
}  # fmt: skip
_OCTAL = re.compile(r"\\([0-7]{3})")
_MOUNT_POINT = 4


def network_filesystem(path: Path, mountinfo: str) -> str:
    """Return the network filesystem type of ``path``, absolute and resolved; empty if it is local.

    ``mountinfo`` is the text of /proc/self/mountinfo, see proc_pid_mountinfo(5); empty if there is
    no file. FUSE counts as a network filesystem: most are remote, and a rollback journal is as safe
    for the others.
    """
    found, longest = "", -1
    for line in mountinfo.splitlines():
        mount, dash, filesystem = line.partition(" - ")
        fields = mount.split(" ")
        if not dash or len(fields) <= _MOUNT_POINT:
            continue
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[_MOUNT_POINT]))
        depth = len(point.parts)
        # The later of two mounts at the same path hides the earlier one.
        if path.is_relative_to(point) and depth >= longest:
            found, longest = filesystem.split(" ")[0], depth
    return found if found in _NETWORK or found.startswith("fuse.") else ""
