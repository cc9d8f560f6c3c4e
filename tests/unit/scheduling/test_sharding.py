"""Which shard runs what: the same on every machine, with nothing lost and nothing twice."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.settings import Shard
from pytest_nbgroups.scheduling.sharding import assign, shard_record, weights_digest

LETTERS = [f"experiments/{letter}::notebooks" for letter in "ABCDEFGH"]

nodeids = st.lists(st.text(max_size=12) | st.sampled_from(["\udcff", "a/b", "ä"]), max_size=20)
seconds = st.integers(0, 99) | st.floats(0, 2**31, exclude_max=True)


def split(
    names: list[str], count: int, weights: Mapping[str, float] | None = None
) -> dict[str, int]:
    """The split where each experiment is a unit of its own."""
    return assign(names, count, weights, unit_of=str)


def loads(weights: Mapping[str, int], count: int) -> list[int]:
    """What each shard has to do, in seconds."""
    shards = split(list(weights), count, weights)
    return [sum(w for n, w in weights.items() if shards[n] == i) for i in range(1, count + 1)]


@given(nodeids, st.integers(1, 30), st.none() | st.dictionaries(st.text(max_size=3), seconds))
def test_each_is_in_one_shard(
    names: list[str], count: int, weights: dict[str, float] | None
) -> None:
    """The shards of any number are a partition, whatever the weights file knows."""
    found = split(names, count, weights)
    assert found.keys() == set(names)
    assert all(1 <= shard <= count for shard in found.values())


@given(nodeids, st.integers(1, 9), st.sampled_from(["a hash", "weights"]), st.randoms())
def test_the_order_of_collection_does_not_matter(
    names: list[str], count: int, decides: str, chance: random.Random
) -> None:
    """Nor that of the weights file; file systems list folders in orders of their own."""
    weights = {name: len(name) % 3 + 0.1 for name in names} if decides == "weights" else None
    shuffled = chance.sample(names, len(names))
    turned = None if weights is None else {n: weights[n] for n in shuffled}
    assert split(shuffled, count, turned) == split(names, count, weights)
    assert split([*names, *shuffled[1:]], count, weights) == split(names, count, weights)


@given(nodeids, st.text(max_size=12), st.integers(1, 9))
def test_a_new_experiment_moves_no_other(names: list[str], new: str, count: int) -> None:
    """Without weights each is placed by itself."""
    before, after = split(names, count), split([*names, new], count)
    assert {name: after[name] for name in names} == before


def test_the_split_is_what_it_always_was() -> None:
    """It depends on nothing that differs between machines or versions, such as ``hash()``."""
    assert list(split(LETTERS, 3).values()) == [1, 1, 2, 3, 1, 2, 1, 2]
    weights = dict(zip(LETTERS[:6], [5, 4, 3, 3, 0.0005, 4], strict=True))
    assert list(split(LETTERS, 3, weights).values()) == [1, 2, 2, 3, 3, 3, 1, 2]


def test_many_are_spread_evenly() -> None:
    """The hash favours no shard."""
    counts = Counter(split([f"experiments/{n}::notebooks" for n in range(3000)], 4).values())
    assert all(690 < counts[shard] < 810 for shard in range(1, 5))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 3))
def test_weights_balance(durations: list[int], count: int) -> None:
    """Never above (4/3 - 1/3N) of the best that there is, which is found by trying all."""
    weights = {f"{n:02}": duration for n, duration in enumerate(durations)}
    best = min(
        max(sum(d for d, s in zip(durations, of, strict=True) if s == shard) for shard in of)
        for of in itertools.product(range(count), repeat=len(durations))
    )
    assert 3 * count * max(loads(weights, count)) <= (4 * count - 1) * best


def test_longest_first() -> None:
    """Taken as they come, the long one at the end would make one shard twice as long."""
    assert loads(dict(zip("abcde", [2, 2, 2, 3, 6], strict=True)), 2) == [8, 7]


def test_what_the_file_does_not_know_weighs_as_the_median() -> None:
    """So a new experiment, of which nothing is known, upsets the balance least."""
    weights = {"a": 1, "b": 4, "c": 30}
    assert split(["new", *weights], 2, weights) == {"c": 1, "b": 2, "new": 2, "a": 2}
    assert split(["new", "b", "d"], 2, {**weights, "d": 4.5}) == {"d": 1, "b": 2, "new": 2}


def test_an_empty_file_balances_numbers() -> None:
    """As does one in which all take no time."""
    for weights in ({}, dict.fromkeys(LETTERS, 0)):
        assert Counter(split(LETTERS, 4, weights).values()) == {1: 2, 2: 2, 3: 2, 4: 2}


def test_more_shards_than_experiments() -> None:
    """The rest has nothing to do; a mistyped number of shards costs no memory."""
    assert sorted(split(LETTERS, 10**12, {}).values()) == list(range(1, 9))


@pytest.mark.parametrize("weights", [None, {"A": 1.0, "B": 2.5, "A/in": 2.0}])
def test_units_stay_together(weights: dict[str, float] | None) -> None:
    """Their weights add up."""
    names = ["A", "A/in", "B", "C"]
    found = assign(names, 3, weights, unit_of=lambda name: name[0])
    assert found["A"] == found["A/in"] == split(["A"], 3)["A"] if weights is None else 1
    if weights is not None:
        assert found == {"A": 1, "A/in": 1, "B": 2, "C": 3}


def test_the_record_of_a_shard() -> None:
    """It has the shard's own experiments, and what all shards agree on."""
    one, two = (
        shard_record(Shard(index=i, count=2, weights={"b": 1.5}), {"b": 2, "a": 1, "c": 2})
        for i in (1, 2)
    )
    assert (one.index, one.count, one.total, one.nodeids) == (1, 2, 3, ("a",))
    assert two.nodeids == ("b", "c")
    assert one.digest == two.digest
    assert one.weights_digest == two.weights_digest == weights_digest({"b": 1.5})
    assert shard_record(Shard(index=1, count=2), {}).weights_digest is None


@pytest.mark.parametrize(
    ("count", "assignment"), [(3, {"a": 1, "b": 2}), (2, {"a": 1, "b": 1}), (2, {"a": 1})]
)
def test_another_split_has_another_digest(count: int, assignment: dict[str, int]) -> None:
    """Whatever differs: the number of shards, the place of an experiment, the experiments."""
    same = shard_record(Shard(index=1, count=2), {"b": 2, "a": 1})
    assert same.digest == shard_record(Shard(index=2, count=2), {"a": 1, "b": 2}).digest
    assert shard_record(Shard(index=1, count=count), assignment).digest != same.digest


def test_the_digest_of_weights() -> None:
    """Order and what is below a millisecond cannot change the split."""
    assert weights_digest({"a": 1, "b": 2}) == weights_digest({"b": 2.0001, "a": 1.0})
    assert weights_digest({"a": 1, "b": 2}) != weights_digest({"a": 1, "b": 2.1})
