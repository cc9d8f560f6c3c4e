"""What a cell that floods its output costs: ``python benchmarks/flood.py``.

Runs pytest on one experiment for each kind of flood, with a limit of 3 s on the cell, and on cells that end by
themselves. Prints the seconds until pytest has ended, its peak memory (that of the process that runs nbclient;
Linux only) and what lies on the disk afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import nbformat  # noqa: TID253  to write notebooks
import psutil  # noqa: TID253  to look at processes
from nbformat.v4 import new_code_cell, new_notebook  # noqa: TID253

from pytest_nbgroups.core.units import format_size

LOOK_S = 0.02
DISPLAY = "from IPython.display import display, clear_output\n"
FLOODS = {
    "print": "while True: print('x' * 1000)",
    "os.write": "import os\nwhile True: os.write(1, b'x' * 1000 + b'\\n')",
    "display": DISPLAY + "while True: display(1)",
    "update": DISPLAY + "handle = display(0, display_id=True)\nwhile True: handle.update(1)",
    "clear": DISPLAY + "while True:\n    clear_output(wait=True)\n    display('x' * 1000)",
    "comm": "from comm import create_comm\ncomm = create_comm(target_name='t')\n"
    "while True: comm.send({'x': 'x' * 1000})",
    "comms": "from comm import create_comm\n"
    "while True: create_comm(target_name='t', data={'state': {'_model_name': 'x' * 1000}})",
    "stubborn": "while True:\n    try:\n        print('x' * 1000)\n    except BaseException: pass",
}
ENDING = {
    "10,000 outputs": DISPLAY + "for i in range(10000): display(i)",
    "200 MB at once": "print('x' * 200_000_000)",
    "200 MB of lines": "for i in range(200_000): print('x' * 999)",
}


def run(source: str, limit_s: float | None) -> tuple[int, float, int, int]:
    """Exit code, seconds, peak bytes of pytest, bytes on disk."""
    with tempfile.TemporaryDirectory(prefix="flood-") as name:
        root = Path(name)
        directory = root / "experiments" / "Flood"
        directory.mkdir(parents=True)
        notebook = new_notebook(cells=[new_code_cell(source)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": ""}
        (directory / "1-flood.ipynb").write_text(nbformat.writes(notebook), "utf-8")
        (root / "pytest.ini").write_text("[pytest]\n", "utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--run-experiments",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        limit = [f"--experiment-cell-timeout={limit_s:g}s"] if limit_s else []
        begun = time.monotonic()
        with subprocess.Popen([*command, *limit], cwd=root, stdout=subprocess.DEVNULL) as process:
            peak_bytes = 0
            while process.poll() is None:
                peak_bytes = max(peak_bytes, peak_rss_bytes(process.pid))
                time.sleep(LOOK_S)
        took_s = time.monotonic() - begun
        size = sum(p.stat().st_size for p in (root / ".experiments").rglob("*") if p.is_file())
    return process.returncode, took_s, peak_bytes, size


def peak_rss_bytes(pid: int) -> int:
    if sys.platform != "linux":
        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=3.0, help="seconds that a flooding cell has")
    parser.add_argument("names", nargs="*", help="which of them; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {*FLOODS, *ENDING}:
        parser.error(f"no such cell: {', '.join(sorted(unknown))}")
    print(f"{'cell':<18}{'exit':>5}{'seconds':>9}{'peak of pytest':>16}{'on disk':>12}")
    for name, source in {**FLOODS, **ENDING}.items():
        if arguments.names and name not in arguments.names:
            continue
        limit_s = arguments.limit if name in FLOODS else None
        code, took_s, peak, size = run(source, limit_s)
        print(
            f"{name:<18}{code:>5}{took_s:>9.1f}{format_size(peak):>16}{format_size(size):>12}",
            flush=True,
        )


if __name__ == "__main__":
    main()
