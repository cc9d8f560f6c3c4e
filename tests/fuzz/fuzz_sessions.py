"""Targets that read what earlier sessions left behind, or other machines."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3  # noqa: TID253  to change the files
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from fuzz_inputs import BUDGET, damaged, json_files, scalars, written
from hypothesis import strategies as st
from report_samples import result

from pytest_nbgroups.__main__ import main
from pytest_nbgroups.core.errors import CheckpointError, HistoryError
from pytest_nbgroups.core.events import ExperimentFinished
from pytest_nbgroups.core.model import NotebookOutcome
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.settings import Shard
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.merge_databases import merge_histories
from pytest_nbgroups.history.store import Session, open_history
from pytest_nbgroups.history.tables import TABLES
from pytest_nbgroups.reports.record import SessionRecord
from pytest_nbgroups.reports.session_file import SessionMetadata, session_dict
from pytest_nbgroups.reports.session_schema import session_schema
from pytest_nbgroups.resume.checkpoint import (
    Checkpoint,
    FileState,
    Fingerprint,
    Planned,
    Step,
    reusable,
)
from pytest_nbgroups.resume.checkpoint_codec import decode, encode
from pytest_nbgroups.resume.file_contents import FileContents, absolute
from pytest_nbgroups.scheduling.needs import SlowStart, need_of
from pytest_nbgroups.scheduling.sharding import shard_record


@cache
def _records() -> tuple[Any, ...]:
    split = {"experiments/A::notebooks": 1, "experiments/B::notebooks": 2}
    return tuple(_record(index, split) for index in (1, 2))


def _record(index: int, split: dict[str, int]) -> Any:
    record = SessionRecord()
    ran = result("failed", name="AB"[index - 1], started_at=1000.0)
    event = ExperimentFinished(experiment=ran.name, at=2000.0, result=ran)
    record.add(event, worker="gw0", nodeid=f"experiments/{ran.name}::notebooks")
    metadata = SessionMetadata(
        id=f"session-{index}",
        pytest_version="9",
        plugin_version="1",
        python_version="3",
        argv=("x",),
        rootdir=Path("/repo"),
        started_at=1000.0,
        finished_at=2000.0,
        exit_status=1,
        budget=BUDGET,
        shard=shard_record(Shard(index=index, count=2), split),
    )
    return json.loads(json.dumps(session_dict(record, metadata)))


@cache
def _checkpoint() -> Any:
    state = FileState(size=1, mtime_ns=2, ctime_ns=3, inode=4, sha256="5", settled=True)
    steps = (
        Step(
            name="1.ipynb",
            outcome=NotebookOutcome.PASSED,
            kernel="python3",
            fingerprint=_FINGERPRINT,
            files={"a.csv": state},
        ),
        Step(name="2.ipynb", outcome=NotebookOutcome.SKIPPED, reason="why"),
        Step(name="3.ipynb", outcome=NotebookOutcome.PASSED, fingerprint=_FINGERPRINT),
    )
    recorded = Checkpoint(directory="../A", session="s", steps=steps, known={"../b": state})
    return json.loads(encode(recorded))


_FINGERPRINT = Fingerprint(
    code="c",
    tags="t",
    kernel="python3",
    kernelspec="k",
    resources={"cpus": "2"},
    env={"A": "1"},
    interpreter="CPython 3.13.1 in /usr",
    distributions={"numpy": "2.1"},
    data={"../b": "5"},
)


def checkpoint_file(content: bytes, folder: Path) -> str:
    """Refused; or read, and then compared with what is there, told of, and written again."""
    try:
        recorded = decode(content.decode("ascii"))
    except (UnicodeDecodeError, CheckpointError) as exc:
        return str(exc)
    contents = FileContents()
    contents.know(str(folder), recorded.known)
    planned = [Planned(name=step.name, fingerprint=_FINGERPRINT) for step in recorded.steps]
    reuse = reusable(recorded, planned, lambda path: contents.content(absolute(str(folder), path)))
    assert reuse.text(len(planned), "reuses")
    assert decode(encode(recorded)) == recorded
    return ""


def session_file(content: bytes, folder: Path) -> str:
    """Merged with that of another shard: a record as the schema says, or lines that name a file."""
    for number, each in enumerate([content, json.dumps(_records()[1]).encode()]):
        (folder / str(number)).mkdir()
        written(folder / str(number) / "session.json", each)
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(["merge", str(folder / "0"), str(folder / "1"), f"--output={folder / 'out'}"])
    told = stderr.getvalue()
    assert not set(told) & set("\x1b\x9b\x85\u202e")
    if code:
        assert code == 1
        assert str(folder) in told or "was not run" in told
        return told
    merged = json.loads((folder / "out" / "session.json").read_text())
    jsonschema.validate(merged, session_schema())
    return ""


@cache
def _history() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        _write_history(Path(name), number=1)
        return Path(name, "history.sqlite").read_bytes()


def _session(number: int) -> Session:
    machine = Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=2**35)
    return Session(
        id=f"s{number}",
        started_at=1000.0 * number,
        machine=machine,
        plugin_version="1",
        python_version="3",
    )


def _write_history(folder: Path, *, number: int) -> tuple[str, ...]:
    session = _session(number)
    with open_history(folder, session, lock_timeout_s=1.0) as history:
        for estimate in history.estimates(session.machine.kind).values():
            need = need_of(Resources(), estimate, BUDGET, SlowStart(default_bytes=2))
            assert 0 <= need.ram_bytes <= BUDGET.ram_bytes
            assert format_duration(estimate.duration_s or 0)
        for name in ("A", "B"):
            history.record_experiment(result("failed", name=name), nodeid=f"{name}::notebooks")
    return history.warnings


def history_file(content: bytes, folder: Path) -> str:
    """A session goes on with it, or tells in a warning why not; and it can be merged, or is named."""
    written(folder / "history.sqlite", content)
    warnings = _write_history(folder, number=2)
    assert all(str(folder) in warning for warning in warnings)
    written(folder / "other.sqlite", content)
    try:
        merge_histories(folder / "merged.sqlite", [folder / "other.sqlite"])
    except HistoryError as exc:
        assert str(folder) in str(exc)
        return "\n".join([*warnings, str(exc)])
    return "\n".join(warnings)


def history_rows(changes: list[tuple[str, str, Any]], folder: Path) -> str:
    """As with a damaged file: values that no session ever wrote, in a file that is whole."""
    path = written(folder / "changed.sqlite", _history())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for table, column, value in changes:
            with contextlib.suppress(sqlite3.IntegrityError, OverflowError, UnicodeEncodeError):
                connection.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608
    return history_file(path.read_bytes(), folder)


_columns = st.sampled_from([(table.name, name) for table in TABLES for name in table.column_names])
_row_changes = st.lists(
    st.tuples(_columns, scalars | st.binary(max_size=4)).map(lambda each: (*each[0], each[1])),
    max_size=4,
)

SESSION_TARGETS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "session.json": (st.deferred(lambda: json_files(_records()[:1])), session_file),
    "checkpoint": (st.deferred(lambda: json_files([_checkpoint()])), checkpoint_file),
    "history.sqlite": (st.deferred(lambda: damaged(_history())), history_file),
    "rows of a history": (_row_changes, history_rows),
}
