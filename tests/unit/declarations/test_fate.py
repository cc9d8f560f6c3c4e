"""Whether an experiment runs, and why not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.model import Experiment, Notebook
from pytest_nbgroups.declarations.environment import environment_of
from pytest_nbgroups.declarations.fate import (
    RUNS,
    Fate,
    declared_fate,
    fails,
    fate_of,
    notebook_skip,
    skipped,
)

_BAD_VALUE = "environment variable 'TOKEN' = 7: expected a name and a text"
_NULL = "environment variable 'TOKEN' = 'a\\x00b': has a null character; remove it"
_ARTIFACTS = Path(".experiments")
_TOO_SMALL = skipped("needs 4 GPUs; this machine has none")


def experiment(**declared: Any) -> Experiment:
    return Experiment(name="x", directory=Path(), notebooks=(), **declared)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, RUNS),
        ({"requires": ("env:TOKEN",)}, skipped("needs the environment variable TOKEN")),
        ({"requires": ("env:TOKEN",), "env": {"TOKEN": "x"}}, RUNS),
        ({"env": {"TOKEN": 7}}, fails(_BAD_VALUE)),
        ({"env": {"TOKEN": "a\0b"}}, fails(_NULL)),
        ({"skip": "needs Docker"}, skipped("needs Docker")),
        ({"problem": "bad TOML", "skip": "needs Docker"}, fails("bad TOML")),
        ({"env": {"TOKEN": 7}, "skip": "needs Docker"}, fails(_BAD_VALUE)),
    ],
)
def test_what_keeps_an_experiment_from_beginning(declared: dict[str, Any], expected: Fate) -> None:
    """What it requires is looked for among its own variables too; a fault counts before a skip."""
    found = experiment(**declared)
    assert fate_of(found, environment_of(found, {}), artifacts=_ARTIFACTS) == expected


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, _TOO_SMALL),
        ({"requires": ("env:TOKEN",)}, _TOO_SMALL),
        ({"skip": "needs Docker"}, skipped("needs Docker")),
        ({"problem": "bad TOML"}, fails("bad TOML")),
    ],
)
def test_what_the_machine_refuses(declared: dict[str, Any], expected: Fate) -> None:
    """The declaration comes first, the machine second, requirements last."""
    fate = fate_of(experiment(**declared), {}, artifacts=_ARTIFACTS, refusal=_TOO_SMALL)
    assert fate == expected


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
@pytest.mark.parametrize("link", ["experiments", "experiments/Heart", "experiments/Heart/1.ipynb"])
@pytest.mark.parametrize("kind", ["notebooks", "logs"])
@pytest.mark.parametrize("own_link", [False, True])
def test_notebooks_among_the_artifacts(
    tmp_path: Path, link: str, kind: str, *, own_link: bool
) -> None:
    """A run replaces what lies there, so it would remove them."""
    there = tmp_path / "scratch" / kind / "Heart"
    there.mkdir(parents=True)
    (there / "1.ipynb").touch()
    artifacts = tmp_path / "scratch"
    if own_link:
        artifacts = tmp_path / ".experiments"
        artifacts.symlink_to("scratch")
    path = tmp_path / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to({"experiments": there.parent, "Heart": there}.get(path.name, there / "1.ipynb"))
    directory = tmp_path / "experiments/Heart"
    notebooks = (Notebook(path=directory / "1.ipynb"),)
    found = Experiment(name="Heart", directory=directory, notebooks=notebooks)
    behind = path if path.suffix else directory
    assert fate_of(found, {}, artifacts=artifacts) == fails(
        f"{behind}: a link leads into the artifacts folder {artifacts}, where a run replaces "
        "notebooks; move them, or name another folder with experiment_artifacts"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_to_other_places(tmp_path: Path) -> None:
    """To another disk, to nowhere and to itself: they are no reason to refuse an experiment."""
    (tmp_path / "disk/Heart").mkdir(parents=True)
    (tmp_path / "experiments").symlink_to("disk")
    directory = tmp_path / "experiments/Heart"
    (directory / "1.ipynb").symlink_to("1.ipynb")
    (directory / "2.ipynb").symlink_to("nowhere.ipynb")
    notebooks = tuple(Notebook(path=directory / name) for name in ("1.ipynb", "2.ipynb"))
    found = Experiment(name="Heart", directory=directory, notebooks=notebooks)
    assert fate_of(found, {}, artifacts=tmp_path / ".experiments") == RUNS


def test_the_declaration_alone() -> None:
    """It is known at collection, before anything is looked for."""
    assert declared_fate(experiment(requires=("env:TOKEN",))).runs
    assert declared_fate(experiment(skip="needs Docker")) == skipped("needs Docker")
    assert declared_fate(experiment(problem="bad TOML", skip="x")) == fails("bad TOML")


def test_how_a_plan_shows_it() -> None:
    """With the word that a run would report."""
    texts = [fate.text for fate in (RUNS, skipped("needs Docker"), fails("bad TOML"))]
    assert texts == ["", "skipped: needs Docker", "fails: bad TOML"]


def test_a_notebook() -> None:
    """Its own reason comes before what it lacks."""
    notebook = Notebook(path=Path("a.ipynb"), requires=("env:TOKEN",))
    assert notebook_skip(notebook, {"TOKEN": "x"}) is None
    assert notebook_skip(notebook, {}) == "needs the environment variable TOKEN"
    assert notebook_skip(Notebook(path=Path("a.ipynb"), skip="slow"), {}) == "slow"
