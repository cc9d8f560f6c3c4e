"""How our options are taken from the arguments of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.integration.options import command_line
from pytest_nbgroups.integration.options.table import RUN

OURS = {"--experiment-ram", "--experiment-cpus", RUN}


@pytest.mark.parametrize(
    ("args", "taken", "others"),
    [
        (["-x", RUN, "a"], [RUN], ["-x", "a"]),
        (["--experiment-ram", "4GB", "a"], ["--experiment-ram", "4GB"], ["a"]),
        (["--experiment-ram=4GB", "a"], ["--experiment-ram=4GB"], ["a"]),
        (["--experiment-ram", "-x"], ["--experiment-ram"], ["-x"]),
        (["--experiment-ram"], ["--experiment-ram"], []),
        ([RUN, "4GB"], [RUN], ["4GB"]),
        (["a", "--", RUN], [], ["a", "--", RUN]),
        (["--experiment-rambo", "1"], [], ["--experiment-rambo", "1"]),
        (["--experiment-gpus", "1"], [], ["--experiment-gpus", "1"]),
    ],
)
def test_options_are_parted_from_the_rest(
    args: list[str], taken: list[str], others: list[str]
) -> None:
    """With their values; a switch has none, and behind ``--`` there are only paths."""
    assert command_line._split(args, OURS) == (taken, others)


@given(st.lists(st.sampled_from([*sorted(OURS), "-x", "a", "4GB", "--experiment-ram=1", "--", ""])))
def test_no_argument_is_lost(args: list[str]) -> None:
    """Each goes to one side, in its order."""
    taken, others = command_line._split(args, OURS)
    assert sorted(taken + others) == sorted(args)
    rest = iter(args)
    assert all(any(argument == each for each in rest) for argument in others)


@pytest.mark.parametrize(
    ("value", "means_yes"),
    [
        (True, True),
        (False, False),
        (None, False),
        ("", False),
        (" No ", False),
        ("OFF", False),
        ("0", False),
        ("1", True),
        ("fast", True),
        (0, False),
        ([], False),
        (["a"], True),
    ],
)
def test_what_a_projects_own_switch_means(value: object, *, means_yes: bool) -> None:
    """A project may have a ``--run-experiments`` with any kind of value."""
    assert command_line._means_yes(value) is means_yes


def test_files_of_arguments(tmp_path: Path) -> None:
    """One with an option of ours is put in its place, also within another; others are pytest's."""
    inner, outer, theirs = (tmp_path / name for name in ("inner", "outer", "theirs"))
    inner.write_text(f"{RUN}\n-q\n")
    outer.write_text(f"--experiment-ram\n4GB\n@{inner}\n")
    theirs.write_text("-x\n")
    args = ["a", f"@{outer}", f"@{theirs}", f"@{tmp_path / 'gone'}"]
    assert command_line._expanded(args) == [
        "a",
        "--experiment-ram",
        "4GB",
        RUN,
        "-q",
        f"@{theirs}",
        f"@{tmp_path / 'gone'}",
    ]
