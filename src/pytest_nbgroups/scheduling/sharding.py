"""Split of experiments over several machines: the same on each, without communication. Pure."""

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
"""The weight of every experiment where the weights file has none at all."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """Facts of the split in a shard's record, to merge shards and find gaps."""

    index: Position
    """The number of the shard, from 1."""
    count: Position
    """How many shards there are."""
    digest: str
    """SHA-256 of the experiments that were selected, of all shards, and where each runs: shards of one
    run agree on it."""
    weights_digest: str | None
    """SHA-256 of the weights; None if a hash decided."""
    total: Count
    """How many experiments all shards have together."""
    nodeids: tuple[str, ...]
    """The pytest node ids of the experiments of this shard, sorted."""


def assign(
    nodeids: Iterable[str],
    count: int,
    weights: Mapping[str, float] | None,
    *,
    unit_of: Callable[[str], str],
) -> dict[str, int]:
    """The shard, from 1, of each experiment. Those of one unit are never parted.

    Without weights a hash of the unit decides, so that a new experiment moves no other. With weights,
    in seconds by node id, the longest unit goes first, each to the shard that has least to do.
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
    return int.from_bytes(hashlib.sha256(_bytes(unit)).digest()) % count + 1


def _loads(units: Mapping[str, Iterable[str]], weights: Mapping[str, float]) -> dict[str, int]:
    """Milliseconds of each unit. Whole ones: a sum of floats depends on its order."""
    known = {nodeid: _milliseconds(weight) for nodeid, weight in weights.items()}
    usual = statistics.median_low(known.values()) if known else _UNKNOWN_MS
    return {
        unit: sum(known.get(nodeid, usual) for nodeid in members) for unit, members in units.items()
    }


def _milliseconds(seconds: float) -> int:
    """At least one, or all that take no time would go to one shard."""
    return max(1, round(seconds * 1000))


def _balanced(loads: Mapping[str, int], count: int) -> dict[str, int]:
    """Longest first, each to the shard with the least; what is equal goes by name and number."""
    shards: dict[str, int] = {}
    least = [(0, index) for index in range(1, min(count, len(loads)) + 1)]
    for unit in sorted(loads, key=lambda unit: (-loads[unit], unit)):
        load, index = least[0]
        shards[unit] = index
        heapq.heapreplace(least, (load + loads[unit], index))
    return shards


def shard_record(shard: Shard, assignment: Mapping[str, int]) -> ShardRecord:
    """Sum up the experiments that were selected, and their machines."""
    return ShardRecord(
        index=shard.index,
        count=shard.count,
        digest=_digest([shard.count, sorted(assignment.items())]),
        weights_digest=None if shard.weights is None else weights_digest(shard.weights),
        total=len(assignment),
        nodeids=tuple(sorted(n for n, index in assignment.items() if index == shard.index)),
    )


def weights_digest(weights: Mapping[str, float]) -> str:
    """Distinguishes two weights files if they could split experiments in two ways."""
    return _digest(sorted((nodeid, _milliseconds(w)) for nodeid, w in weights.items()))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _bytes(text: str) -> bytes:
    """A file name that is no valid UTF-8 has halves of surrogate pairs in its node id."""
    return text.encode("utf-8", errors="surrogatepass")
