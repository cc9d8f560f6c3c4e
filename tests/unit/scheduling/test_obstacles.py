"""How the reason of a wait reads, and when it is new."""

from __future__ import annotations

from typing import Any

import pytest
from machines import need

from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.scheduling.obstacles import Obstacle, describe, is_same_reason


def claim(experiment: str, **known: Any) -> Claim:
    return Claim(**{"need": need(), "experiment": experiment, "session": "s", **known})


def test_a_line_names_lack_holders_and_queue() -> None:
    """In the order: what is lacking and how much, who has it, who is before it."""
    obstacle = Obstacle(
        lacking="needs 8GB of RAM",
        detail="3 GiB are free",
        blockers=(claim("Lung", pid=42, user="ada", since=940.0),),
        ahead=(claim("Brain", since=400.0), claim("Spine")),
    )
    assert describe(obstacle, now=1000.0) == (
        "needs 8GB of RAM, 3 GiB are free; held by Lung (pid 42, ada, 1min); "
        "Brain (10min) and Spine are before it in the queue"
    )


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, "E0"),
        (2, "E0 and E1"),
        (3, "E0, E1 and E2"),
        (4, "E0, E1, E2 and 1 more"),
        (9, "E0, E1, E2 and 6 more"),
    ],
)
def test_many_holders_are_counted(count: int, names: str) -> None:
    """Three are named."""
    blockers = tuple(claim(f"E{number}") for number in range(count))
    line = describe(Obstacle(lacking="needs 1 gpu", blockers=blockers), now=0)
    assert line == f"needs 1 gpu; held by {names}"


def test_one_before_it_is_singular() -> None:
    """The relation to the others is as the obstacle gives it."""
    obstacle = Obstacle(
        lacking="x", blockers=(claim("A"),), ahead=(claim("B"),), relation="waits for"
    )
    assert describe(obstacle, now=0) == "x; waits for A; B is before it in the queue"


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (-5, "0s"),
        (59.4, "59s"),
        (59.6, "1min"),
        (3599, "59min"),
        (3600, "1h00min"),
        (11_100, "3h05min"),
    ],
)
def test_ages_are_coarse(seconds: float, age: str) -> None:
    """A clock that was set back makes no negative age."""
    line = describe(Obstacle(lacking="x", blockers=(claim("A", since=1e9),)), now=1e9 + seconds)
    assert line == f"x; held by A ({age})"


def test_tickets_of_others_draw_nothing() -> None:
    """A ticket may hold anything: neither escapes nor a second line reach the terminal."""
    evil = claim("\x1b[31mLung\nsecond", user="ada\x07\n::error::")
    line = describe(Obstacle(lacking="x", blockers=(evil,)), now=0)
    assert line.isprintable()
    assert "second" not in line
    assert "::error::" not in line


def test_the_reason_is_new_if_others_hold_it() -> None:
    """Numbers and ages are no news; another lack, experiment, session or process is."""
    first = Obstacle(lacking="x", detail="1 GiB", blockers=(claim("A", pid=1, since=1.0),))
    same = Obstacle(lacking="x", detail="2 GiB", blockers=(claim("A", pid=1, since=9.0),))
    assert is_same_reason(first, same)
    for other in (claim("B", pid=1), claim("A", pid=2), claim("A", pid=1, session="t")):
        assert not is_same_reason(first, Obstacle(lacking="x", blockers=(other,)))
    assert not is_same_reason(first, Obstacle(lacking="y", blockers=first.blockers))


def test_the_queue_counts_only_without_holders() -> None:
    """Who waits before it changes with each grant, so it is told only if nobody holds the thing."""
    held = Obstacle(lacking="x", blockers=(claim("A"),), ahead=(claim("B"),))
    assert is_same_reason(held, Obstacle(lacking="x", blockers=(claim("A"),)))
    queued = Obstacle(lacking="x", ahead=(claim("B"),))
    assert not is_same_reason(queued, Obstacle(lacking="x", ahead=(claim("C"),)))
