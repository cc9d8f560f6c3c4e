"""Trees of notebooks, and pytest runs in them: real kernels, real workers, real signals."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

import nbformat  # noqa: TID253  to write and read notebooks
import psutil  # noqa: TID253  to look at processes
from nbformat.v4 import new_code_cell, new_notebook  # noqa: TID253

from pytest_nbgroups import __version__  # noqa: F401  fails early where nothing is installed

PATIENCE_S = 90.0
"""For what has no deadline of its own, on a machine that does other things too."""
GONE_S = 10.0
"""The guarantee: so long after the end nothing is left."""
PROMISED_S = 7.0
"""The guarantee: so long after Ctrl-C or SIGTERM pytest has ended, if the machine does nothing else."""
ENDED_S = 3 * PROMISED_S
"""The same on a machine that does other things too: at a load of twelve on two cores it took eleven seconds."""
_POLL_S = 0.02

INI = "[pytest]\nfilterwarnings = error\n"
"""Warnings of ours would end these runs."""

Json: TypeAlias = dict[str, Any]

STUBBORN_CHILD = """
import os, signal, subprocess, sys, time
from pathlib import Path
_code = '''
import os, signal, sys, time
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, signal.SIG_IGN)
with open("child.new", "w") as file:
    file.write(str(os.getpid()))
os.rename("child.new", "child.pid")
time.sleep(600)
'''
subprocess.Popen([sys.executable, "-I", "-S", "-c", _code], start_new_session=True)
while not Path("child.pid").exists():
    time.sleep(0.01)
"""
"""Leaves a child behind that heeds no signal and has a session of its own; its pid is in child.pid."""

BLOCK = """
import os, time
from pathlib import Path
Path("kernel.new").write_text(str(os.getpid()))
Path("kernel.new").rename("kernel.pid")
time.sleep(600)
"""
"""Writes the kernel's pid to kernel.pid and sleeps."""


def code(source: str, *tags: str) -> nbformat.NotebookNode:
    """A code cell, with tags."""
    cell: nbformat.NotebookNode = new_code_cell(
        source, metadata={"tags": list(tags)} if tags else {}
    )
    return cell


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A pytest run that is over."""

    root: Path
    returncode: int
    text: str

    @cached_property
    def session(self) -> Json:
        data: Json = json.loads((self.root / ".experiments/session.json").read_text("utf-8"))
        return data

    @cached_property
    def junit(self) -> ET.Element:
        return ET.parse(self.root / "junit.xml").getroot()  # noqa: S314  our own file

    def experiment(self, name: str) -> Json:
        """What session.json says of an experiment."""
        (found,) = [e for e in self.session["experiments"] if e["name"] == name]
        return dict(found)

    def notebooks(self, name: str) -> list[Json]:
        """What session.json says of the notebooks of an experiment's last attempt."""
        return list(self.experiment(name)["attempts"][-1]["notebooks"])

    def outcomes(self, name: str) -> list[str]:
        return [notebook["outcome"] for notebook in self.notebooks(name)]

    def failure(self, name: str) -> Json:
        """The one failure of an experiment: its own or a notebook's."""
        (attempt,) = self.experiment(name)["attempts"]
        candidates = [attempt["failure"], *(n["failure"] for n in attempt["notebooks"])]
        (found,) = filter(None, candidates)
        return dict(found)

    def executed(self, name: str, notebook: str) -> nbformat.NotebookNode:
        return read(self.root / ".experiments/notebooks" / name / notebook)

    def section(self, title: str) -> str:
        """The text from a heading of pytest's to the next."""
        heading = re.compile(r"^[=_]{2,} .* [=_]{2,}$")
        lines = iter(self.text.splitlines())
        for line in lines:
            if heading.match(line) and line.strip("=_ ") == title:
                break
        return "\n".join(itertools.takewhile(lambda line: not heading.match(line), lines))


