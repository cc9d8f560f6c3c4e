"""What the plugin costs a pytest run that does not use it: ``python benchmarks/off_cost.py``.

Times the import of the entry point's module after ``import pytest``, in fresh interpreters, next to
the entry points of other notebook plugins if they are installed, in turn so that a machine that slows
down slows all of them. Prints medians, the ratio to ours, and the modules that each brings in.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys

OURS = "pytest_nbgroups.plugin"
RIVALS = ("nbmake.pytest_plugin", "nbval.plugin", "papermill")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    names = [OURS, *(r for r in RIVALS if importlib.util.find_spec(r.partition(".")[0]))]
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
    print(f"\n{OURS} brings in: {', '.join(modules[OURS])}")


if __name__ == "__main__":
    main()
