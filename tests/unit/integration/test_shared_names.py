"""Names that would share artifacts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pytest_nbgroups.core.model import Experiment, Notebook
from pytest_nbgroups.integration.shared_names import find_ignores_case, shared_names


def made(name: str, *notebooks: str, folder: str = "experiments") -> tuple[str, Experiment]:
    """An experiment, with its node id."""
    directory = Path("/nowhere", folder, name)
    experiment = Experiment(
        name=name,
        directory=directory,
        notebooks=tuple(Notebook(path=directory / notebook) for notebook in notebooks),
    )
    return f"{folder}/{name}::notebooks", experiment


OVERWRITE = "so their artifacts would overwrite each other; rename one of the two"
ALIKE = "differ in case only, which the filesystem of the artifacts ignores"


def test_twins_share_artifacts_where_case_is_ignored() -> None:
    """Experiments and notebooks: the second of two is told of the first."""
    pair = [
        made("Heart", "1.ipynb"),
        made("heart", "1.ipynb"),
        made("Lung", "1-A.ipynb", "1-a.ipynb"),
    ]
    assert list(shared_names(dict(pair), ignores_case=False)) == []
    assert list(shared_names(dict(pair), ignores_case=True)) == [
        (
            "experiments/heart::notebooks",
            f"its name 'heart' and that of experiments/Heart::notebooks, 'Heart', {ALIKE}, {OVERWRITE}",
        ),
        (
            "experiments/Lung::notebooks",
            f"its notebooks 1-A.ipynb and 1-a.ipynb {ALIKE}, {OVERWRITE}",
        ),
    ]


@pytest.mark.parametrize("ignores_case", [True, False])
def test_one_name_in_two_roots(*, ignores_case: bool) -> None:
    """It is a problem everywhere."""
    pair = [made("A", folder="studies"), made("A")]
    assert list(shared_names(dict(pair), ignores_case=ignores_case)) == [
        (
            "experiments/A::notebooks",
            f"its name 'A' is also that of studies/A::notebooks, {OVERWRITE}",
        )
    ]


def test_one_directory_under_two_names(tmp_path: Path) -> None:
    """A link to an experiment is none of its own."""
    _, first = made("A")
    (tmp_path / "A").mkdir()
    (tmp_path / "B").symlink_to("A", target_is_directory=True)
    both = [
        (name, dataclasses.replace(first, name=name, directory=tmp_path / name)) for name in "AB"
    ]
    assert list(shared_names(dict(both), ignores_case=True)) == [
        ("B", "its directory is that of A, by a link; a directory is run once")
    ]


def test_whether_a_filesystem_ignores_case(tmp_path: Path) -> None:
    """Its own answer, also for a folder that is not there yet."""
    folder = tmp_path / "Folder"
    folder.mkdir()
    ignores = (tmp_path / "fOLDER").exists()
    assert find_ignores_case(folder) == ignores
    assert find_ignores_case(folder / "not" / "there") == ignores
    (tmp_path / "fOLDER").mkdir(exist_ok=True)
    assert find_ignores_case(folder) == ignores
    assert not find_ignores_case(Path("/"))


def test_a_filesystem_that_ignores_case(tmp_path: Path) -> None:
    """Made up by a link: the folder is found in other letters."""
    (tmp_path / "Folder").mkdir()
    if not (tmp_path / "fOLDER").exists():
        (tmp_path / "fOLDER").symlink_to("Folder", target_is_directory=True)
    assert find_ignores_case(tmp_path / "Folder")
