"""What is looked at for each neighbour besides the outcomes of a few experiments.

A check runs pytest on a `Bench` and gives what it finds wrong, as short texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TypeAlias

from tree import BASIC_CASES, Bench, Findings, Run, cells

Check: TypeAlias = Callable[[Bench], Iterator[str]]

SECOND_GUIDE = {"docs/guide.ipynb": cells("1 + 1")}


def nothing_more(_bench: Bench) -> Iterator[str]:
    """The basic runs say it all."""
    yield from ()


def timeout(bench: Bench) -> Iterator[str]:
    """The ini default ends ordinary tests and no experiment."""
    run = bench.run(
        "-n0",
        files={
            "pytest.ini": "[pytest]\ntimeout = 1\n",
            "experiments/Good/1-write.ipynb": cells(
                "import time; time.sleep(1.5)", "open('ran', 'w').write('1')"
            ),
            "test_ordinary.py": "import time\n\ndef test_slow():\n    time.sleep(20)\n",
        },
    )
    if run.outcomes("Good") != ["passed", "passed"]:
        yield f"a slow experiment was ended: {run.outcomes('Good')}"
    if run.cases.get("test_ordinary::test_slow") != "failure":
        yield "a slow test was not ended"


def rerunfailures(bench: Bench) -> Iterator[str]:
    """An experiment that failed starts with its first notebook, as often as it is asked for."""
    for workers in ("-n0", "-n2"):
        run = bench.run(workers, "--reruns=1")
        if (run.attempts("Bad"), run.attempts("Good")) != (2, 1):
            yield f"{workers}: {run.attempts('Bad')} attempts, not 2: {run.last_line()}"
        if run.outcomes("Bad") != ["passed", "failed", "not_run"]:
            yield f"{workers}: the second attempt: {run.outcomes('Bad')}"


def randomly(bench: Bench) -> Iterator[str]:
    """Experiments are shuffled, their notebooks are not, and a companion test stays behind."""
    many = {f"experiments/{name}/1-one.ipynb": cells("1") for name in "CDEF"}
    companion = {"experiments/Good/test_good.py": "def test_good():\n    assert open('x')\n"}
    orders = set()
    for seed in range(4):
        arguments = ("--collect-only", "-q", "-p", "randomly", f"--randomly-seed={seed}")
        run = bench.run(*arguments, files={**many, **companion})
        order = [line for line in run.output.splitlines() if "::" in line]
        orders.add(tuple(line for line in order if line.endswith("::notebooks")))
        test = next((n for n, line in enumerate(order) if "test_good.py" in line), -1)
        if test < order.index("experiments/Good::notebooks"):
            yield f"seed {seed}: a test ran before the notebooks that it lies beside"
    if len(orders) < 2:
        yield "experiments are not shuffled"


def cov(bench: Bench) -> Iterator[str]:
    """Lines that run in a kernel count if `patch = ["subprocess"]` is set."""
    files = {
        "study.py": "def fit(value):\n    return value + 1\n\n\ndef unused():\n    return 0\n",
        "experiments/Good/1-write.ipynb": cells(
            "import sys; sys.path.insert(0, '../..')",
            "import study; assert study.fit(1) == 2",
            "open('ran', 'w').write('1')",
        ),
        ".coveragerc": "[run]\npatch = subprocess\nparallel = true\nsource = .\n",
    }
    for workers in ("-n0", "-n2"):
        run = bench.run(workers, "--cov", "--cov-report=json", files=files)
        path = run.root / "coverage.json"
        if not path.exists():
            yield f"{workers}: no coverage report: {run.last_line()}"
            continue
        lines = json.loads(path.read_text())["files"].get("study.py", {}).get("executed_lines")
        if lines != [1, 2, 5]:
            yield f"{workers}: lines {lines} of study.py counted, not [1, 2, 5]"


def html(bench: Bench) -> Iterator[str]:
    """The page has each experiment, and how one failed."""
    for workers in ("-n0", "-n2"):
        run = bench.run(workers, "--html=report.html", "--self-contained-html")
        yield from _lacks(run, "report.html", "Bad::notebooks", "2-fail.ipynb", "ZeroDivisionError")


def json_report(bench: Bench) -> Iterator[str]:
    """The file has each experiment, and how one failed."""
    for workers in ("-n0", "-n2"):
        run = bench.run(workers, "--json-report", "--json-report-file=report.json")
        yield from _lacks(run, "report.json", "Bad::notebooks", "2-fail.ipynb", "ZeroDivisionError")


def _lacks(run: Run, name: str, *texts: str) -> Findings:
    path = run.root / name
    text = path.read_text("utf-8") if path.exists() else ""
    return [f"{name} lacks {each!r}: {run.last_line()}" for each in texts if each not in text]


def annotate(bench: Bench) -> Iterator[str]:
    """One annotation for a failed experiment, on its notebook, and one for a failed test."""
    files = {"test_ordinary.py": "def test_ordinary():\n    assert False\n"}
    for workers in ("-n0", "-n2"):
        run = bench.run(workers, files=files, env={"GITHUB_ACTIONS": "true"})
        lines = [line for line in run.output.splitlines() if "::error" in line]
        of_bad = [line for line in lines if "Bad" in line]
        if len(of_bad) != 1 or "2-fail.ipynb" not in of_bad[0]:
            yield f"{workers}: {len(of_bad)} annotations for one failed experiment"
        if len([line for line in lines if "test_ordinary" in line]) != 1:
            yield f"{workers}: a failed test has no annotation"


def split(bench: Bench) -> Iterator[str]:
    """Node ids are stable: the groups are apart, are everything, and know the stored durations."""
    run = bench.run("-n0", "--store-durations")
    stored = run.root / ".test_durations"
    known = json.loads(stored.read_text()) if stored.exists() else {}
    if "experiments/Bad::notebooks" not in known:
        yield f"no duration is stored for an experiment: {sorted(known)}"
    groups: list[set[str]] = []
    for group in ("1", "2"):
        run = bench.run("--co", "-q", "--splits=2", f"--group={group}", keep=True)
        groups.append({line for line in run.output.splitlines() if "::" in line})
    if groups[0] & groups[1] or len(groups[0] | groups[1]) != 3:
        yield f"groups {sorted(map(sorted, groups))}"


def sugar(bench: Bench) -> Iterator[str]:
    """The output has the failure, the table and the summary."""
    for arguments in (("-n0",), ("-n2",), ("-n0", "-v"), ("-n2", "-v")):
        run = bench.run("--force-sugar", *arguments)
        for text in ("2-fail.ipynb", "ZeroDivisionError", "peak memory", "Bad::notebooks"):
            if text not in run.output:
                yield f"{' '.join(arguments)}: the output lacks {text!r}"
        if "Traceback" in run.output.replace("Traceback (most recent call last)\n1 / value", ""):
            yield f"{' '.join(arguments)}: a traceback in the output"


def order(bench: Bench) -> Iterator[str]:
    """A marker that a conftest.py gives an experiment decides on its place; notebooks stay in order."""
    conftest = (
        "import pytest\n\n\n@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_collection_modifyitems(items):\n    for item in items:\n"
        "        item.add_marker(pytest.mark.order(1 if 'Good' in item.nodeid else 2))\n"
    )
    run = bench.run("--co", "-q", files={"conftest.py": conftest})
    first = next((line for line in run.output.splitlines() if "::" in line), "")
    if first != "experiments/Good::notebooks":
        yield f"{first or 'nothing'} comes first"


def nbmake(bench: Bench) -> Iterator[str]:
    """It runs the notebooks elsewhere, and none of an experiment."""
    yield from _other_notebooks(bench, "--nbmake")


def nbval(bench: Bench) -> Iterator[str]:
    """It runs the notebooks elsewhere, and none of an experiment."""
    yield from _other_notebooks(bench, "--nbval-lax")


def _other_notebooks(bench: Bench, option: str) -> Iterator[str]:
    for workers in ("-n0", "-n2"):
        run = bench.run(workers, option, files=SECOND_GUIDE)
        theirs = [case for case in run.cases if "guide" in case]
        if len(run.cases) - len(theirs) != BASIC_CASES or not theirs:
            yield f"{workers}: {sorted(run.cases)}: {run.last_line()}"
        if run.outcomes("Good") != ["passed", "passed"]:
            yield f"{workers}: the notebooks of Good: {run.outcomes('Good')}"


def asyncio(bench: Bench) -> Iterator[str]:
    """An async test beside experiments, in auto mode."""
    files = {
        "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
        "test_ordinary.py": "import asyncio\n\n\nasync def test_ordinary():\n"
        "    await asyncio.sleep(0)\n",
    }
    for workers in ("-n0", "-n2"):
        run = bench.run(workers, files=files)
        if run.cases.get("test_ordinary::test_ordinary") != "passed":
            yield f"{workers}: an async test: {run.last_line()}"
        if run.outcomes("Good") != ["passed", "passed"]:
            yield f"{workers}: the notebooks of Good: {run.outcomes('Good')}"
