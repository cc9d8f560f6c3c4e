"""The JSON schema of ``session.json``, from which its documentation is made."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any

from pytest_nbgroups.core.model import ExperimentOutcome, FailureKind, NotebookOutcome
from pytest_nbgroups.core.resources import RamSource

SCHEMA_VERSION = 1
"""Raised when a key is removed or changes its meaning; a new key does not raise it."""

TRACEBACK_LIMIT = 20_000
"""How many characters are kept of a traceback, from its beginning and its end."""

_TIME = "in seconds since the epoch"
_INSIDE = "relative to the rootdir, with forward slashes, where it lies inside"


def _of(kind: str, description: str, **more: object) -> dict[str, Any]:
    return {"description": description, "type": kind, **more}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


def _object(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return _of("object", description, properties=properties, required=list(properties))


def _list(description: str, items: dict[str, Any]) -> dict[str, Any]:
    return _of("array", description, items=items)


def _choice(description: str, choices: Iterable[str]) -> dict[str, Any]:
    return _of("string", description, enum=[str(choice) for choice in choices])


def _flag(description: str) -> dict[str, Any]:
    return _of("boolean", description)


def _text(description: str) -> dict[str, Any]:
    return _of("string", description)


def _number(description: str) -> dict[str, Any]:
    return _of("number", description)


def _count(description: str, minimum: int = 0) -> dict[str, Any]:
    return _of("integer", description, minimum=minimum)


_CELL = _object(
    "The cell where it failed.",
    {
        "number": _count("Its position among all cells of the notebook, from 1.", 1),
        "count": _count("How many cells the notebook has.", 1),
        "source": _text("Its text."),
        "execution_count": _or_null(_count("The number in its prompt, `In [3]`.")),
        "line": _or_null(_count("The line of `source` that failed, from 1.", 1)),
    },
)

_FAILURE = _object(
    "Why it failed; null where it did not.",
    {
        "kind": _choice("What kind of failure it is.", FailureKind),
        "message": _text("What went wrong."),
        "cell": _or_null(_CELL),
        "traceback": _text(
            "The traceback, or the last lines of the kernel's log where the kernel died; of one of "
            f"more than {TRACEBACK_LIMIT:,} characters, the beginning and the end."
        ),
        "output": _text("The last lines that the cell printed."),
        "evidence": _list(
            "What was seen that tells of the cause, where processes died.", _text("One fact.")
        ),
        "remedy": _text("What to do about it; may be empty."),
    },
)

_USAGE = _object(
    "What was used; null where nothing ran or nothing could be measured.",
    {
        "peak_bytes": _count("The most RAM of a kernel and all below it, shared pages once."),
        "is_upper_bound": _flag("Whether the true peak may be lower: shared pages count often."),
        "cpu_s": _number("CPU time, in seconds."),
        "gpu_bytes": _or_null(
            _count("The most that was held of the memory of one GPU; null where nothing can tell.")
        ),
    },
)

_LEASE = _object(
    "What the run held; null where it held nothing or ended without telling.",
    {
        "cpus": _number("CPUs reserved."),
        "ram_bytes": _count("RAM reserved."),
        "ram_source": _choice("What the reserved RAM rests on.", typing.get_args(RamSource)),
        "gpus": _list("The GPUs that it saw.", _text("A UUID, as in `budget`.")),
        "gpu_share_bytes": _or_null(
            _count("The share of the GPU's memory that it held; null for whole GPUs and for none.")
        ),
        "locks": _list("The locks that it held.", _text("The name of a lock.")),
        "exclusive": _flag("Whether no other experiment ran beside it on the machine."),
        "granted_at": _number(f"When it was granted, {_TIME}."),
        "released_at": _or_null(_number(f"When it was released, {_TIME}; null while it is held.")),
        "waited_s": _number("How long it was waited for before, in seconds."),
        "waited_for": _text("What was lacking at first, and who held that; may be empty."),
        "notes": _list("Remarks on the lease.", _text("One remark.")),
    },
)

_ESTIMATE = _object(
    "What history expected of the run when it started; null where nothing was known.",
    {
        "runs": _count("How many earlier runs it rests on."),
        "duration_s": _or_null(_number("From lease to release, in seconds.")),
        "peak_bytes": _or_null(_count("The most RAM.")),
        "cpus": _or_null(_number("CPUs kept busy on average.")),
        "gpu_bytes": _or_null(_count("The most of the memory of one GPU; 0 for none.")),
    },
)

_NOTEBOOK = _object(
    "What became of one notebook.",
    {
        "name": _text("Its file name."),
        "outcome": _choice("What became of it.", NotebookOutcome),
        "reason": _or_null(_text("Why it was skipped.")),
        "duration_s": _number("How long it took, in seconds."),
        "kernel": _or_null(_text("The name of its kernel; null where none was chosen.")),
        "plain_start": _or_null(
            _text("Why its kernel was started plainly; null where it was forked or never came up.")
        ),
        "cells_total": _count("How many cells it has, those that are not code included."),
        "cells_executed": _count("How many cells ran to their end."),
        "executed_path": _or_null(_text(f"The notebook as executed, {_INSIDE}.")),
        "log_path": _or_null(_text(f"What its kernel printed outside of cells, {_INSIDE}.")),
        "usage": _or_null(_USAGE),
        "failure": _or_null(_FAILURE),
    },
)

_ATTEMPT = _object(
    "One run of the experiment.",
    {
        "worker": _or_null(_text("The pytest-xdist worker; null without workers.")),
        "started_at": _number(f"When it started, {_TIME}."),
        "finished_at": _number(f"When it was over, {_TIME}."),
        "duration_s": _number("How long it took, in seconds."),
        "outcome": _choice("What became of it.", ExperimentOutcome),
        "reason": _or_null(_text("Why it did not pass, in one line; null where it did.")),
        "reuse": _or_null(
            _text("What `--experiment-resume` reused and why not more; null without the option.")
        ),
        "failure": _or_null(
            {**_FAILURE, "description": "A failure of the experiment as a whole, else null."}
        ),
        "notebooks": _list("Its notebooks in order; none is missing.", _NOTEBOOK),
        "warnings": _list("What could not be saved.", _text("One warning.")),
        "lease": _or_null(_LEASE),
        "usage": _or_null(
            {
                **_USAGE,
                "description": "Of all its notebooks: highest peaks, sum of CPU time, or null.",
            }
        ),
        "estimate": _or_null(_ESTIMATE),
    },
)

_EXPERIMENT = _object(
    "One experiment that ran.",
    {
        "name": _text("Its name, by which patterns and artifacts know it."),
        "nodeid": _text(
            "Its pytest node id, or that of the test that ran it, which may have run several."
        ),
        "directory": _text(f"Its directory, {_INSIDE}."),
        "outcome": _choice("What became of its last attempt.", ExperimentOutcome),
        "reason": _or_null(_text("Why the last attempt did not pass; null where it did.")),
        "attempts": _list("Its runs, oldest first: more than one where it was rerun.", _ATTEMPT),
    },
)

_GPU = _object(
    "One GPU or MIG device.",
    {
        "uuid": _text("Its identity."),
        "index": _count("Its NVML index."),
        "name": _text("Its model."),
        "total_bytes": _count("Its memory."),
        "free_bytes": _count("Its free memory at the start of the session."),
        "utilization": _number("0 to 1; 0 where it is not known."),
        "unified": _flag("Whether its memory is the host's RAM."),
        "usable": _flag("Whether its compute mode lets programs use it."),
        "parent_uuid": _or_null(_text("For a MIG device, the GPU that it is a part of.")),
    },
)

_BUDGET = _object(
    "The part of the machine that the session may use; null where it was not determined.",
    {
        "cpus": _number("CPUs that the session may use."),
        "cpus_source": _text("Where this number comes from."),
        "cpu_domain": _text("What the CPUs belong to: sessions of one domain share them."),
        "ram_bytes": _count("RAM that the session may use."),
        "ram_capacity_bytes": _count("RAM that there is in all."),
        "ram_source": _text("Where this number comes from."),
        "ram_is_size": _flag(
            "Whether a size was asked for, which what other processes use does not reduce."
        ),
        "ram_domain": _text("What the RAM belongs to: sessions of one domain share it."),
        "gpus": _list("GPUs that the session may use.", _GPU),
        "gpus_reason": _text("Why there are none."),
        "notes": _list("Remarks on the budget.", _text("One remark.")),
    },
)

_SHARD = _object(
    "Which part of the experiments it ran; null without `--experiment-shard`.",
    {
        "index": _count("The number of the shard.", 1),
        "count": _count("How many shards there are.", 1),
        "digest": _text(
            "SHA-256 of the experiments that were selected, of all shards, and where each runs: "
            "shards of one run agree on it."
        ),
        "weights_digest": _or_null(_text("SHA-256 of the weights; null where a hash decided.")),
        "total": _count("How many experiments all shards have together."),
        "nodeids": _list("The experiments of this shard.", _text("A pytest node id.")),
    },
)

_MERGED = _object(
    "The session of one shard.",
    {
        "index": _count("The number of the shard.", 1),
        "id": _text("Names its session."),
        "argv": _list("Its command line.", _text("One argument.")),
        "rootdir": _text("The rootdir on its machine."),
        "started_at": _number(f"When it started, {_TIME}."),
        "finished_at": _or_null(_number(f"When it ended, {_TIME}; null where it was killed.")),
        "exit_status": _or_null(
            _of("integer", "What pytest exited with; null where it was killed.")
        ),
        "budget": _or_null(_BUDGET),
        "workers": _list("Its workers.", _text("One worker.")),
        "nodeids": _list("Its experiments.", _text("A pytest node id.")),
    },
)

SESSION_SCHEMA: typing.Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "pytest-nbgroups session",
    **_object(
        "The record of one pytest session that ran experiments.",
        {
            "schema": _of(
                "integer",
                "Version of this format: raised when a key is removed or changes its meaning.",
                const=SCHEMA_VERSION,
            ),
            "id": _text("Names the session: the time of its start in UTC, and random digits."),
            "pytest_version": _text("The version of pytest."),
            "plugin_version": _text("The version of pytest-nbgroups."),
            "python_version": _text("The version of Python that ran pytest."),
            "argv": _list("The command line of pytest.", _text("One argument.")),
            "rootdir": _text("The rootdir of pytest."),
            "started_at": _number(f"When the session started, {_TIME}."),
            "finished_at": _or_null(_number(f"When it ended, {_TIME}; null while it lasts.")),
            "exit_status": _or_null(
                _of("integer", "What pytest exited with; null while it lasts.")
            ),
            "budget": _or_null(_BUDGET),
            "workers": _list(
                "The pytest-xdist workers that ran experiments, replacements for crashed ones "
                "included; empty without.",
                _text("One worker."),
            ),
            "warnings": _list("What the session warned of.", _text("One warning.")),
            "shard": _or_null(_SHARD),
            "shards": _list(
                "The sessions of which a merged record is made; empty in that of a single session.",
                _MERGED,
            ),
            "experiments": _list(
                "The experiments that ran, in the order in which they started.", _EXPERIMENT
            ),
        },
    ),
}
