"""Split of experiments among machines. All compute the same split without communication. Pure."""

from __future__ import annotations

import hashlib
import heapq
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pytest_nbgroups.core.codec import Count, Position
from pytest_nbgroups.core.settings import Shard

ORDINARY = 1
"""The shard that runs the tests that belong to no experiment."""

_UNKNOWN_MS = 1000
"""The weight of every experiment if the weights file has no weights."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """Record of a shard and of the split, used to merge shards and to find gaps."""

    index: Position
    """The number of the shard, from 1."""
    count: Position
    """Number of shards."""
    digest: str
    """SHA-256 of the selected experiments of all shards, with their shards: equal in all shards of a run."""
    weights_digest: str | None
    """SHA-256 of the weights; None if a hash of the names decided."""
    total: Count
    """Number of experiments in all shards together."""
    nodeids: tuple[str, ...]
    """The pytest node ids of the experiments of this shard, sorted."""


def assign(
    nodeids: Iterable[str],
    count: int,
    weights: Mapping[str, float] | None,
    *,
    unit_of: Callable[[str], str],
) -> dict[str, int]:
    """Return the shard, from 1, of each experiment. A unit is never split.

    Without weights a hash of the unit decides, so that a new experiment moves no other. With
    weights, in seconds by node id, the longest unit goes first, each to the least loaded shard.
    """
    units: dict[str, list[str]] = {}
    for nodeid in dict.fromkeys(nodeids):
        units.setdefault(unit_of(nodeid), []).append(nodeid)
    if weights is None:
        shards = {unit: _hashed(unit, count) for unit in units}
    else:
        shards = _balanced(_loads(units, weights), count)
    return {nodeid: shards[unit] for unit, members in units.items() for nodeid in members}


def _hashed(unit: str, count: int) -> int:
    # A file name that is not valid UTF-8 puts lone surrogates into a node id.
    name = unit.encode("utf-8", errors="surrogatepass")
    return int.from_bytes(hashlib.sha256(name).digest()) % count + 1


def _loads(units: Mapping[str, Iterable[str]], weights: Mapping[str, float]) -> dict[str, int]:
    """Return the milliseconds of each unit. Integers: a sum of floats depends on its order."""
    known = {nodeid: _milliseconds(weight) for nodeid, weight in weights.items()}
    usual = statistics.median_low(known.values()) if known else _UNKNOWN_MS
    return {
        unit: sum(known.get(nodeid, usual) for nodeid in members) for unit, members in units.items()
    }


def _milliseconds(seconds: float) -> int:
    """Round to at least 1: otherwise all experiments without a duration would go to one shard."""
    return max(1, round(seconds * 1000))


def _balanced(loads: Mapping[str, int], count: int) -> dict[str, int]:
    """Assign the longest first, each to the least loaded shard; ties go by name and number."""
    shards: dict[str, int] = {}
    least = [(0, index) for index in range(1, min(count, len(loads)) + 1)]
    for unit in sorted(loads, key=lambda unit: (-loads[unit], unit)):
        load, index = least[0]
        shards[unit] = index
        heapq.heapreplace(least, (load + loads[unit], index))
    return shards


def shard_record(shard: Shard, assignment: Mapping[str, int]) -> ShardRecord:
    """Summarize the selected experiments and their shards."""
    return ShardRecord(
        index=shard.index,
        count=shard.count,
        digest=_digest([shard.count, sorted(assignment.items())]),
        weights_digest=None if shard.weights is None else weights_digest(shard.weights),
        total=len(assignment),
        nodeids=tuple(sorted(n for n, index in assignment.items() if index == shard.index)),
    )


def weights_digest(weights: Mapping[str, float]) -> str:
    """Return a digest that differs if two weights files could split experiments differently."""
    return _digest(sorted((nodeid, _milliseconds(w)) for nodeid, w in weights.items()))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
