"""Targets that read files which people wrote: notebooks, declarations, weights."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from fuzz_inputs import (
    BUDGET,
    DECLARATIONS,
    LISTED,
    NOTEBOOKS,
    json_files,
    toml_files,
    written,
)
from hypothesis import strategies as st

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.model import Experiment, Notebook, NotebookOutcome
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.directory import read_experiments, read_pyproject
from pytest_nbgroups.execution import notebook as running
from pytest_nbgroups.execution.halting import Halts
from pytest_nbgroups.execution.notebook_run import NotebookRun
from pytest_nbgroups.execution.run import Run
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.notebooks.notebook_format import SKIP_TAG
from pytest_nbgroups.notebooks.reading import read_notebook
from pytest_nbgroups.notebooks.scanning import scan
from pytest_nbgroups.scheduling.needs import SlowStart, need_of, unmet
from pytest_nbgroups.scheduling.sharding import assign
from pytest_nbgroups.scheduling.weights import read_weights, write_weights

# Notebooks


@contextlib.asynccontextmanager
async def _kernel(*_args: object, **_named: object) -> AsyncIterator[Any]:
    yield SimpleNamespace(
        process=SimpleNamespace(pid=os.getpid(), server_pid=None),
        manager=None,
        client=None,
        language_info={"name": "x"},
        left_out={},
        error_outputs={},
        cut_off=None,
        outputs=SimpleNamespace(refuse=None),
        plainly=None,
        warning=None,
    )


def notebook(content: bytes, folder: Path) -> str:
    """Run with a kernel in which every cell passes: who passes had cells, and all of them ran."""
    path = written(folder / "1-load.ipynb", content)
    executed: list[int] = []

    async def execute(client: Any, _kernel: object, index: int, *_limits: object) -> None:
        client.nb.cells[index].source.encode()  # what is sent to a kernel is UTF-8
        executed.append(index)

    witness = mock.MagicMock()
    witness.return_value.explain.side_effect = lambda failure, *_seen: (failure, [])
    experiment = Experiment(name="A", directory=folder, notebooks=(Notebook(path=path),))
    run = Run(
        experiment=experiment,
        settings=Settings(rootdir=folder, artifacts=folder / ".experiments"),
        env={},
        host=SimpleNamespace(pid=None, kill_tree_soon=None, reaped=None),  # type: ignore[arg-type]
        listener=lambda _event: None,
        holding=Holding(),
        halts=Halts(None),
        attempt=None,  # type: ignore[arg-type]  # nothing is resumed
    )
    with (
        mock.patch.object(running, "running_kernel", _kernel),
        mock.patch.object(running, "execute_cell", execute),
        mock.patch.object(running, "MemoryWatch", mock.MagicMock()),
        mock.patch.object(running, "Witness", witness),
        mock.patch.object(NotebookRun, "_usage", mock.MagicMock(return_value=None)),
        mock.patch.object(running, "choose_kernel", _chosen),
    ):
        outcome = asyncio.run(running.run_notebook(Notebook(path=path), run))
    scan(experiment)
    if outcome.outcome is not NotebookOutcome.PASSED:
        assert outcome.failure is not None
        assert outcome.failure.kind.value == "notebook", outcome.failure
        assert not executed
        assert path.name in outcome.failure.message
        assert "; " in outcome.failure.message  # the remedy
        return outcome.failure.message
    assert run.warnings == []
    assert executed == [n for n, cell in enumerate(_cells(content)) if _is_code_to_run(cell)]
    assert outcome.executed_path is not None
    read_notebook(outcome.executed_path)  # what was saved can be read again
    assert path.read_bytes() == content
    return ""


def _chosen(*_args: object) -> str:
    return "python3"


def _cells(content: bytes) -> list[Any]:
    """What the file itself says, by a reading of our own."""
    data = json.loads(content.decode("utf-8-sig"))
    assert isinstance(data["nbformat"], int)
    assert not isinstance(data["nbformat"], bool)
    sheets = data.get("worksheets") or []
    cells = [*(data.get("cells") or []), *(cell for sheet in sheets for cell in sheet["cells"])]
    old = {"heading", "html", "text"} if data["nbformat"] < 4 else set()
    assert {cell["cell_type"] for cell in cells} <= {"code", "markdown", "raw", *old}
    return cells


def _is_code_to_run(cell: Any) -> bool:
    source = cell.get("source", cell.get("input", ""))
    if "code" in cell and source == "":  # format 1, whose values nbformat makes texts of
        source = "" if cell["code"] is None else str(cell["code"])
    tags = cell.get("metadata", {}).get("tags", [])
    return cell["cell_type"] == "code" and bool("".join(source).strip()) and SKIP_TAG not in tags


# Declarations


def _directory(folder: Path) -> Path:
    directory = folder / "experiments" / "Heart"
    directory.mkdir(parents=True)
    for name in LISTED:
        (directory / name).touch()
    return directory


def declaration(content: bytes, folder: Path) -> str:
    """A directory with that experiment.toml: experiments of its own notebooks, or a named fault."""
    directory = _directory(folder)
    written(directory / "experiment.toml", content)
    found = read_experiments(directory, _settings(folder))
    for experiment in found:
        if experiment.problem is not None:
            assert "experiment.toml" in experiment.problem
            return experiment.problem
        _check_experiment(experiment, directory)
    return ""


def _settings(folder: Path) -> Settings:
    return Settings(
        rootdir=folder, roots=(folder / "experiments",), artifacts=folder / ".experiments"
    )


def _check_experiment(experiment: Experiment, directory: Path) -> None:
    assert experiment.name.startswith("Heart")
    for each in experiment.notebooks:
        assert each.path.parent == directory
        assert each.name in LISTED
        assert each.timeout_s is None or 0 < each.timeout_s < 2**31
    resources = experiment.resources
    need = need_of(resources, None, BUDGET, SlowStart(default_bytes=2))
    if unmet(resources, BUDGET) is None:
        assert 0 < need.cpus <= BUDGET.cpus
        assert 0 < need.ram_bytes <= BUDGET.ram_bytes
        assert need.gpus <= len(BUDGET.gpus)


PATTERNS = tuple(
    {"tool": {"other": {"a": 1}, "nbgroups": {"experiments": {"Heart*": tables, "[!a]*": tables}}}}
    for tables in DECLARATIONS
)


def pyproject(content: bytes, folder: Path) -> str:
    """A pyproject.toml: tables, or an error that names it."""
    written(folder / "pyproject.toml", content)
    try:
        read_pyproject(folder)
    except DeclarationError as exc:
        assert "pyproject.toml" in str(exc)
        return str(exc)
    return ""


WEIGHTS = ({"schema": 1, "experiments": {"experiments/A::notebooks": 3.5, "b": 0, "c": 10**6}},)


def weights(content: bytes, folder: Path) -> str:
    """A weights file: every experiment on one shard, and written again it splits them the same."""
    path = written(folder / "weights.json", content)
    try:
        read = read_weights(path)
    except DeclarationError as exc:
        assert str(path) in str(exc)
        assert "; " in str(exc)
        return str(exc)
    names = [*read, "new"]
    assert set(assign(names, 3, read, unit_of=str).values()) <= {1, 2, 3}
    write_weights(path, read)
    again = read_weights(path)
    write_weights(path, again)
    assert read_weights(path) == again
    assert again.keys() == read.keys()
    return ""


DOCUMENT_TARGETS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "notebook": (json_files(NOTEBOOKS), notebook),
    "experiment.toml": (toml_files(DECLARATIONS), declaration),
    "pyproject.toml": (toml_files(PATTERNS), pyproject),
    "weights file": (json_files(WEIGHTS), weights),
}
