"""A small tree of experiments, written anew for each run, and what a run of pytest made of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

Json: TypeAlias = dict[str, Any]
Findings: TypeAlias = list[str]

_FOREIGN = ("PYTEST_", "GITHUB_", "NBGROUPS", "COV_", "COVERAGE_", "PYTHONPATH", "CI")
_RUN_S = 180.0

APPEND = "with open('ran', 'a') as file:\n    file.write({letter!r})\n"


def cells(*sources: str) -> str:
    """A notebook."""
    made: list[Json] = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


BASIC: Mapping[str, str] = {
    "experiments/Good/1-write.ipynb": cells("open('ran', 'w').close()", APPEND.format(letter="1")),
    "experiments/Good/2-read.ipynb": cells(
        APPEND.format(letter="2"), "assert open('ran').read() == '12'"
    ),
    "experiments/Bad/1-write.ipynb": cells("open('value', 'w').write('0')"),
    "experiments/Bad/2-fail.ipynb": cells("value = int(open('value').read())", "1 / value"),
    "experiments/Bad/3-never.ipynb": cells("open('never', 'w')"),
    "test_ordinary.py": "def test_ordinary():\n    assert True\n",
    "pytest.ini": "[pytest]\n",
}
BASIC_CASES = 3
"""Two experiments and a test."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A pytest run that is over."""

    root: Path
    returncode: int
    output: str

    @cached_property
    def session(self) -> Json:
        path = self.root / ".experiments/session.json"
        data: Json = json.loads(path.read_text("utf-8")) if path.exists() else {"experiments": []}
        return data

    @cached_property
    def cases(self) -> dict[str, str]:
        """Test case -> its outcome, as JUnit XML has it."""
        path = self.root / "junit.xml"
        if not path.exists():
            return {}
        root = ET.parse(path).getroot()  # noqa: S314  our own file
        return {
            f"{case.attrib['classname']}::{case.attrib['name']}": _outcome(case)
            for case in root.iter("testcase")
        }

    def outcomes(self, name: str) -> list[str]:
        """Of the notebooks of an experiment's last attempt."""
        for experiment in self.session["experiments"]:
            if experiment["name"] == name:
                return [n["outcome"] for n in experiment["attempts"][-1]["notebooks"]]
        return []

    def attempts(self, name: str) -> int:
        found = [e for e in self.session["experiments"] if e["name"] == name]
        return len(found[0]["attempts"]) if found else 0

    def last_line(self) -> str:
        lines = [line.strip("= ") for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.returncode}, no output"


def _outcome(case: ET.Element) -> str:
    kinds = {child.tag for child in case}
    return next((kind for kind in ("failure", "error", "skipped") if kind in kinds), "passed")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """An environment with a neighbour in it, and a folder for its runs."""

    python: Path
    folder: Path
    runs: list[Run] = field(default_factory=list)

    def run(
        self,
        *arguments: str,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        keep: bool = False,
    ) -> Run:
        """Run pytest in a fresh tree, or in the last one again; ``files`` come on top of the basic ones."""
        root = self.folder / str(len(self.runs) - 1 if keep else len(self.runs))
        if not keep:
            _write(root, {**BASIC, **(files or {})})
        command = [str(self.python), "-m", "pytest", "--run-experiments", "--junitxml=junit.xml"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=root,
            env={**_environment(root), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_RUN_S,
            check=False,
        )
        run = Run(root=root, returncode=done.returncode, output=done.stdout)
        if not keep:
            self.runs.append(run)
        return run


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "COLUMNS": "120", "NBGROUPS_POOL": str(root.parent / "pool")}


def basic_findings(run: Run, *, where: str) -> Findings:
    """What is not as it is without the neighbour; empty where all is well."""
    expected = {
        "Good": ["passed", "passed"],
        "Bad": ["passed", "failed", "not_run"],
    }
    found = [
        f"{where}: the notebooks of {name} are {run.outcomes(name) or 'not reported'}"
        for name, outcomes in expected.items()
        if run.outcomes(name) != outcomes
    ]
    cases = sorted(run.cases.values())
    if cases != ["failure", "passed", "passed"]:
        found.append(f"{where}: test cases {cases}: {run.last_line()}")
    if run.returncode != 1:
        found.append(f"{where}: exit code {run.returncode}: {run.last_line()}")
    if "INTERNALERROR" in run.output:
        found.append(f"{where}: INTERNALERROR: {run.last_line()}")
    return found
