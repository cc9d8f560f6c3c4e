"""What notebooks write outside of their directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_nbgroups.core.model import Experiment, Notebook, NotebookOutcome
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.resume.checkpoint import Step
from pytest_nbgroups.resume.file_contents import FileContents
from pytest_nbgroups.resume.written import WrittenFiles


class Repo:
    """An experiment whose one notebook names ``../../data``."""

    def __init__(self, root: Path, outputs: tuple[str, ...] | None = None) -> None:
        self.data = root / "data"
        self.data.mkdir()
        directory = root / "experiments" / "A"
        directory.mkdir(parents=True)
        path = directory / "1.ipynb"
        cells: list[dict[str, object]] = [
            {
                "cell_type": "code",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": "open('../../data/x.csv', 'w')",
            }
        ]
        content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
        path.write_text(json.dumps(content))
        experiment = Experiment(
            name="A", directory=directory, notebooks=(Notebook(path=path),), outputs=outputs
        )
        settings = Settings(
            rootdir=root, roots=(root / "experiments",), artifacts=root / ".experiments"
        )
        self.contents = FileContents()
        self.written = WrittenFiles(experiment, settings, self.contents)

    def files(self) -> tuple[list[str], str]:
        """What belongs to the notebook after it, and the doubt."""
        state = self.written.after("1.ipynb")
        return sorted(state.files), state.doubt


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path)


def test_what_is_named_and_new_belongs_to_it(repo: Repo) -> None:
    """What was there before does not."""
    (repo.data / "old.csv").write_text("old")
    repo.written.before()
    (repo.data / "x.csv").write_text("new")
    assert repo.files() == (["../../data/x.csv"], "")


def test_a_file_that_changes_belongs_to_it(repo: Repo) -> None:
    """Also one that was there; what it removes again is forgotten."""
    path = repo.data / "x.csv"
    path.write_text("old")
    repo.written.before()
    path.write_text("changed")
    assert repo.files() == (["../../data/x.csv"], "")
    path.unlink()
    assert repo.files() == ([], "")


def test_what_an_earlier_attempt_wrote_belongs_to_it(repo: Repo) -> None:
    """Though the notebook finds the file and leaves it as it is."""
    path = repo.data / "x.csv"
    path.write_text("old")
    state = repo.contents.state(str(path))
    files: Mapping[str, object] = {"../../data/x.csv": state, "inside.csv": state}
    step = Step(name="1.ipynb", outcome=NotebookOutcome.PASSED, files=files)  # type: ignore[arg-type]
    repo.written.take_over([step], [])
    repo.written.before()
    assert repo.files() == (["../../data/x.csv"], "")


def test_a_reused_notebook_hands_on_what_it_wrote(repo: Repo) -> None:
    """The state after the next one contains it."""
    path = repo.data / "y.csv"
    path.write_text("old")
    files = {"../../data/y.csv": repo.contents.state(str(path))}
    step = Step(name="0.ipynb", outcome=NotebookOutcome.PASSED, files=files)
    repo.written.take_over([step], [step])
    repo.written.before()
    assert repo.files() == (["../../data/y.csv"], "")


def test_declared_outputs_decide_alone(tmp_path: Path) -> None:
    """A file that neither is declared nor named is none of its own."""
    repo = Repo(tmp_path, outputs=("../../out/*",))
    (tmp_path / "out").mkdir()
    repo.written.before()
    (tmp_path / "out" / "a.csv").write_text("1")
    (tmp_path / "stray.csv").write_text("1")
    assert repo.files() == (["../../out/a.csv"], "")
