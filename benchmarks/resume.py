"""What is reused after a change, and what it costs to record: ``python benchmarks/resume.py``.

Runs an experiment of five notebooks, each of which reads what the one before it wrote; then, for each of twelve
changes, a copy of it with ``resume``. Prints which notebooks were reused and which ran. Then the same with notebooks
that hand their files on beside their directory. With ``--cost`` it also prints how long it takes to look at a directory
of many files and of much data, the first time and again, at a sparse file, and at the files beside the directory. Needs
nothing but the plugin.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from pytest_nbgroups import ExperimentResult, NotebookOutcome, run_experiment
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.resume.directory_state import read_directory
from pytest_nbgroups.resume.file_contents import FileContents
from pytest_nbgroups.resume.naming import Names
from pytest_nbgroups.resume.outside import Outside

Content: TypeAlias = dict[str, Any]

COUNT = 5
TOML = '[run]\nenv = { SCALE = "2" }\n'
OTHER = "other"
"""A second kernel, which is the first under another name."""


def step(number: int) -> str:
    """The name of a notebook."""
    return f"{number}-step.ipynb"


def notebook(number: int) -> Content:
    source = f"text = open('{number - 1}.txt').read()\nopen('{number}.txt', 'w').write(text + 'x')"
    return {
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": "A step."},
            {
                "cell_type": "code",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": source,
            },
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def write(folder: Path, name: str, content: Content) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def edited(number: int, change: Callable[[Content], object]) -> Callable[[Path], object]:
    """Change the file of a notebook."""

    def edit(folder: Path) -> None:
        content = json.loads((folder / step(number)).read_text(encoding="utf-8"))
        change(content)
        write(folder, step(number), content)

    return edit


def add_to_code(content: Content) -> None:
    content["cells"][1]["source"] += "  # edited"


def add_output(content: Content) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": "edited"}
    content["cells"][1].update(outputs=[output], execution_count=1)


def toml(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "experiment.toml").write_text(text)


def new_notebook(folder: Path) -> None:
    (folder / step(3)).rename(folder / "3-z.ipynb")
    shutil.copy(folder / "3-z.ipynb", folder / step(3))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a code cell of 3": edited(3, add_to_code),
    "a markdown cell of 3": edited(3, lambda c: c["cells"][0].update(source="Edited.")),
    "an output of 3": edited(3, add_output),
    "the kernel of 3": toml(f'{TOML}[notebooks."{step(3)}"]\nkernel = "{OTHER}"\n'),
    "a variable in env": toml(TOML.replace("2", "3")),
    "a deadline in experiment.toml": toml(f'{TOML}cell_timeout = "5min"\n'),
    "delete what 3 wrote": lambda folder: (folder / "3.txt").unlink(),
    "touch what 3 wrote": lambda folder: os.utime(folder / "3.txt", (1, 1)),
    "change what 3 wrote": lambda folder: (folder / "3.txt").write_text("edited"),
    "a code cell of 1": edited(1, add_to_code),
    "add a notebook behind 3": new_notebook,
    "rename 3": lambda folder: (folder / step(3)).rename(folder / "3-renamed.ipynb"),
}


def chain_step(number: int) -> Content:
    """Hands its file on in a folder beside the directory, as five of six real chains do."""
    content = notebook(number)
    source = f"text = open('../data/{number - 1}.txt').read()\nopen('../data/{number}.txt', 'w').write(text + 'x')"
    content["cells"][1]["source"] = source
    return content


def without_files_of_3(folder: Path) -> None:
    (folder.parent / "data" / "3.txt").unlink()


def without_files(folder: Path) -> None:
    for number in range(1, COUNT + 1):
        (folder.parent / "data" / f"{number}.txt").unlink()


def both(folder: Path) -> None:
    without_files(folder)
    edited(COUNT, add_to_code)(folder)


CHAIN_CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _folder: None,
    "delete ../data/3.txt": without_files_of_3,
    "delete what all wrote": without_files,
    "a code cell of the last": edited(COUNT, add_to_code),
    "both": both,
    "change ../data/3.txt": lambda folder: (folder.parent / "data/3.txt").write_text("edited"),
    "add ../data/new.txt": lambda folder: (folder.parent / "data/new.txt").write_text("x"),
}


def prepare_chain(root: Path) -> None:
    folder = root / "experiments" / "steps"
    folder.mkdir(parents=True)
    toml(TOML)(folder)
    (root / "experiments" / "data").mkdir()
    (root / "experiments" / "data" / "0.txt").write_text("x")
    for number in range(1, COUNT + 1):
        write(folder, step(number), chain_step(number))


def prepare(root: Path) -> Path:
    folder = root / "experiments" / "steps"
    folder.mkdir(parents=True)
    toml(TOML)(folder)
    (folder / "0.txt").write_text("x")
    for number in range(1, COUNT + 1):
        write(folder, step(number), notebook(number))
    return folder


def install_kernel(folder: Path) -> None:
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": OTHER, "language": "python"}
    (folder / "kernels" / OTHER).mkdir(parents=True)
    (folder / "kernels" / OTHER / "kernel.json").write_text(json.dumps(spec))
    os.environ["JUPYTER_PATH"] = str(folder)


def run(root: Path, *, resume: bool) -> ExperimentResult:
    return run_experiment("experiments/steps", rootdir=root, resume=resume)


def named(result: ExperimentResult, outcome: NotebookOutcome) -> str:
    """``1 2 3-z``: what tells the notebooks of an outcome apart."""
    names = [n.name.removesuffix(".ipynb") for n in result.notebooks if n.outcome is outcome]
    return " ".join(name.removesuffix("-step") for name in names) or "-"


def show_changes(base: Path, changes: dict[str, Callable[[Path], object]]) -> None:
    """Make each change in a copy of a tree that has run, and resume there."""
    first = run(base, resume=False)
    print(f"{'change':<31}{'reused':<11}{'ran':<13}{'time':>7}  why not more")
    print(
        f"{'(first run)':<31}{'-':<11}{named(first, NotebookOutcome.PASSED):<13}{first.duration_s:>5.1f} s"
    )
    for label, change in changes.items():
        root = base.with_name("changed")
        shutil.copytree(base, root)
        change(root / "experiments" / "steps")
        result = run(root, resume=True)
        reused = named(result, NotebookOutcome.REUSED)
        ran = named(result, NotebookOutcome.PASSED)
        told = f"FAILED: {result.failure.message}; " if result.failure else ""
        print(f"{label:<31}{reused:<11}{ran:<13}{result.duration_s:>5.1f} s  {told}{result.reuse}")
        shutil.rmtree(root)


def show_cost(scratch: Path) -> None:
    """One large file, and many small ones."""
    for label, count, size in (
        ("1 file of 1 GiB", 1, 2**30),
        ("10,000 files of 10 kB", 10_000, 10_000),
    ):
        folder = scratch / str(count)
        folder.mkdir()
        block = os.urandom(min(size, 2**20))
        for number in range(count):
            with (folder / str(number)).open("wb") as file:
                for _ in range(size // len(block)):
                    file.write(block)
        time.sleep(4)  # what has just been written is read twice
        contents = FileContents()
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            read_directory(folder, contents)
            seconds.append(time.perf_counter() - start)
        print(f"{label:<22} read {seconds[0]:.2f} s, looked at again {seconds[1]:.3f} s")


def show_search(scratch: Path) -> None:
    """What it costs to look for files outside of the directory, before and after each notebook."""
    for count in (100, 10_000, 50_000):
        root = scratch / f"search-{count}"
        here = root / "experiments" / "A"
        here.mkdir(parents=True)
        folders = [root / "experiments" / "data" / str(number) for number in range(count // 100)]
        for folder in folders:
            folder.mkdir(parents=True)
            for number in range(100):
                (folder / str(number)).touch()
        names = Names(directory=str(here), root=str(root), texts=("../data",))
        experiment = Experiment(name="A", directory=here, notebooks=())
        settings = Settings(rootdir=root, artifacts=root / ".experiments")
        start = time.perf_counter()
        snapshot = Outside(experiment, settings, names, entries=count + 1).snapshot()
        seconds = time.perf_counter() - start
        print(f"{len(snapshot.files):,} files in ../data: {seconds:.3f} s for each look")


def show_holes(scratch: Path) -> None:
    """A sparse file of 40 GiB."""
    folder = scratch / "holes"
    folder.mkdir()
    with (folder / "sparse").open("wb") as file:
        file.truncate(40 * 2**30)
    start = time.perf_counter()
    read_directory(folder, FileContents())
    print(f"{'a hole of 40 GiB':<22} read {time.perf_counter() - start:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", action="store_true", help="also measure what recording costs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NBGROUPS_POOL"] = str(Path(scratch) / "pool")
        install_kernel(Path(scratch) / "jupyter")
        prepare(Path(scratch) / "base")
        show_changes(Path(scratch) / "base", CHANGES)
        print("\nfiles handed on beside the directory:")
        prepare_chain(Path(scratch) / "chain")
        show_changes(Path(scratch) / "chain", CHAIN_CHANGES)
        if arguments.cost:
            show_cost(Path(scratch))
            show_search(Path(scratch))
            show_holes(Path(scratch))


if __name__ == "__main__":
    main()
