from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.errors import SelectionError
from pytest_nbgroups.declarations.ordering import natural_key, select

digits = st.text("0123456789\u0660\u0661\u0662\uff13\uff14\uff15", min_size=1, max_size=5)
names = st.lists(digits | st.text(max_size=4), max_size=5).map("".join)
directories = st.lists(names, unique=True, max_size=8)


def test_natural_order() -> None:
    """Step 10 comes after step 9, at any place in the name."""
    shuffled = ["10-c.ipynb", "2-b.ipynb", "0-a.ipynb", "2-b10.ipynb", "2-b9.ipynb", "1-x.ipynb"]
    assert select(shuffled).names == (
        "0-a.ipynb",
        "1-x.ipynb",
        "2-b.ipynb",
        "2-b9.ipynb",
        "2-b10.ipynb",
        "10-c.ipynb",
    )


def test_ties_have_an_order() -> None:
    """Names that differ in leading zeros or in case alone never change places."""
    assert select(["1-a.ipynb", "01-a.ipynb"]).names == ("01-a.ipynb", "1-a.ipynb")
    assert select(["a.ipynb", "A.ipynb"]).names == ("A.ipynb", "a.ipynb")


def test_case_does_not_matter() -> None:
    """People do not think of capitals as coming first."""
    assert select(["b.ipynb", "C.ipynb", "a.ipynb"]).names == ("a.ipynb", "b.ipynb", "C.ipynb")


def test_composed_and_decomposed_letters_sort_alike() -> None:
    """One name may be written in two ways, as macOS and Linux do."""
    assert natural_key("e\u0301-1")[0] == natural_key("\u00e9-1")[0]


@given(directories)
def test_natural_order_is_total(directory: list[str]) -> None:
    """Any two different names have an order."""
    keys = sorted(natural_key(name) for name in directory)
    assert all(first < second for first, second in pairwise(keys))


@given(directories.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_order_does_not_depend_on_the_listing(listings: tuple[list[str], list[str]]) -> None:
    """File systems list directories in any order."""
    first, second = listings
    assert select(first) == select(second)
    assert sorted(select(first).names) == sorted(first)


@given(st.lists(st.tuples(digits, st.sampled_from(["-a", "-B", " é", ".x", ""])), unique=True))
def test_numbered_names_run_in_the_order_of_their_numbers(parts: list[tuple[str, str]]) -> None:
    """Whatever digits people write, and however many of them."""
    ordered = select(f"{number}{rest}.ipynb" for number, rest in parts).names
    numbers = [int(re.match(r"\d+", name)[0]) for name in ordered]  # type: ignore[index]
    assert numbers == sorted(numbers)


def test_lexicographic_order() -> None:
    """What plain sorting gives, for those who rely on it."""
    assert select(["2-b", "10-a", "B", "a"], mode="lexicographic").names == (
        "10-a",
        "2-b",
        "B",
        "a",
    )


def test_orders_that_differ_are_told() -> None:
    """Someone who expects the other order learns of it, and at which notebook."""
    natural = select(["2-b.ipynb", "10-a.ipynb", "1-x.ipynb"])
    assert natural.notes == (
        "runs in natural order: '2-b.ipynb', not '10-a.ipynb' as in lexicographic order",
    )
    plain = select(["2-b.ipynb", "10-a.ipynb", "1-x.ipynb"], mode="lexicographic")
    assert plain.notes == (
        "runs in lexicographic order: '10-a.ipynb', not '2-b.ipynb' as in natural order",
    )


def test_names_without_numbers_are_told() -> None:
    """Their order is likely to be an accident."""
    assert select(["plot.ipynb", "load.ipynb", "1-x.ipynb"]).notes == (
        (
            "2 notebooks have no numeric prefix ('load.ipynb', 'plot.ipynb'); "
            "their order is alphabetical, set order in experiment.toml to fix it"
        ),
    )
    many = select([f"{letter}.ipynb" for letter in "abcdef"]).notes
    assert "6 notebooks have no numeric prefix ('a.ipynb', 'b.ipynb', 'c.ipynb', 'd.ipynb' and 2 more)" in many[0]  # fmt: skip


@pytest.mark.parametrize("directory", [[], ["a"], ["1-a", "2-b"], ["intro", "1-a"]])
def test_plain_cases_need_no_note(directory: list[str]) -> None:
    """Notes are for what may surprise."""
    assert select(directory).notes == ()


def test_independent_notebooks_and_an_explicit_order_need_no_note() -> None:
    """Where there is no order, or the user has set it, none can surprise."""
    directory = ["b", "a", "2-b", "10-a"]
    assert select(directory, independent=True).notes == ()
    assert select(directory, order=directory).notes == ()


def test_explicit_order() -> None:
    """It names every notebook, and nothing else is looked at."""
    assert select(["a", "b", "c"], order=["c", "a", "b"], mode="lexicographic").names == (
        "c",
        "a",
        "b",
    )
    assert select([], order=[]).names == ()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["1", "2", "3"], "order names '3', which is not in the directory; it has '1', '2'"),
        (["1", "2", "1"], "order names '1' twice; name each notebook once"),
        (["1"], "order leaves out '2'; add it, or list it under exclude with a reason"),
        ([], "order leaves out '1', '2'; add it, or list it under exclude with a reason"),
        (
            ["1", "2", "x"],
            "order names 'x', which is also under exclude (draft); remove it from one of them",
        ),
    ],
)
def test_a_wrong_order_is_named(order: list[str], message: str) -> None:
    """The message names the notebook and what to do."""
    with pytest.raises(SelectionError, match=f"^{re.escape(message)}$"):
        select(["1", "2", "x"], order=order, exclude={"x": "draft"})


def test_an_order_for_an_empty_directory_is_named() -> None:
    """A list of nothing reads as such."""
    with pytest.raises(SelectionError, match=r"it has none$"):
        select([], order=["1"])


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("scratch*.ipynb", {"scratch-1.ipynb", "scratch.ipynb"}),
        ("?.ipynb", {"a.ipynb"}),
        ("[ab].ipynb", {"a.ipynb"}),
        ("[[]old] a.ipynb", {"[old] a.ipynb"}),
        ("[old] a.ipynb", {"[old] a.ipynb"}),
        ("SCRATCH*", set()),
        ("*", {"a.ipynb", "scratch.ipynb", "scratch-1.ipynb", "[old] a.ipynb", "new\nline.ipynb"}),
        ("*line*", {"new\nline.ipynb"}),
        ("[", set()),
    ],
)
def test_exclude_patterns(pattern: str, left_out: set[str]) -> None:
    """Shell patterns, in which case matters; a file's own name always means that file."""
    found = ["a.ipynb", "scratch.ipynb", "scratch-1.ipynb", "[old] a.ipynb", "new\nline.ipynb"]
    selection = select(found, exclude={pattern: "why"})
    assert selection.excluded == dict.fromkeys(sorted(left_out, key=found.index), "why")
    assert set(selection.names) == set(found) - left_out


def test_the_last_matching_pattern_gives_the_reason() -> None:
    """In a joined table the one of higher precedence comes last."""
    assert select(["a1"], exclude={"a*": "all", "a1": "this"}).excluded == {"a1": "this"}
