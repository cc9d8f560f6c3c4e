"""What the plugin costs a pytest run that does not use it: ``python benchmarks/off_cost.py``.

Once by the import of the entry point's module after ``import pytest``, in fresh interpreters, and once
by whole runs of pytest on one test, with the plugin and without any, next to other notebook plugins if
they are installed. All take turns, so that a machine that slows down slows all of them. Prints medians
in milliseconds, the ratio to ours, and the modules that each brings in; of whole runs the median of
what each took longer than the run without a plugin before it, in CPU time, which others on the machine
hardly change.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = "pytest_nbgroups.plugin"
PLUGINS = ("nbmake.pytest_plugin", "nbval.plugin")
RIVALS = (*PLUGINS, "papermill")
HEAVY = ("nbclient", "nbformat", "jupyter_client", "zmq", "psutil", "pynvml", "sqlite3")

PROBE = """
import json, sys, time
import pytest
before = set(sys.modules)
start = time.perf_counter()
__import__(sys.argv[1])
took = time.perf_counter() - start
print(json.dumps([took * 1000, sorted(set(sys.modules) - before)]))
"""


def probe(module: str) -> tuple[float, list[str]]:
    """Milliseconds of one import in a fresh interpreter, and the modules that it brought in."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, module], capture_output=True, text=True, check=True
    )
    milliseconds, modules = json.loads(done.stdout)
    return milliseconds, modules


def whole_run(folder: Path, *arguments: str) -> float:
    """Milliseconds of CPU time of a run of pytest on one test."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def show_imports(names: list[str], runs: int) -> None:
    for name in names:
        probe(name)  # compiles what is not yet compiled
    times: dict[str, list[float]] = {name: [] for name in names}
    modules: dict[str, list[str]] = {}
    for _ in range(runs):
        for name in names:
            milliseconds, modules[name] = probe(name)
            times[name].append(milliseconds)
    ours = statistics.median(times[OURS])
    print(
        f"{'import after pytest':<24}{'median':>10}{'min':>10}{'ratio':>8}{'modules':>9}  heavy ones"
    )
    for name in names:
        median = statistics.median(times[name])
        heavy = [h for h in HEAVY if h in modules[name]]
        print(
            f"{name:<24}{median:>7.2f} ms{min(times[name]):>7.2f} ms{median / ours:>8.1f}"
            f"{len(modules[name]):>9}  {', '.join(heavy) or 'none'}"
        )
    print(f"\n{OURS} brings in: {', '.join(modules[OURS])}\n")


def show_whole_runs(names: list[str], runs: int) -> None:
    differences: dict[str, list[float]] = {name: [] for name in names}
    without: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
        for number in range(-1, runs):  # the first compiles what is not yet compiled
            for plugin in names:
                alone = whole_run(folder)
                longer = whole_run(folder, "-p", plugin) - alone
                if number >= 0:
                    without.append(alone)
                    differences[plugin].append(longer)
    alone = statistics.median(without)
    ours = statistics.median(differences[OURS])
    print(
        f"{'a whole run with':<24}{'CPU time':>12}{'quartiles':>18}{'ratio':>8}{'of the run':>12}"
    )
    for plugin in names:
        low, median, high = statistics.quantiles(differences[plugin], n=4)
        print(
            f"{plugin:<24}{median:>9.2f} ms{f'{low:.1f} to {high:.1f}':>18}"
            f"{median / ours:>8.1f}{median / alone:>12.1%}"
        )
    print(f"\nwithout any: {alone:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    names = [OURS, *(r for r in RIVALS if importlib.util.find_spec(r.partition(".")[0]))]
    show_imports(names, runs)
    show_whole_runs([name for name in names if name in {OURS, *PLUGINS}], runs)


if __name__ == "__main__":
    main()
