"""Workers and budget inside a real cgroup, without privileges: ``python benchmarks/cgroup.py``.

Boots Debian's `user-mode-linux`, a kernel that runs as an ordinary process over this file system, and in
it runs pytest in a cgroup of version 2 with ``memory.max`` of 400 MiB and half a CPU. Prints the header of
the run beside what programs that know nothing of cgroups take the machine for. Needs ``linux.uml`` in PATH,
or its path as the argument.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from uml import kernel_argument, run_in_box

WORK = f"""
{sys.executable} -c "import os, psutil; print('os.cpu_count', os.cpu_count(), 'cpus'); \\
print('psutil.virtual_memory', psutil.virtual_memory().total // 2**20, 'MiB')"
{sys.executable} -m pytest --run-experiments -n auto -p no:cacheprovider -p no:rerunfailures
"""
TOML = """[resources]
cpus = 0.1
ram = "100MB"
[run]
requires = ["env:NOT_SET"]
"""
NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
EXPERIMENTS = 6
LIMITS = {"memory.max": "400M", "cpu.max": "50000 100000"}


def write_tree(folder: Path) -> None:
    """Experiments that count when it is asked how many fit, and are skipped without a kernel."""
    for number in range(EXPERIMENTS):
        directory = folder / "experiments" / f"E{number}"
        directory.mkdir(parents=True)
        (directory / "1-a.ipynb").write_text(NOTEBOOK)
        (directory / "experiment.toml").write_text(TOML)
    (folder / "pytest.ini").write_text("[pytest]\n")


def main() -> None:
    kernel = kernel_argument(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        write_tree(folder)
        print(run_in_box(kernel, folder, WORK, limits=LIMITS, memory="1024M", timeout_s=300))


if __name__ == "__main__":
    main()
