"""Texts in notebooks that may be paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.hints.paths import path_texts


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open('../data/x.csv', 'w')", ["../data/x.csv"]),
        ('ROOT / "data" / "x.csv"', ["data", "x.csv"]),
        ('f"../data/{name}.csv"', ["../data/*"]),
        ("f'../data/run_{i}/x.csv'", ["../data/run_*"]),
        ('f"{folder}/x.csv"', []),
        ('glob("../data/*.csv")', ["../data/*"]),
        ('"../data/%03d.csv" % i', ["../data/*"]),
        ('r"..\\data\\x.csv"', ["../data/x.csv"]),
        ("write.csv(d, '../out/a.csv')  # R", ["../out/a.csv"]),
        ("!python ../make.py --out ../data && ls", ["../make.py", "../data"]),
        ("x = 1\n%cd ../data\n", ["../data"]),
        ("%%bash\nmkdir -p ../data/new\ncp a.txt ../data\n", ["../data/new", "../data"]),
        ("requests.get('https://example.org/a/b')", []),
        ("print('Hello, world! (again)')", []),
        ("x = 'unfinished", []),
        ("a / b", []),
        ("ratio = total/count", []),
        ("\n %%bash\ncp a.txt ../data/x\n", ["../data/x"]),
    ],
)
def test_what_is_found(source: str, expected: list[str]) -> None:
    """Literals of any language, the known beginning of formats, and the words of commands."""
    assert [t for t in path_texts([source]) if len(t) > 1] == expected


def test_each_is_found_once_and_not_without_end() -> None:
    """A notebook that is a table has thousands of texts."""
    assert path_texts(["'../a' '../b'", "'../a'"]) == ("../a", "../b")
    assert len(path_texts(f"'word{number}'" for number in range(9000))) == 2000


@given(st.lists(st.text()))
def test_no_source_is_refused(sources: list[str]) -> None:
    """Whatever stands in a cell."""
    assert all(path_texts(sources))
