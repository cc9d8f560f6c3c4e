"""Attempts of an experiment after something has changed, without kernels."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.model import NotebookOutcome, NotebookResult
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.directory import read_experiments
from pytest_nbgroups.declarations.requirements import missing
from pytest_nbgroups.resume import attempt, written
from pytest_nbgroups.resume.attempt import SAME_SESSION, Attempt
from pytest_nbgroups.resume.bounds import ReadingStoppedError
from pytest_nbgroups.resume.checkpoint import FileState
from pytest_nbgroups.resume.file_contents import FileContents
from pytest_nbgroups.resume.interpreter import Installation
from pytest_nbgroups.resume.outside import Outside

PYTHON = Installation(interpreter="CPython 3.13.1 in /usr", distributions={"numpy": "2.1"})
TOML = '[run]\nenv = { SCALE = "2" }\ndata = ["../../data/**"]\n'
ALL = ("1-load.ipynb", "2-fit.ipynb", "3-eval.ipynb")


@dataclass(kw_only=True)
class Lab:
    """An experiment whose notebooks are run by `exec` in place of a kernel."""

    root: Path
    resources: Mapping[str, Any] = field(default_factory=dict)
    session: int = 0
    attempt: Attempt | None = None
    broken: str = ""
    """A notebook that fails for a reason that nothing shows."""
    during: Callable[[str], object] | None = None
    """Called with the name of each notebook while it runs."""
    beside: tuple[str, ...] = ()
    """Experiments that run all the time."""

    def __post_init__(self) -> None:
        (self.root / "data").mkdir(parents=True)
        (self.root / "data" / "raw.csv").write_text("1 2 3")
        self.here.mkdir(parents=True)
        (self.here / "input.csv").write_text("4 5 6")
        self.toml(TOML)
        self.notebook("1-load.ipynb", "copy('input.csv', 'a.txt')")
        self.notebook("2-fit.ipynb", "copy('a.txt', 'b.txt')")
        self.notebook("3-eval.ipynb", "copy('b.txt', 'c.txt')")

    @property
    def here(self) -> Path:
        return self.root / "experiments" / "Heart"

    @property
    def checkpoint(self) -> Path:
        return self.root / ".experiments" / "checkpoints" / "Heart.json"

    def toml(self, text: str) -> None:
        (self.here / "experiment.toml").write_text(text)

    def notebook(self, name: str, *sources: str) -> None:
        cells: list[dict[str, Any]] = [
            {
                "cell_type": "code",
                "source": s,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for s in sources
        ]
        self.save(name, {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})

    def save(self, name: str, content: dict[str, Any]) -> None:
        (self.here / name).write_text(json.dumps(content))

    def edit(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a notebook's file."""
        content = json.loads((self.here / name).read_text())
        change(content)
        self.save(name, content)

    def run(self, *, resume: bool = True, new_session: bool = True) -> tuple[list[str], list[str]]:
        """Make an attempt: which notebooks were reused, and which ran."""
        settings = Settings(
            rootdir=self.root,
            roots=(self.root / "experiments",),
            artifacts=self.root / ".experiments",
            resume=resume,
        )
        self.session += new_session
        (experiment,) = read_experiments(self.here, settings)
        assert experiment.problem is None, experiment.problem
        experiment = replace(experiment, **self.resources)
        self.attempt = Attempt(experiment, settings, session=str(self.session), env={})
        self.attempt.written.running = lambda: self.beside
        reuse = self.attempt.look()
        steps = reuse.steps if reuse else ()
        self.attempt.begin(steps)
        reused = [self.attempt.result(step) for step in steps]
        ran = []
        for notebook in experiment.notebooks[len(steps) :]:
            before = self.attempt.before(notebook)
            skip = notebook.skip or missing(notebook.requires, {})
            outcome = NotebookOutcome.SKIPPED
            if skip is None:
                ran.append(notebook.name)
                outcome = self._execute(notebook.path)
                if notebook.name == self.broken:
                    outcome = NotebookOutcome.FAILED
            if outcome is NotebookOutcome.FAILED:
                break
            result = NotebookResult(name=notebook.name, outcome=outcome, reason=skip)
            self.attempt.after(result, before)
        return [each.name for each in reused if each.outcome is NotebookOutcome.REUSED], ran

    def _execute(self, path: Path) -> NotebookOutcome:
        def copy(source: str, target: str) -> None:
            shutil.copyfile(self.here / source, self.here / target)

        def write(name: str, text: str) -> None:
            (self.here / name).write_text(text)

        names = {"copy": copy, "write": write, "remove": lambda name: (self.here / name).unlink()}
        if self.during is not None:
            self.during(path.name)
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                try:
                    exec("".join(cell["source"]), names)  # noqa: S102
                except ZeroDivisionError:
                    return NotebookOutcome.FAILED
        return NotebookOutcome.PASSED

    @property
    def reason(self) -> str:
        assert self.attempt is not None
        assert self.attempt.reuse is not None
        return self.attempt.reuse.reason


