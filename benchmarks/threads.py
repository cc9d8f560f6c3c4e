"""What too many threads cost: ``python benchmarks/threads.py``.

Runs as many jobs at once as there are CPUs, up to four, each a process that decomposes small matrices with
NumPy: first with the threads that NumPy chooses, then with the variables that a kernel gets. Prints the
seconds of both and their ratio. Needs NumPy.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from pytest_nbgroups.machine.affinity import available_cpus
from pytest_nbgroups.scheduling.threads import THREAD_VARIABLES, thread_count, thread_variables

MOST_JOBS = 4
TIMEOUT_S = 60

JOB = """
import sys
import numpy as np
size, rounds = map(int, sys.argv[1:])
matrix = np.random.default_rng(0).random((size, size))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    np.linalg.svd(matrix)
"""


def run(jobs: int, size: int, rounds: int, env: dict[str, str]) -> float | None:
    """Seconds until the last job has ended, imports not counted; None where that takes too long."""
    command = [sys.executable, "-c", JOB, str(size), str(rounds)]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) for _ in range(jobs)
    ]
    try:
        for job in started:
            if job.stdout is None or job.stdout.readline() != "ready\n":
                sys.exit("a job did not start; is NumPy installed?")
        start = time.perf_counter()
        for job in started:
            if job.stdin is not None:
                job.stdin.close()
        for job in started:
            job.wait(max(0.0, start + TIMEOUT_S - time.perf_counter()))
        return time.perf_counter() - start
    except subprocess.TimeoutExpired:
        return None
    finally:
        for job in started:
            job.kill()
            job.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=80, help="rows and columns of the matrices")
    parser.add_argument("--rounds", type=int, default=300, help="decompositions in each job")
    arguments = parser.parse_args()
    cpus = len(available_cpus()) or os.cpu_count() or 1
    jobs = min(MOST_JOBS, max(2, cpus))
    names = {variable.name for variable in THREAD_VARIABLES}
    free = {name: value for name, value in os.environ.items() if name not in names}
    threads = thread_count(None, budget_cpus=cpus, parallel=jobs)
    capped = {**free, **thread_variables(threads, free)}
    print(
        f"{jobs} jobs at once on {cpus} CPUs, each {arguments.rounds} SVDs of {arguments.size} rows"
    )
    all_s = run(jobs, arguments.size, arguments.rounds, free)
    capped_s = run(jobs, arguments.size, arguments.rounds, capped)
    print(f"threads as NumPy chooses {_shown(all_s)}")
    print(f"{threads} for each job{'':<11} {_shown(capped_s)}")
    if all_s and capped_s:
        print(f"ratio {all_s / capped_s:.1f}")


def _shown(seconds: float | None) -> str:
    return f"{seconds:>8.2f} s" if seconds is not None else f"  more than {TIMEOUT_S} s"


if __name__ == "__main__":
    main()
