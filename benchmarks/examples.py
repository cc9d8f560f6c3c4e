"""The examples alone and in parallel: ``python benchmarks/examples.py``.

Copies `examples/` twice, runs it with ``-n0`` and with ``-n 4``, compares every file that the notebooks
wrote byte for byte, and prints both times and their ratio. Needs the dependency group ``examples``.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
RUNS = {"-n0": "0", "-n 4": "4"}


def run(folder: Path, workers: str) -> tuple[float, str]:
    """Run the examples in ``folder``; give the seconds and pytest's closing line."""
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("output", ".experiments"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--run-experiments"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "-n", workers], cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return seconds, done.stdout.splitlines()[-1].strip("= ")


def written(folder: Path) -> Iterator[Path]:
    """Paths, relative to the experiments, of the files that are not in the repository."""
    for path in sorted((folder / "experiments").rglob("output/**/*")):
        if path.is_file():
            yield path.relative_to(folder)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = {label: Path(scratch) / label.replace(" ", "") for label in RUNS}
        times = {}
        for label, workers in RUNS.items():
            times[label], closing = run(folders[label], workers)
            print(f"{label:<6}{times[label]:>7.1f} s   {closing}")
        one, other = folders.values()
        names = list(written(one))
        different = [n for n in names if not filecmp.cmp(one / n, other / n, shallow=False)]
        alone = set(names) ^ set(written(other))
    print(f"ratio {times['-n 4'] / times['-n0']:.2f}")
    print(f"{len(names)} files written; {len(different)} differ, {len(alone)} in one run only")
    for name in [*different, *sorted(alone)]:
        print(f"  {name}")
    sys.exit(bool(different or alone or not names))


if __name__ == "__main__":
    main()
