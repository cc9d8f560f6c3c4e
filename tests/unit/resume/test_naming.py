"""How precisely an experiment names a path."""

from __future__ import annotations

import sys

import pytest

from pytest_nbgroups.resume.naming import UNNAMED, Names

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")


def names(*texts: str, directory: str = "/repo/experiments/A") -> Names:
    return Names(directory=directory, root="/repo", texts=texts)


def test_the_folders_above() -> None:
    """Up to the rootdir; none for a directory that is it, or lies elsewhere."""
    assert names().parents == ("/repo/experiments", "/repo")
    assert names(directory="/repo").parents == ()
    assert names(directory="/elsewhere/A").parents == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../data/x.csv", {"/repo/experiments/data/x.csv"}),
        ("/repo/data", {"/repo/data"}),
        ("data", {"/repo/experiments/data", "/repo/data"}),
        ("..", set()),
        ("../..", set()),
        ("../../..", set()),
        ("../A/x.csv", set()),
        ("../../../other/x", set()),
        ("/etc/passwd", set()),
    ],
)
def test_what_is_named(text: str, expected: set[str]) -> None:
    """Below the rootdir, and neither in the directory nor a folder above it."""
    assert names(text).exact == expected


def test_beginnings() -> None:
    """Of a folder, or of names in it."""
    found = names("../data/*", "../data/run_*", "../*", "../sum_*").beginnings
    assert found == {
        "/repo/experiments/data/",
        "/repo/experiments/data/run_",
        "/repo/experiments/sum_",
    }


def test_the_more_precise_name_counts() -> None:
    """The file itself, its last part, then the longest beginning."""
    path = "/repo/experiments/data/a_1.csv"
    texts = ["other", "../data", "../data/a_*", "a_1.csv", "../data/a_1.csv"]
    found = [names(text).precision(path) for text in texts]
    assert found[0] == UNNAMED
    assert found == sorted(set(found))


def test_a_folder_does_not_name_its_neighbours() -> None:
    """Of which the names begin alike."""
    assert names("../data").precision("/repo/experiments/data2/x") == UNNAMED
    assert names("../data").precision("/repo/experiments/data/deep/x") > UNNAMED