class FakeInterpreters:
    """Tells of one Python, or that it does not tell."""

    def __init__(self) -> None:
        self.told: Installation | None = PYTHON

    def installation(self, executable: str, check: Callable[[], None]) -> Installation:
        check()
        if self.told is None:
            raise CheckpointError(f"{Path(executable).stem} is mute")
        return self.told


@pytest.fixture(autouse=True)
def interpreters(monkeypatch: pytest.MonkeyPatch) -> FakeInterpreters:
    fake = FakeInterpreters()
    monkeypatch.setattr(attempt, "_INTERPRETERS", fake)
    return fake


@pytest.fixture(autouse=True)
def _kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    for name in ("python3", "other"):
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": name, "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """One that has run to its end."""
    lab = Lab(root=tmp_path / "repo")
    assert lab.run() == ([], list(ALL))
    return lab


def _set_source(source: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["cells"][0].update(source=source)


def _markdown(content: dict[str, Any]) -> None:
    cell = {"cell_type": "markdown", "source": "# Fit", "metadata": {}}
    content["cells"].insert(0, cell)


def _output(content: dict[str, Any]) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": "edited"}
    content["cells"][0].update(outputs=[output], execution_count=7)


def _tag(content: dict[str, Any]) -> None:
    content["cells"][0]["metadata"]["tags"] = ["raises-exception"]


def _add(lab: Lab) -> None:
    lab.notebook("1-more.ipynb", "copy('a.txt', 'more.txt')")


def _rename(lab: Lab) -> None:
    (lab.here / "3-eval.ipynb").rename(lab.here / "3-evaluate.ipynb")


def _touch(lab: Lab) -> None:
    os.utime(lab.here / "a.txt", (1, 1))


MUTATIONS: dict[str, tuple[Callable[[Lab], object], int, str]] = {
    "nothing": (lambda _lab: None, 3, ""),
    "edit a code cell": (
        lambda lab: lab.edit("2-fit.ipynb", _set_source("copy('a.txt', 'b.txt')  # x")),
        1,
        "2-fit.ipynb: its code has changed",
    ),
    "edit a markdown cell": (lambda lab: lab.edit("2-fit.ipynb", _markdown), 3, ""),
    "edit an output": (lambda lab: lab.edit("2-fit.ipynb", _output), 3, ""),
    "tag a cell": (
        lambda lab: lab.edit("2-fit.ipynb", _tag),
        1,
        "2-fit.ipynb: the tags of its cells have changed",
    ),
    "another kernel": (
        lambda lab: lab.toml(f'{TOML}[notebooks."2-fit.ipynb"]\nkernel = "other"\n'),
        1,
        "2-fit.ipynb: its kernel was python3 and is now other",
    ),
    "declare another variable": (
        lambda lab: lab.toml(TOML.replace('"2"', '"3"')),
        0,
        "1-load.ipynb: the variable SCALE has changed",
    ),
    "a deadline in experiment.toml": (
        lambda lab: lab.toml(f'{TOML}cell_timeout = "5min"\n[resources]\nram = "1GB"\n'),
        3,
        "",
    ),
    "CPUs in experiment.toml": (
        lambda lab: lab.toml(f"{TOML}[resources]\ncpus = 1\n"),
        0,
        "1-load.ipynb: [resources] cpus is new",
    ),
    "a GPU in experiment.toml": (
        lambda lab: lab.toml(f"{TOML}[resources]\ngpus = 1\n"),
        0,
        "1-load.ipynb: [resources] gpus is new",
    ),
    "delete a file": (
        lambda lab: (lab.here / "b.txt").unlink(),
        1,
        "b.txt is gone since 2-fit.ipynb passed",
    ),
    "touch a file": (_touch, 3, ""),
    "change a file": (
        lambda lab: (lab.here / "b.txt").write_text("9 9 9"),
        1,
        "b.txt has changed since 2-fit.ipynb passed",
    ),
    "change an input": (
        lambda lab: (lab.here / "input.csv").write_text("7 8 9"),
        0,
        "input.csv has changed since 1-load.ipynb passed",
    ),
    "change outside data": (
        lambda lab: (lab.root / "data" / "raw.csv").write_text("x"),
        0,
        "1-load.ipynb: data: ../../data/raw.csv has changed",
    ),
    "add outside data": (
        lambda lab: (lab.root / "data" / "new.csv").write_text("x"),
        0,
        "1-load.ipynb: data: ../../data/new.csv is new",
    ),
    "add a file": (lambda lab: (lab.here / "notes.txt").write_text("x"), 3, ""),
    "edit the first notebook": (
        lambda lab: lab.edit("1-load.ipynb", _set_source("copy('input.csv', 'a.txt'); 1")),
        0,
        "1-load.ipynb: its code has changed",
    ),
    "add a notebook": (
        _add,
        1,
        "1-more.ipynb: in the last attempt 2-fit.ipynb was in its place",
    ),
    "rename a notebook": (
        _rename,
        2,
        "3-evaluate.ipynb: in the last attempt 3-eval.ipynb was in its place",
    ),
    "skip a notebook": (
        lambda lab: lab.toml(f'{TOML}[notebooks."2-fit.ipynb"]\nskip = "not today"\n'),
        1,
        "2-fit.ipynb: it passed in the last attempt and is skipped now",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_reused_after_a_change(lab: Lab, name: str) -> None:
    """As many notebooks as the change does not touch; then everything is as recorded again."""
    mutate, count, reason = MUTATIONS[name]
    mutate(lab)
    reused, _ = lab.run()
    assert (reused, lab.reason) == (list(ALL[:count]), reason)
    assert lab.run()[1] == []


def chain(root: Path) -> Lab:
    """One that has run to its end, and hands its files on in a folder beside its directory."""
    lab = Lab(root=root)
    lab.toml("")
    (lab.here.parent / "data").mkdir()
    lab.notebook(ALL[0], "copy('input.csv', '../data/a.txt')")
    lab.notebook(ALL[1], "copy('../data/a.txt', '../data/b.txt')")
    lab.notebook(ALL[2], "copy('../data/b.txt', 'c.txt')")
    assert lab.run() == ([], list(ALL))
    assert lab.run() == (list(ALL), [])
    return lab


def _written(lab: Lab, name: str) -> Path:
    return lab.here.parent / "data" / name


CHAIN_MUTATIONS: dict[str, tuple[Callable[[Lab], object], int, str]] = {
    "delete what the first wrote": (
        lambda lab: _written(lab, "a.txt").unlink(),
        0,
        "../data/a.txt is gone since 1-load.ipynb passed",
    ),
    "delete what the second wrote": (
        lambda lab: _written(lab, "b.txt").unlink(),
        1,
        "../data/b.txt is gone since 2-fit.ipynb passed",
    ),
    "delete all": (
        lambda lab: shutil.rmtree(_written(lab, "")),
        0,
        "../data/a.txt is gone since 1-load.ipynb passed",
    ),
    "change what the second wrote": (
        lambda lab: _written(lab, "b.txt").write_text("edited"),
        1,
        "../data/b.txt has changed since 2-fit.ipynb passed",
    ),
    "touch what the second wrote": (lambda lab: os.utime(_written(lab, "b.txt"), (1, 1)), 3, ""),
    "add a file": (lambda lab: _written(lab, "z.txt").write_text("x"), 3, ""),
    "declare the outputs": (
        lambda lab: lab.toml('[run]\noutputs = ["../data/**"]\n'),
        0,
        "1-load.ipynb: [run] outputs ../data/** is new",
    ),
}


@pytest.mark.parametrize("name", CHAIN_MUTATIONS)
def test_what_is_reused_of_a_chain_beside_its_directory(tmp_path: Path, name: str) -> None:
    """As if its files lay in the directory."""
    lab = chain(tmp_path / "repo")
    mutate, count, reason = CHAIN_MUTATIONS[name]
    mutate(lab)
    _written(lab, "").mkdir(exist_ok=True)
    reused, _ = lab.run()
    assert (reused, lab.reason) == (list(ALL[:count]), reason)
    assert lab.run()[1] == []


def test_what_is_only_read_outside_is_not_seen(tmp_path: Path) -> None:
    """Nor what was there before and has not changed: ``data`` names that."""
    lab = chain(tmp_path / "repo")
    _written(lab, "other.txt").write_text("x")
    assert lab.run(resume=False) == ([], list(ALL))
    _written(lab, "other.txt").write_text("edited")
    assert lab.run() == (list(ALL), [])


def test_a_file_outside_that_is_found_again(tmp_path: Path) -> None:
    """A notebook that computes only what is missing does not write it in the next attempt."""
    lab = chain(tmp_path / "repo")
    lab.notebook(ALL[0], "1  # '../data/a.txt' is there")
    assert lab.run() == ([], list(ALL))
    _written(lab, "a.txt").unlink()
    lab.notebook(ALL[0], "copy('input.csv', '../data/a.txt')")
    assert lab.run()[0] == []
    assert lab.reason == "1-load.ipynb: its code has changed"
    lab.notebook(ALL[0], "1  # '../data/a.txt' is there")
    assert lab.run() == ([], list(ALL))
    _written(lab, "a.txt").unlink()
    assert lab.attempt is not None
    lab.broken = ALL[0]
    assert lab.run() == ([], [ALL[0]])
    assert lab.reason == "../data/a.txt is gone since 1-load.ipynb passed"


def test_a_file_outside_that_a_notebook_removes(tmp_path: Path) -> None:
    """It need not be there for those behind it."""
    lab = chain(tmp_path / "repo")
    lab.notebook(ALL[1], "copy('../data/a.txt', '../data/b.txt'); remove('../data/a.txt')")
    assert lab.run() == (["1-load.ipynb"], list(ALL[1:]))
    assert lab.run() == (list(ALL), [])


def test_declared_outputs_are_all_that_counts(tmp_path: Path) -> None:
    """Also if they were there before and are somewhere that no source names."""
    lab = Lab(root=tmp_path / "repo")
    (lab.root / "far" / "deep").mkdir(parents=True)
    (lab.root / "far" / "deep" / "x.txt").write_text("1")
    lab.toml('[run]\noutputs = ["../../far/**"]\n')
    assert lab.run() == ([], list(ALL))
    assert lab.run() == (list(ALL), [])
    (lab.root / "far" / "deep" / "x.txt").write_text("2")
    assert lab.run() == ([], list(ALL))
    assert lab.reason == "../../far/deep/x.txt has changed since 1-load.ipynb passed"


LUNG = "was written while Lung ran beside it, and "
REMEDY = "declare outputs in experiment.toml"


class Beside:
    """Another experiment, whose notebook runs while the second of a chain does."""

    def __init__(self, lab: Lab, *sources: str) -> None:
        self.lab = lab
        self.writes: list[str] = []
        other = lab.here.parent / "Lung"
        other.mkdir()
        content = json.loads((lab.here / ALL[0]).read_text())
        content["cells"] = [{**content["cells"][0], "source": source} for source in sources]
        (other / "1-x.ipynb").write_text(json.dumps(content))
        settings = Settings(
            rootdir=lab.root, roots=(lab.here.parent,), artifacts=lab.root / ".experiments"
        )
        (self.experiment,) = read_experiments(other, settings)
        self.attempt = Attempt(self.experiment, settings, session="other", env={})
        lab.during = self.run

    def run(self, notebook: str) -> None:
        if notebook == ALL[1]:
            self.attempt.begin(())
            for name in self.writes:
                (self.lab.here / name).write_text("by the other")


@pytest.mark.parametrize(
    ("sources", "writes", "doubt"),
    [
        (["'../data/lung.txt'"], ["../data/lung.txt"], ""),
        (["'../data'", "'lung.txt'"], ["../data/lung.txt"], ""),
        (["'../data'"], [], ""),
        (
            ["'../data/b.txt'"],
            [],
            f"2-fit.ipynb: ../data/b.txt {LUNG}Lung names it too; {REMEDY}",
        ),
        (
            ["1"],
            ["../unnamed.txt"],
            f"2-fit.ipynb: ../unnamed.txt {LUNG}neither it nor Lung names it; {REMEDY}",
        ),
    ],
)
def test_what_another_experiment_writes_meanwhile(
    tmp_path: Path,
    sources: list[str],
    writes: list[str],
    doubt: str,
) -> None:
    """It belongs to who names it most precisely; if that is not known, the notebooks run."""
    lab = chain(tmp_path / "repo")
    Beside(lab, *sources).writes = writes
    assert lab.run(resume=False) == ([], list(ALL))
    for name in writes:
        (lab.here / name).write_text("edited")
    lab.during = None
    reused = lab.run()[0]
    assert (reused, lab.reason) == ((["1-load.ipynb"], doubt) if doubt else (list(ALL), ""))


def test_an_experiment_that_runs_all_the_time(tmp_path: Path) -> None:
    """It has recorded nothing meanwhile, and counts as well; one of another repository does not."""
    lab = chain(tmp_path / "repo")
    other = Beside(lab, "'../data/b.txt'")
    other.attempt.begin(())
    os.utime(lab.checkpoint.with_name("Lung.json"), (1, 1))
    lab.during = None
    for beside, doubt in [
        (("elsewhere",), ""),
        (("Lung",), f"2-fit.ipynb: ../data/b.txt {LUNG}Lung names it too; {REMEDY}"),
    ]:
        lab.beside = beside
        lab.run(resume=False)
        lab.run()
        assert lab.reason == doubt


def test_a_search_that_is_given_up_is_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the outputs are declared."""
    lab = chain(tmp_path / "repo")
    monkeypatch.setattr(written, "Outside", partial(Outside, entries=1))
    lab.run(resume=False)
    assert lab.run() == ([], list(ALL))
    assert lab.reason.startswith("1-load.ipynb: the folders that it names hold more than 1 files, ")
    lab.toml('[run]\noutputs = ["../data/**"]\n')
    lab.run(resume=False)
    assert lab.run() == (list(ALL), [])


def test_what_nobody_names_is_written_alone(tmp_path: Path) -> None:
    """Without another experiment beside it, it belongs to the notebook; a log that is open does not."""
    lab = chain(tmp_path / "repo")
    lab.notebook(
        ALL[1], "copy('../data/a.txt', '../data/b.txt'); write('../' + 'un' + 'named', 'x')"
    )
    with (lab.root / "log.txt").open("w") as log:
        lab.during = lambda _name: print("x", file=log, flush=True)
        lab.run()
    lab.during = None
    (lab.root / "log.txt").write_text("edited")
    assert lab.run() == (list(ALL), [])
    (lab.here.parent / "unnamed").unlink()
    assert lab.run() == (["1-load.ipynb"], list(ALL[1:]))
    assert lab.reason == "../unnamed is gone since 2-fit.ipynb passed"


def test_another_experiment_that_names_a_file_is_told(tmp_path: Path) -> None:
    """Where the content has changed, it may have written it."""
    lab = chain(tmp_path / "repo")
    Beside(lab, "'../data/b.txt'").attempt.begin(())
    lab.during = None
    _written(lab, "b.txt").write_text("edited")
    lab.run()
    assert lab.reason == (
        "../data/b.txt has changed since 2-fit.ipynb passed; experiment Lung may have written it"
    )


def test_what_is_not_asked_for_is_not_reused(lab: Lab) -> None:
    """Without the option all run, and are recorded anew."""
    assert lab.run(resume=False) == ([], list(ALL))
    assert lab.run() == (list(ALL), [])


def test_only_the_last_attempt_counts(lab: Lab) -> None:
    """What passed in the one before it, and has not since, runs."""
    lab.broken = "2-fit.ipynb"
    assert lab.run(resume=False) == ([], list(ALL[:2]))
    lab.broken = ""
    assert lab.run() == (["1-load.ipynb"], list(ALL[1:]))
    assert lab.reason == "2-fit.ipynb: it did not pass in the last attempt"


def test_an_attempt_forgets_before_it_runs(lab: Lab) -> None:
    """One that is killed in its first notebook leaves nothing to reuse."""
    lab.broken = "1-load.ipynb"
    assert lab.run(resume=False) == ([], ["1-load.ipynb"])
    lab.broken = ""
    assert lab.run() == ([], list(ALL))
    assert lab.reason == "1-load.ipynb: it did not pass in the last attempt"


def test_a_failure_is_gone_on_from(lab: Lab) -> None:
    """The notebooks before it are reused, once and again."""
    lab.notebook("2-fit.ipynb", "1 / 0")
    assert lab.run() == (["1-load.ipynb"], ["2-fit.ipynb"])
    assert lab.attempt is not None
    assert lab.attempt.left() == 1
    lab.notebook("2-fit.ipynb", "copy('a.txt', 'b.txt')")
    assert lab.run() == (["1-load.ipynb"], ["2-fit.ipynb", "3-eval.ipynb"])


def test_what_a_failed_notebook_has_changed(lab: Lab) -> None:
    """The notebooks whose files it overwrote run again."""
    lab.notebook("3-eval.ipynb", "write('b.txt', 'broken')\n1 / 0")
    assert lab.run() == (list(ALL[:2]), ["3-eval.ipynb"])
    assert lab.attempt is not None
    assert lab.attempt.left() == 1
    lab.notebook("3-eval.ipynb", "copy('b.txt', 'c.txt')")
    assert lab.run() == (["1-load.ipynb"], ["2-fit.ipynb", "3-eval.ipynb"])
    assert lab.reason == "b.txt has changed since 2-fit.ipynb passed"
    assert (lab.here / "c.txt").read_text() == "4 5 6"


def test_what_a_later_notebook_has_changed(lab: Lab) -> None:
    """It is no fault as long as that notebook is reused as well."""
    lab.notebook("3-eval.ipynb", "write('a.txt', 'from the third')")
    assert lab.run() == (list(ALL[:2]), ["3-eval.ipynb"])
    assert lab.run() == (list(ALL), [])
    lab.notebook("3-eval.ipynb", "write('c.txt', '')")
    assert lab.run() == ([], list(ALL))
    assert lab.reason == "a.txt has changed since 1-load.ipynb passed"


def test_another_version_of_a_distribution(lab: Lab, interpreters: FakeInterpreters) -> None:
    """All run again."""
    interpreters.told = replace(PYTHON, distributions={"numpy": "2.2"})
    assert lab.run() == ([], list(ALL))
    assert lab.reason == "1-load.ipynb: numpy was 2.1 and is now 2.2"


def test_a_python_that_does_not_tell(lab: Lab, interpreters: FakeInterpreters) -> None:
    """A doubt: the notebooks run, now and the next time."""
    interpreters.told = None
    assert lab.run() == ([], list(ALL))
    assert lab.reason.endswith("is mute")
    interpreters.told = PYTHON
    assert lab.run() == ([], list(ALL))
    assert lab.reason.endswith("is mute")
    assert lab.run() == (list(ALL), [])


def test_an_assumed_gpu_does_not_count(lab: Lab) -> None:
    """Whether there is one depends on the machine."""
    resources = read_experiments(lab.here, Settings(rootdir=lab.root, artifacts=lab.root))[0]
    assumed = replace(resources.resources, gpus=1)
    lab.resources = {"resources": assumed, "has_assumed_gpu": True}
    assert lab.run() == (list(ALL), [])


def test_an_experiment_below(lab: Lab) -> None:
    """Its files are its own, until this experiment is told that it is none."""
    below = lab.here / "below"
    below.mkdir()
    (below / "result.txt").write_text("1")
    lab.resources = {"nested": (below,)}
    assert lab.run(resume=False) == ([], list(ALL))
    (below / "result.txt").write_text("2")
    assert lab.run() == (list(ALL), [])
    lab.resources = {}
    lab.run(resume=False)
    (below / "result.txt").write_text("3")
    assert lab.run() == ([], list(ALL))
    assert lab.reason == "below/result.txt has changed since 1-load.ipynb passed"


def test_the_artifacts_within_the_directory(tmp_path: Path) -> None:
    """They are no files of the experiment."""
    lab = Lab(root=tmp_path / "repo")
    settings = Settings(rootdir=lab.root, artifacts=lab.here / "artifacts", resume=True)
    (experiment,) = read_experiments(lab.here, settings)
    attempt = Attempt(experiment, settings, session="1", env={})
    attempt.begin(())
    passed = NotebookResult(name="1-load.ipynb", outcome=NotebookOutcome.PASSED)
    attempt.after(passed, attempt.before(experiment.notebooks[0]))
    (settings.artifacts / "notebooks").mkdir()
    (settings.artifacts / "notebooks" / "x.txt").write_text("x")
    reuse = Attempt(experiment, settings, session="2", env={}).look()
    assert reuse is not None
    assert [step.name for step in reuse.steps] == ["1-load.ipynb"]
    assert set(reuse.steps[0].files) == {"input.csv"}


def test_the_artifacts_within_the_data(lab: Lab) -> None:
    """To name the whole repository is not to name what each run leaves in it."""
    lab.toml('[run]\ndata = ["../.."]\n')
    assert lab.run(resume=False) == ([], list(ALL))
    (lab.checkpoint.parent / "Lung.json").write_text("{}")
    assert lab.run() == (list(ALL), [])


def test_a_second_attempt_of_a_session_starts_afresh(lab: Lab) -> None:
    """So that what is rerun for being flaky runs as a whole."""
    assert lab.run() == (list(ALL), [])
    lab.notebook("3-eval.ipynb", "1 / 0")
    assert lab.run() == (list(ALL[:2]), ["3-eval.ipynb"])
    assert lab.run(new_session=False) == ([], list(ALL))
    assert lab.reason == SAME_SESSION


def test_skipped_notebooks_stay_within_the_prefix(lab: Lab) -> None:
    """They are skipped again, and what is behind them is reused."""
    lab.toml(f'{TOML}[notebooks."2-fit.ipynb"]\nrequires = ["env:NO_SUCH"]\n')
    lab.run()
    assert lab.run() == (["1-load.ipynb", "3-eval.ipynb"], [])


def test_without_a_checkpoint_all_run(tmp_path: Path) -> None:
    """The first time."""
    lab = Lab(root=tmp_path / "repo")
    assert lab.run() == ([], list(ALL))
    assert lab.reason == "no earlier attempt is recorded"


@pytest.mark.parametrize("text", ["", "{", '{"version": 99}', "é", "[]"])
def test_a_damaged_checkpoint_is_none(lab: Lab, text: str) -> None:
    """With a warning; without the option nobody cares."""
    lab.checkpoint.write_text(text, encoding="utf-8")
    assert lab.run() == ([], list(ALL))
    assert lab.reason.startswith("its checkpoint cannot be read: ")
    lab.checkpoint.write_text(text, encoding="utf-8")
    lab.run(resume=False)
    assert lab.attempt is not None
    assert lab.attempt.warnings == []


def test_a_first_notebook_that_failed_is_recorded(tmp_path: Path) -> None:
    """That is no lack of an earlier attempt."""
    lab = Lab(root=tmp_path / "repo", broken=ALL[0])
    assert lab.run(resume=False) == ([], [ALL[0]])
    lab.run()
    assert lab.reason == "1-load.ipynb: it did not pass in the last attempt"


def test_a_checkpoint_that_cannot_be_written_is_a_warning(lab: Lab) -> None:
    """And nothing is promised of the next attempt."""
    lab.checkpoint.unlink()
    lab.checkpoint.mkdir()
    assert lab.run() == ([], list(ALL))
    assert lab.attempt is not None
    assert lab.attempt.left() == 0
    first, second = lab.attempt.warnings
    assert first.startswith(f"{lab.checkpoint}: cannot be read, so nothing is reused: ")
    assert second.startswith(
        f"{lab.checkpoint}: cannot be written, so --experiment-resume can reuse less: "
    )


def test_an_experiment_of_one_name_in_another_directory(lab: Lab) -> None:
    """What is recorded is not its own."""
    moved = lab.root / "experiments2" / "Heart"
    shutil.copytree(lab.here, moved)
    settings = Settings(
        rootdir=lab.root,
        roots=(moved.parent,),
        artifacts=lab.root / ".experiments",
        resume=True,
    )
    (experiment,) = read_experiments(moved, settings)
    assert experiment.name == "Heart"
    reuse = Attempt(experiment, settings, session="x", env={}).look()
    assert reuse is not None
    assert reuse.reason == "no earlier attempt is recorded"


def test_a_repository_that_has_moved(lab: Lab, tmp_path: Path) -> None:
    """With its artifacts; contents count, not paths and times."""
    lab.root.rename(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "copied")
    lab.root = tmp_path / "copied"
    assert lab.run() == (list(ALL), [])


def test_a_file_is_read_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each notebook nor in each run, whether it fails at once, with the option or without it."""
    opened: list[str] = []

    def settled_state(contents: FileContents, path: str, status: os.stat_result) -> FileState:
        opened.append(os.path.relpath(path, lab.root))
        return replace(read(contents, path, status), settled=True)

    read = FileContents._read
    monkeypatch.setattr(FileContents, "_read", settled_state)
    lab.checkpoint.unlink()
    for resume, broken in [
        (False, True),
        (True, True),
        (True, False),
        (False, True),
        (True, False),
    ]:
        lab.broken = "1-load.ipynb" if broken else ""
        assert lab.run(resume=resume) == ([], list(ALL[:1] if broken else ALL))
        assert opened.count("data/raw.csv") == 1
    assert opened.count("experiments/Heart/input.csv") == 1
    assert json.loads(lab.checkpoint.read_text())["known"].keys() == {"../../data/raw.csv"}


def test_reading_stops_with_the_run(lab: Lab) -> None:
    """Large files do not hold a Ctrl-C up."""
    cancellation = Cancellation()
    cancellation.cancel("enough")
    settings = Settings(rootdir=lab.root, artifacts=lab.root / "none", resume=True)
    (experiment,) = read_experiments(lab.here, settings)
    attempt = Attempt(experiment, settings, session="x", env={}, cancellation=cancellation)
    with pytest.raises(ReadingStoppedError):
        attempt.before(experiment.notebooks[0])
    assert attempt.left() == 0


def test_the_executed_copy_is_told_where_it_is_left(lab: Lab) -> None:
    """It is no reason to run again that someone has removed it."""
    executed = lab.root / ".experiments" / "notebooks" / "Heart" / ALL[0]
    executed.parent.mkdir(parents=True)
    executed.touch()
    lab.run()
    assert lab.attempt is not None
    assert lab.attempt.reuse is not None
    told = [lab.attempt.result(step) for step in lab.attempt.reuse.steps]
    assert [each.executed_path for each in told] == [executed, None, None]
    assert [each.duration_s for each in told] == [0, 0, 0]
