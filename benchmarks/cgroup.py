"""Workers and budget inside a real cgroup, without privileges: ``python benchmarks/cgroup.py``.

Boots Debian's `user-mode-linux`, a kernel that runs as an ordinary process over this file system, and in
it runs pytest in a cgroup of version 2 with ``memory.max`` of 400 MiB and half a CPU. Prints the header of
the run beside what programs that know nothing of cgroups take the machine for. Needs ``linux.uml`` in PATH,
or its path as the argument.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INIT = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm 2>/dev/null
export TMPDIR=/run NBGROUPS_POOL=/run/pool PYTHONDONTWRITEBYTECODE=1
mount -t cgroup2 none /sys/fs/cgroup
echo "+memory +cpu" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/box
echo 400M >/sys/fs/cgroup/box/memory.max
echo "50000 100000" >/sys/fs/cgroup/box/cpu.max
echo $$ >/sys/fs/cgroup/box/cgroup.procs
cp -r {tree} /run/tree; cd /run/tree
{python} -c "import os, psutil; print('os.cpu_count', os.cpu_count(), 'cpus'); \\
print('psutil.virtual_memory', psutil.virtual_memory().total // 2**20, 'MiB')"
{python} -m pytest --run-experiments -n auto -p no:cacheprovider
poweroff -f
"""
TOML = """[resources]
cpus = 0.1
ram = "100MB"
[run]
requires = ["env:NOT_SET"]
"""
NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
EXPERIMENTS = 6


def write_tree(folder: Path) -> None:
    """Experiments that count when it is asked how many fit, and are skipped without a kernel."""
    for number in range(EXPERIMENTS):
        directory = folder / "experiments" / f"E{number}"
        directory.mkdir(parents=True)
        (directory / "1-a.ipynb").write_text(NOTEBOOK)
        (directory / "experiment.toml").write_text(TOML)
    (folder / "pytest.ini").write_text("[pytest]\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kernel", nargs="?", default=shutil.which("linux.uml"))
    kernel = parser.parse_args().kernel
    if not kernel:
        sys.exit("there is no linux.uml in PATH: install Debian's user-mode-linux")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        write_tree(folder / "tree")
        init = folder / "init.sh"
        init.write_text(INIT.format(tree=folder / "tree", python=sys.executable))
        init.chmod(0o755)
        devices = ["con=null", "con0=null,fd:1", "con1=null,fd:1", "quiet"]
        machine = ["mem=1024M", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", *devices]
        subprocess.run(
            [kernel, *machine],
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": "/dev/shm"},  # noqa: S108  as above
        )


if __name__ == "__main__":
    main()
