"""One session record from the records of all shards of a CI matrix."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pytest_nbgroups.core.codec import rebuild
from pytest_nbgroups.core.errors import DataError, NbgroupsError
from pytest_nbgroups.core.identity import session_id
from pytest_nbgroups.reports.conformity import fault, parsed
from pytest_nbgroups.reports.session_schema import SCHEMA_VERSION, SessionDocument, ShardEntry
from pytest_nbgroups.scheduling.sharding import ShardRecord

FILE = "session.json"

_LATEST_S = 2**36
"""Since the epoch: later than a wrong clock shows, and still a date for `time.gmtime`."""
_NAMED = 10

_KEYS = tuple(key.name for key in fields(SessionDocument))
_KEYS_OF_SHARD = tuple(key.name for key in fields(ShardEntry))


@dataclass(frozen=True, kw_only=True)
class ShardSession:
    """The session of one shard."""

    path: Path
    """The file that it was read from."""
    shard: ShardRecord
    data: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{self.path} (shard {self.shard.index}/{self.shard.count})"

    @property
    def experiments(self) -> list[dict[str, Any]]:
        return list(self.data["experiments"])


def read_shard(folder: Path) -> ShardSession:
    """Read the session record in an artifacts folder. Raises NbgroupsError with file and remedy."""
    path = folder / FILE
    try:
        data = parsed(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise NbgroupsError(
            f"{path}: cannot be read: {exc.strerror or exc}; name the artifacts folder of each shard"
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise NbgroupsError(f"{path}: is not JSON: {exc}; run that shard again") from exc
    _check_format(path, data)
    if data["shard"] is None:
        raise NbgroupsError(
            f"{path}: is not the record of a shard; run pytest with --experiment-shard"
        )
    if found := fault(data) or _implausible(data):
        raise _damaged(path, found)
    try:
        shard = rebuild(ShardRecord, data["shard"])
    except DataError as exc:  # 2.0 is an integer for JSON schemas
        raise _damaged(path, f"shard.{exc}") from exc
    return ShardSession(path=path, shard=shard, data=data)


def _damaged(path: Path, reason: str) -> NbgroupsError:
    return NbgroupsError(f"{path}: is damaged: {reason}; run that shard again")


def _check_format(path: Path, data: object) -> None:
    if not isinstance(data, dict) or data.get("schema") != SCHEMA_VERSION:
        raise NbgroupsError(
            f"{path}: is not a session record of schema {SCHEMA_VERSION}; merge with the version of "
            "pytest-nbgroups that ran the shards"
        )
    if missing := [key for key in _KEYS if key not in data]:
        raise NbgroupsError(
            f"{path}: lacks {', '.join(missing)}; use one version of pytest-nbgroups for all shards "
            "and to merge them"
        )


def _implausible(data: dict[str, Any]) -> str | None:
    if not 0 <= data["started_at"] < _LATEST_S:
        return f"started_at: expected seconds since the epoch, got {data['started_at']:.6g}"
    if not all(each["attempts"] for each in data["experiments"]):
        return "experiments: one has no attempts"
    return None


def merge_sessions(sessions: Sequence[ShardSession]) -> dict[str, Any]:
    """Join the records of all shards of one run. Raises NbgroupsError that names all faults."""
    # Between shards of different runs, gaps and doubles mean nothing.
    if problems := list(_disagreements(sessions)) or list(_gaps_and_doubles(sessions)):
        raise NbgroupsError("\n".join(problems))
    return _joined(sorted(sessions, key=lambda session: session.shard.index))


def _disagreements(sessions: Sequence[ShardSession]) -> Iterator[str]:
    """Yield the differences between shards of different runs."""
    first, *others = sessions
    for other in others:
        if reason := _difference(first.shard, other.shard):
            yield f"{first.label} and {other.label} are not of one run: {reason}"


def _difference(one: ShardRecord, other: ShardRecord) -> str | None:
    if one.count != other.count:
        return "they count their shards differently; give all the same N in --experiment-shard I/N"
    if one.weights_digest != other.weights_digest:
        return "their weights differ; give all the same file of --experiment-weights, or none"
    if one.digest != other.digest:
        return (
            "they have split different experiments; run all on one commit with the same arguments"
        )
    return None


def _gaps_and_doubles(sessions: Sequence[ShardSession]) -> Iterator[str]:
    yield from _shards_amiss(sessions)
    yield from _repeated(sessions)
    for session in sessions:
        recorded = {experiment["nodeid"] for experiment in session.experiments}
        for nodeid in session.shard.nodeids:
            if nodeid not in recorded:
                yield f"{nodeid} was not run: {session.label} has no record of it; run that shard again"


def _shards_amiss(sessions: Sequence[ShardSession]) -> Iterator[str]:
    owners: dict[int, ShardSession] = {}
    for session in sessions:
        owner = owners.setdefault(session.shard.index, session)
        if owner is not session:
            yield f"{owner.label} and {session.path} are of one shard; name one of them"
    count = sessions[0].shard.count
    absent = count - sum(index <= count for index in owners)
    if absent:
        named = ", ".join(str(session.path) for session in sessions)
        are = "shard {} is" if absent == 1 else "shards {} are"
        yield f"{are.format(_missing(owners, count, absent))} missing among {named}"


def _missing(present: Collection[int], count: int, absent: int) -> str:
    # A damaged record can claim more shards than there is time to list.
    indices = (index for index in range(1, count + 1) if index not in present)
    named = ", ".join(f"{index}/{count}" for index in itertools.islice(indices, _NAMED))
    return f"{named} and {absent - _NAMED} more" if absent > _NAMED else named


def _repeated(sessions: Sequence[ShardSession]) -> Iterator[str]:
    owners: dict[tuple[str, str], ShardSession] = {}
    for session in sessions:
        for experiment in session.experiments:
            owner = owners.setdefault((experiment["nodeid"], experiment["name"]), session)
            if owner.shard.index != session.shard.index:  # `_shards_amiss` reports a repeated shard
                yield f"{experiment['nodeid']} was run twice: in {owner.label} and in {session.label}"


def _joined(sessions: Sequence[ShardSession]) -> dict[str, Any]:
    records = [session.data for session in sessions]
    started_at = min(record["started_at"] for record in records)
    experiments = [experiment for session in sessions for experiment in session.experiments]
    return {
        # Versions, rootdir and other single values are those of the first shard.
        **{key: records[0][key] for key in _KEYS},
        "id": session_id(started_at, _token(records)),
        "started_at": started_at,
        "finished_at": _highest(record["finished_at"] for record in records),
        "exit_status": _highest(record["exit_status"] for record in records),
        "budget": None,
        "workers": [],
        "warnings": list(dict.fromkeys(w for record in records for w in record["warnings"])),
        "shard": None,
        "shards": [_summary(session) for session in sessions],
        "experiments": sorted(experiments, key=lambda e: e["attempts"][0]["started_at"]),
    }


def _token(records: Iterable[dict[str, Any]]) -> str:
    # Not random: the same shards, merged again, give the same record.
    ids = "\n".join(record["id"] for record in records)
    return hashlib.sha256(ids.encode()).hexdigest()[:6]


def _highest(values: Iterable[Any]) -> Any:  # noqa: ANN401  a number or None
    """Return None if one shard was killed before it could report."""
    given = list(values)
    return None if None in given else max(given)


def _summary(session: ShardSession) -> dict[str, Any]:
    known = {**session.data, **session.data["shard"]}
    return {key: known[key] for key in _KEYS_OF_SHARD}
