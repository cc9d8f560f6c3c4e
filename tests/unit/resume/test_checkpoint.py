"""What of an earlier attempt is reused, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from checkpoint_samples import FINGERPRINT, step
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.model import NotebookOutcome
from pytest_nbgroups.resume.checkpoint import (
    Checkpoint,
    Planned,
    Reuse,
    Step,
    changes,
    reusable,
)


def skipped(name: str, reason: str) -> Step:
    return step(name, outcome=NotebookOutcome.SKIPPED, reason=reason, fingerprint=None)


def planned(name: str, **changes: Any) -> Planned:
    return Planned(name=name, **{"fingerprint": FINGERPRINT, **changes})


def choose(*steps: Step, now: list[Planned] | None = None, files: str = "") -> tuple[int, str]:
    """How many notebooks are reused, and why not more."""
    there = dict(pair.split("=") for pair in files.split())
    recorded = Checkpoint(directory="x", session="s", steps=steps)
    todo = [planned(each.name) for each in steps] if now is None else now
    reuse = reusable(recorded, todo, there.get)
    return len(reuse.steps), reuse.reason


def test_all_that_is_as_it_was_is_reused() -> None:
    """Also with files that came later."""
    assert choose(step("1", "a=1"), step("2", "a=1 b=2"), files="a=1 b=2 c=3") == (2, "")


def test_what_did_not_pass_runs() -> None:
    """It is not recorded at all."""
    now = [planned("1"), planned("2"), planned("3")]
    assert choose(step("1"), now=now) == (1, "2: it did not pass in the last attempt")
    assert choose(now=now) == (0, "1: it did not pass in the last attempt")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("a=1 b=2 c=3", (3, "")),
        ("a=1 b=2", (2, "c is gone since 3 passed")),
        ("a=1 b=2 c=9", (2, "c has changed since 3 passed")),
        ("a=1 b=9 c=3", (1, "b has changed since 2 passed")),
        ("a=9 b=2 c=3", (0, "a has changed since 1 passed")),
        ("a=1 b=2 c=", (2, "c cannot be read")),
    ],
)
def test_a_file_that_has_changed(files: str, expected: tuple[int, str]) -> None:
    """No prefix that contains it is reused; the reason is that of the first notebook to run."""
    assert (
        choose(step("1", "a=1"), step("2", "a=1 b=2"), step("3", "a=1 b=2 c=3"), files=files)
        == expected
    )


def test_another_experiment_may_have_written_a_file() -> None:
    """It is named as the one that may; who has removed a file is another question."""
    recorded = Checkpoint(directory="x", session="s", steps=(step("1", "../a=1 ../b=1"),))
    for there, reason in [
        ({"../a": "9", "../b": "1"}, "../a has changed since 1 passed; Lung may have written it"),
        ({"../a": "1", "../b": "9"}, "../b has changed since 1 passed"),
        ({"../b": "1"}, "../a is gone since 1 passed"),
    ]:
        suspect = {"../a": "Lung", "../b": ""}.__getitem__
        reuse = reusable(recorded, iter([planned("1")]), there.get, suspect=suspect)
        assert reuse.reason == reason


def test_what_a_later_notebook_overwrote() -> None:
    """The prefix before it does not stand, the one with it does."""
    steps = step("1", "a=1"), step("2", "a=2")
    assert choose(*steps, files="a=2") == (2, "")
    changed = [planned("1"), planned("2", fingerprint=replace(FINGERPRINT, code="new"))]
    assert choose(*steps, now=changed, files="a=2") == (0, "a has changed since 1 passed")


def test_what_a_later_notebook_removed() -> None:
    """It need not be there for the prefix with that notebook."""
    assert choose(step("1", "a=1"), step("2"), files="") == (2, "")


def test_another_notebook_in_its_place() -> None:
    """Renamed, added or moved: from there on all run."""
    now = [planned("1"), planned("new"), planned("2")]
    expected = (1, "new: in the last attempt 2 was in its place")
    assert choose(step("1"), step("2"), now=now) == expected


def test_a_notebook_less_at_the_end() -> None:
    """What is left is as it was."""
    assert choose(step("1"), step("2"), now=[planned("1")]) == (1, "")


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        (skipped("1", "Docker"), planned("1", skip="Docker"), (1, "")),
        (
            skipped("1", "Docker"),
            planned("1", skip="GPU"),
            (0, "1: the reason for skipping it has changed"),
        ),
        (skipped("1", "Docker"), planned("1"), (0, "1: it was skipped in the last attempt")),
        (
            step("1"),
            planned("1", skip="Docker"),
            (0, "1: it passed in the last attempt and is skipped now"),
        ),
    ],
)
def test_skipped_notebooks(then: Step, now: Planned, expected: tuple[int, str]) -> None:
    """They belong to a prefix where they are skipped for the same reason as then."""
    assert choose(then, now=[now]) == expected


@pytest.mark.parametrize(
    ("then", "now", "reason"),
    [
        (step("1", fingerprint=None, doubt="then"), planned("1"), "1: then"),
        (step("1"), planned("1", fingerprint=None, doubt="now"), "1: now"),
        (step("1", fingerprint=None), planned("1"), "1: its dependencies are not known"),
        (step("1", doubt="pipe cannot be read"), planned("1"), "1: pipe cannot be read"),
    ],
)
def test_a_doubt_runs_the_notebook(then: Step, now: Planned, reason: str) -> None:
    """Whether it was one then or is one now."""
    assert choose(then, now=[now]) == (0, reason)


def test_no_more_is_read_than_needed() -> None:
    """What comes behind the first that differs is not even looked at."""

    def notebooks() -> Iterator[Planned]:
        yield planned("1")
        yield planned("2", fingerprint=replace(FINGERPRINT, tags="new"))
        raise AssertionError("the third is of no use")

    recorded = Checkpoint(directory="x", session="s", steps=(step("1"), step("2"), step("3")))
    reuse = reusable(recorded, notebooks(), lambda _path: None)
    assert reuse.reason == "2: the tags of its cells have changed"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"code": "x"}, "its code has changed"),
        ({"tags": "x"}, "the tags of its cells have changed"),
        ({"kernel": "ir", "kernelspec": "x"}, "its kernel was python3 and is now ir"),
        ({"kernelspec": "x"}, "the kernelspec of python3 has changed"),
        ({"resources": {}}, "[resources] cpus is gone"),
        ({"env": {"A": "2"}}, "the variable A has changed"),
        (
            {"env": {"B": "", "C": "", "D": "", "E": ""}},
            "the variable A is gone, the variable B is new, the variable C is new and 2 more",
        ),
        (
            {"interpreter": "CPython 3.14.0 in /usr"},
            "its interpreter was CPython 3.13.1 in /usr and is now CPython 3.14.0 in /usr",
        ),
        ({"interpreter": ""}, "its interpreter was CPython 3.13.1 in /usr and is now none"),
        (
            {"distributions": {"numpy": "2.2", "scipy": "1"}},
            "mine is no longer installed, numpy was 2.1 and is now 2.2, scipy 1 has been installed",
        ),
        (
            {"distributions": {"numpy": "2.1", "mine": "0.1 cd34"}},
            "mine 0.1 has been installed from elsewhere",
        ),
        ({"data": {"../x.csv": "new"}}, "data: ../x.csv has changed"),
        ({"data": {}}, "data: ../x.csv is gone"),
    ],
)
def test_what_has_changed(change: Mapping[str, Any], sentence: str) -> None:
    """Each part of a fingerprint is told by name."""
    assert list(changes(FINGERPRINT, replace(FINGERPRINT, **change))) == [sentence]
    assert not list(changes(FINGERPRINT, FINGERPRINT))


@pytest.mark.parametrize(
    ("reuse", "count", "text"),
    [
        (Reuse(steps=(step("1"), step("2"))), 2, "reuses all its notebooks"),
        (Reuse(steps=(step("1"),)), 1, "reuses its notebook"),
        (Reuse(steps=(step("1"),), reason="why"), 3, "reuses 1 of 3 notebooks (why)"),
        (Reuse(steps=(skipped("1", "x"),), reason="why"), 3, "reuses nothing (why)"),
        (Reuse(reason="why"), 3, "reuses nothing (why)"),
    ],
)
def test_how_it_is_told(reuse: Reuse, count: int, text: str) -> None:
    """In the plan, and with another verb in the table."""
    assert reuse.text(count, "reuses") == text


CONTENTS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"))


@given(st.lists(CONTENTS, max_size=5), CONTENTS, st.integers(0, 5))
def test_the_longest_prefix_that_stands_is_reused(
    after: list[dict[str, str]], now: dict[str, str], changed: int
) -> None:
    """Whatever the notebooks wrote, and whichever of them has changed."""
    steps = [
        step(str(number), files=" ".join(f"{name}={text}" for name, text in files.items()))
        for number, files in enumerate(after)
    ]
    other = replace(FINGERPRINT, code="new")
    todo = [
        planned(each.name, fingerprint=other if number == changed else FINGERPRINT)
        for number, each in enumerate(steps)
    ]
    there = " ".join(f"{name}={text}" for name, text in now.items())
    standing = [
        count
        for count in range(1, min(len(after), changed) + 1)
        if after[count - 1].items() <= now.items()
    ]
    count, reason = choose(*steps, now=todo, files=there)
    assert count == max(standing, default=0)
    assert (reason == "") == (count == len(steps))