@dataclass(kw_only=True)
class Running:
    """A pytest run, in a session of its own."""

    root: Path
    process: subprocess.Popen[bytes]
    output: Path
    family: dict[int, psutil.Process] = field(default_factory=dict)
    """Every process below it that was seen."""

    def look(self) -> None:
        """Remember what is below it now."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.family[child.pid] = child

    def wait(self, timeout_s: float = 4 * PATIENCE_S) -> Finished:
        """Wait for its end."""
        try:
            returncode = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            raise AssertionError(f"did not end within {timeout_s}s:\n{self.text()}") from exc
        return Finished(root=self.root, returncode=returncode, text=self.text())

    def text(self) -> str:
        return self.output.read_text("utf-8", errors="replace")

    def await_file(self, *paths: Path) -> None:
        """Wait until files exist; fail early where the run has ended without them."""
        await_condition(
            lambda: all(path.exists() for path in paths) or self.process.poll() is not None
        )
        missing = [str(path) for path in paths if not path.exists()]
        assert not missing, f"no {missing} in\n{self.text()}"

    def kill(self) -> None:
        """Kill it and what was seen below it, for a test that failed."""
        self.look()
        for process in self.family.values():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Tree:
    """A rootdir with experiments, made by a test."""

    def __init__(self, root: Path, *, ini: str = INI) -> None:
        self.root = root
        self.runs: list[Running] = []
        (root / ".temporary").mkdir(parents=True, exist_ok=True)
        (root / "pytest.ini").write_text(ini)

    def directory(self, experiment: str) -> Path:
        path = self.root / "experiments" / experiment
        path.mkdir(parents=True, exist_ok=True)
        return path

    def notebook(
        self,
        experiment: str,
        name: str,
        *cells: str | nbformat.NotebookNode,
        kernel: str = "python3",
        language: str = "python",
    ) -> Path:
        """Write a notebook whose code cells are given."""
        spec = {"name": kernel, "display_name": kernel, "language": language}
        notebook = new_notebook(
            cells=[code(cell) if isinstance(cell, str) else cell for cell in cells],
            metadata={"kernelspec": spec},
        )
        for number, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{number}"
        return self.file(experiment, name, nbformat.writes(notebook))

    def file(self, experiment: str, name: str, content: str | bytes) -> Path:
        path = self.directory(experiment) / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def toml(self, experiment: str, text: str) -> None:
        self.file(experiment, "experiment.toml", text)

    def kernelspec(
        self,
        name: str,
        argv: Sequence[str],
        language: str = "python",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Install a kernel below the tree; see `environment`."""
        folder = self.root / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": list(argv), "display_name": name, "language": language, "env": env or {}}
        (folder / "kernel.json").write_text(json.dumps(spec))

    def environment(self) -> dict[str, str]:
        """This process's environment without what would change a run."""
        foreign = (
            *("PYTEST_", "GITHUB_", "NBGROUPS", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "CI"),
            "PYTHONDONTWRITEBYTECODE",  # each run would compile every module anew
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **kept,
            "COLUMNS": "160",
            "JUPYTER_PATH": str(self.root / "jupyter"),
            "NBGROUPS_POOL": str(self.root / ".pool"),
            "PYTHONPATH": os.pathsep.join([str(self.root), os.environ.get("PYTHONPATH", "")]),
            # pytest cleans up there in the end, which takes its time where others have been at work.
            "PYTEST_DEBUG_TEMPROOT": str(self.root / ".temporary"),
        }

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        preexec: Callable[[], object] | None = None,
        prefix: Sequence[str] = (),
        **popen: Any,
    ) -> Running:
        """Start ``pytest --run-experiments`` with arguments, its output going to a file.

        ``prefix`` is a command that runs the command which it is given.
        """
        output = self.root / f"output-{len(self.runs)}.txt"
        streams: Json = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "pytest", "--run-experiments", *arguments],
                env={**self.environment(), **(env or {})},
                preexec_fn=preexec,  # noqa: PLW1509  no thread of the tests holds a lock
                **{"cwd": self.root, "start_new_session": True, "stdout": file, **streams, **popen},
            )
        self.runs.append(Running(root=self.root, process=process, output=output))
        return self.runs[-1]

    def pytest(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        preexec: Callable[[], object] | None = None,
    ) -> Finished:
        """Run pytest to its end, with a JUnit file."""
        running = self.start("--junitxml=junit.xml", *arguments, env=env, preexec=preexec)
        return running.wait()

    def close(self) -> None:
        """End what a failed test has left running."""
        for run in self.runs:
            run.kill()


def await_condition(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
    """Poll until a condition holds; give whether it does in the end."""
    end = time.monotonic() + timeout_s
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(_POLL_S)
    return holds


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, whoever may still have to reap it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def still_there(processes: Iterable[psutil.Process], within_s: float = GONE_S) -> list[str]:
    """What has not ended after so many seconds."""
    watched = list(processes)
    await_condition(lambda: all(map(gone, watched)), within_s)
    return [f"{p.pid} {p.name()} {p.cmdline()}" for p in watched if not gone(p)]


def worker_of(kernel: psutil.Process) -> psutil.Process:
    """The pytest process that runs a kernel: the parent of its kernel host."""
    host = kernel.parent()
    worker = host.parent() if host else None
    assert worker is not None
    return worker


def read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    return notebook


def printed(cell: nbformat.NotebookNode) -> str:
    """What a cell of an executed notebook has printed."""
    return "".join(o.text for o in cell.outputs if o.output_type == "stream")
