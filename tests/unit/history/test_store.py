from __future__ import annotations

import sqlite3  # noqa: TID253  to damage a file
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from report_samples import (
    NODEID,
    failed,
    notebook_finished,
    passed,
    result,
    results,
    reused,
    started,
    unrun,
)

from pytest_nbgroups.core.events import CellStarted, ExperimentFinished
from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult, NotebookOutcome
from pytest_nbgroups.core.resources import Estimate, Lease, Need, Usage
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.statements import SESSIONS_KEPT
from pytest_nbgroups.history.store import History, StoredAttempt

Opening = Callable[..., AbstractContextManager[History]]
Ask = Callable[..., list[tuple[Any, ...]]]

KIND = "Xeon, 8 cpus, 32 GiB"
RAN = {NotebookOutcome.PASSED, NotebookOutcome.FAILED, NotebookOutcome.INTERRUPTED}
OTHER = Machine(cpu_model="EPYC", cpus=8.0, ram_bytes=2**35)
GB = 10**9

LEASE = Lease(
    need=Need(cpus=2.0, ram_bytes=4 * GB, ram_source="declared", gpus=1, gpu_share_bytes=GB),
    gpus=("GPU-1",),
    waited_s=3.5,
)


def used(peak: int, **changes: Any) -> Usage:
    return Usage(**{"peak_bytes": peak, "cpu_s": 10.0, "gpu_bytes": 0, **changes})


def finished(of: ExperimentResult) -> ExperimentFinished:
    return ExperimentFinished(experiment=of.name, at=of.started_at + of.duration_s, result=of)


def test_an_experiment_is_recorded(opening: Opening, ask: Ask) -> None:
    """With its lease, its usage, its notebooks, and the session and machine that it belongs to."""
    of = result(
        "failed",
        lease=LEASE,
        notebooks=(passed(usage=used(5)), failed(usage=used(9, is_upper_bound=True)), unrun()),
    )
    with opening() as history:
        history.record_experiment(of, nodeid=NODEID, worker="gw1")
    assert ask("SELECT kind, cpu_model, cpus, ram_bytes, gpus FROM machines") == [
        (KIND, "Xeon", 8.0, 2**35, "")
    ]
    ((session, started_at, finished_at, *versions),) = ask("SELECT * FROM sessions")
    assert (session, started_at, versions) == ("session-1", 1000.0, ["1.0", "3.11.7"])
    assert finished_at > started_at
    assert ask(
        "SELECT session_id, name, nodeid, worker, started_at, outcome, is_complete, duration_s, "
        "notebooks FROM experiments"
    ) == [("session-1", "Heart", NODEID, "gw1", 1000.0, "failed", 0, 74.214, 3)]
    assert ask(
        "SELECT cpus, ram_bytes, ram_source, gpus, gpu_share_bytes, waited_s FROM experiments"
    ) == [(2.0, 4 * GB, "declared", 1, GB, 3.5)]
    assert ask("SELECT peak_bytes, is_upper_bound, cpu_s, gpu_bytes FROM experiments") == [
        (9, 1, 20.0, 0)
    ]
    assert ask("SELECT * FROM notebooks ORDER BY position") == [
        (1, 1, "1-load.ipynb", "passed", 3.214, 5, 0, 10.0, 0),
        (1, 2, "2-fit.ipynb", "failed", 71.0, 9, 1, 10.0, 0),
        (1, 3, "3-eval.ipynb", "not_run", 0.0, None, None, None, None),
    ]


def test_what_was_not_measured_is_null(opening: Opening, ask: Ask) -> None:
    """Without a lease and without usage."""
    with opening() as history:
        history.record_experiment(result("passed"), nodeid=NODEID)
    assert ask("SELECT cpus, gpus, peak_bytes, is_upper_bound, cpu_s FROM experiments") == [
        (None,) * 5
    ]


def test_a_killed_session_leaves_what_had_finished(opening: Opening, ask: Ask) -> None:
    """Notebooks are there before their experiment has ended, and so is what it took so far."""
    with opening() as history:
        history.receive(started(), nodeid=NODEID, worker="gw1")
        for number, peak in ((1, 9), (2, 5)):
            event = notebook_finished(number, 1000.0 + number, passed(usage=used(peak)))
            history.receive(event, nodeid=NODEID, worker="gw1")
            assert ask("SELECT max(position) FROM notebooks") == [(number,)]
        assert ask(
            "SELECT name, nodeid, worker, started_at, outcome, is_complete, duration_s, peak_bytes, "
            "is_upper_bound, cpu_s, gpu_bytes FROM experiments"
        ) == [("Heart", NODEID, "gw1", 1000.0, None, 0, 2.0, 9, 0, 20.0, 0)]
        assert ask("SELECT finished_at FROM sessions") == [(None,)]
        assert history.estimates(KIND)["Heart"].peak_bytes == 9


def test_an_attempt_is_one_row(opening: Opening, ask: Ask) -> None:
    """Its notebooks come one by one, then all of them with its end."""
    with opening() as history:
        history.receive(started(), nodeid=NODEID)
        history.receive(notebook_finished(1, 1003.0, passed()), nodeid=NODEID)
        history.receive(finished(result("passed")), nodeid=NODEID)
    assert ask("SELECT outcome, is_complete FROM experiments") == [("passed", 1)]
    assert ask("SELECT position FROM notebooks") == [(1,), (2,), (3,)]


def test_each_attempt_has_its_notebooks(opening: Opening, ask: Ask) -> None:
    """One that is started again is another row, also where the first never ended."""
    with opening() as history:
        for at in (1000.0, 2000.0):
            history.receive(started(at), nodeid=NODEID)
            history.receive(notebook_finished(1, at + 3, passed()), nodeid=NODEID)
    assert ask(
        "SELECT started_at, n.name FROM experiments e JOIN notebooks n ON n.experiment_id = e.id"
    ) == [(1000.0, "1-load.ipynb"), (2000.0, "1-load.ipynb")]


def test_a_changed_outcome_replaces_the_first(opening: Opening, ask: Ask) -> None:
    """A worker that dies after its experiment has passed makes it fail after all."""
    with opening() as history:
        history.record_experiment(result("passed"), nodeid=NODEID)
        history.record_experiment(result("failed"), nodeid=NODEID)
    assert ask("SELECT outcome, is_complete FROM experiments") == [("failed", 0)]


def test_what_tells_nothing_is_not_recorded(opening: Opening, folder: Path) -> None:
    """Skipped experiments, other events, and notebooks of a run that nobody has seen start."""
    cell = CellStarted(experiment="Heart", at=1.0, notebook="a.ipynb", number=1, count=2)
    with opening() as history:
        history.record_experiment(result("skipped"), nodeid=NODEID)
        history.receive(cell, nodeid=NODEID)
        history.receive(notebook_finished(1, 1003.0, passed()), nodeid=NODEID)
        assert history.estimates(KIND) == {}
    assert not folder.exists()
    assert history.warnings == history.notes == ()


@pytest.mark.parametrize(
    ("outcome", "notebooks", "complete"),
    [
        ("passed", (passed(),), 1),
        ("passed", (passed(), passed(outcome=NotebookOutcome.SKIPPED)), 1),
        ("passed", (passed(), passed(outcome=NotebookOutcome.REUSED)), 0),
        ("failed", (passed(),), 0),
        ("interrupted", (passed(),), 0),
    ],
)
def test_complete(
    opening: Opening, ask: Ask, outcome: str, notebooks: tuple[Any, ...], complete: int
) -> None:
    """It passed, and no notebook was reused: only then does its time say how long it takes."""
    with opening() as history:
        history.record_experiment(result(outcome, notebooks=notebooks), nodeid=NODEID)
    assert ask("SELECT is_complete FROM experiments") == [(complete,)]


def test_estimates(opening: Opening) -> None:
    """Of each experiment, from what earlier sessions measured on machines of the kind."""
    runs = [("A", 10.0, 5), ("A", 30.0, 9), ("A", 20.0, 7), ("B", 4.0, 2)]
    for number, (name, seconds, peak) in enumerate(runs, 1):
        with opening(number) as history:
            of = result(
                "passed",
                name=name,
                started_at=1000.0 * number,
                duration_s=seconds,
                notebooks=(passed(usage=used(peak)),),
            )
            history.record_experiment(of, nodeid=NODEID)
    with opening(9) as history:
        assert history.estimates(KIND) == {
            "A": Estimate(runs=3, duration_s=20.0, peak_bytes=7, cpus=0.5, gpu_bytes=0),
            "B": Estimate(runs=1, duration_s=4.0, peak_bytes=2, cpus=2.5, gpu_bytes=0),
        }


@pytest.mark.parametrize(
    ("column", "damage"),
    [
        ("started_at", "''"),
        ("duration_s", "9e999"),
        ("peak_bytes", "'much'"),
        ("peak_bytes", "1.5"),
        ("cpu_s", "x'00'"),
        ("gpu_bytes", "-1"),
    ],
)
def test_a_damaged_value_is_passed_over(
    opening: Opening, folder: Path, column: str, damage: str
) -> None:
    """SQLite keeps anything in any column; what no session measured is expected of none."""
    for number in (1, 2):
        with opening(number) as history:
            of = result(
                "passed",
                started_at=1000.0 * number,
                duration_s=10.0,
                notebooks=(passed(usage=used(5)),),
            )
            history.record_experiment(of, nodeid=NODEID)
    with closing(sqlite3.connect(folder / "history.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE experiments SET {column} = {damage} WHERE id = 1")  # noqa: S608
    with opening(3) as history:
        expected = Estimate(runs=1, duration_s=10.0, peak_bytes=5, cpus=1.0, gpu_bytes=0)
        assert history.estimates(KIND) == {"Heart": expected}
        assert history.warnings == ()


@pytest.mark.parametrize("outcome", ["failed", "interrupted", "passed"])
def test_an_attempt_of_which_nothing_ran_is_no_run(opening: Opening, outcome: str) -> None:
    """It failed or was ended before its first notebook, or everything was reused."""
    nothing = (reused(),) if outcome == "passed" else (unrun(),)
    of = result(outcome, started_at=2000.0, duration_s=99.0, notebooks=nothing)
    with opening() as history:
        history.record_experiment(of, nodeid=NODEID)
        assert history.estimates(KIND) == {}
        ran = passed(usage=used(5))
        for number, notebooks in enumerate([(ran, failed()), (reused(), ran)], 1):
            part = result("failed", started_at=float(number), duration_s=4.0, notebooks=notebooks)
            history.record_experiment(part, nodeid=NODEID)
        assert history.estimates(KIND)["Heart"].runs == 2
        assert history.estimates(KIND)["Heart"].duration_s == 4.0


def test_kinds_of_machine_are_kept_apart(opening: Opening) -> None:
    """What ran on one tells nothing about another."""
    with opening(1) as history:
        history.record_experiment(result("passed", duration_s=10.0), nodeid=NODEID)
    with opening(2, machine=OTHER) as history:
        history.record_experiment(result("passed", duration_s=99.0), nodeid=NODEID)
        assert history.estimates(KIND)["Heart"].duration_s == 10.0
        assert history.estimates(OTHER.kind)["Heart"].duration_s == 99.0
        assert history.estimates("Cray") == {}


def test_the_newest_runs_count_whatever_their_order(opening: Opening) -> None:
    """A merged history does not have them in the order of time."""
    with opening() as history:
        for at in reversed(range(40)):
            of = result("passed", started_at=float(at), duration_s=1.0 if at >= 30 else 99.0)
            history.record_experiment(of, nodeid=NODEID)
            early = result("failed", name="Hopeless", started_at=float(at), duration_s=at + 1.0)
            history.record_experiment(early, nodeid=NODEID)
        assert history.estimates(KIND)["Heart"] == Estimate(runs=10, duration_s=1.0)
        assert history.estimates(KIND)["Hopeless"] == Estimate(runs=10, duration_s=40.0)


def test_old_sessions_are_forgotten(opening: Opening, ask: Ask) -> None:
    """Those of each experiment that ran, with all attempts and notebooks; one that seldom runs keeps its own."""
    total = SESSIONS_KEPT + 3
    for number in range(1, total + 1):
        with opening(number) as history:
            for attempt in (0.0, 1.0):
                of = result("passed", started_at=1000.0 * number + attempt)
                history.record_experiment(of, nodeid=NODEID)
            if number in {1, 2, total}:
                history.record_experiment(result("passed", name="Rare"), nodeid=NODEID)
    assert ask(
        "SELECT count(*), count(DISTINCT session_id) FROM experiments WHERE name='Heart'"
    ) == [(2 * SESSIONS_KEPT, SESSIONS_KEPT)]
    assert ask("SELECT min(started_at) FROM experiments WHERE name = 'Heart'") == [(4000.0,)]
    assert ask("SELECT count(*) FROM experiments WHERE name = 'Rare'") == [(3,)]
    assert ask("SELECT count(*) FROM sessions") == [(SESSIONS_KEPT + 2,)]
    assert ask("SELECT count(*) FROM notebooks") == [(3 * (2 * SESSIONS_KEPT + 3),)]


def test_one_file_is_left(opening: Opening, folder: Path) -> None:
    """Which can be cached as it is, in a folder that git ignores."""
    with opening() as history:
        history.record_experiment(result("passed"), nodeid=NODEID)
        assert (folder / "history.sqlite-wal").stat().st_size
    assert {path.name for path in folder.iterdir()} == {".gitignore", "history.sqlite"}


def test_the_wal_is_emptied_beside_another_session(opening: Opening, folder: Path) -> None:
    """The first to end leaves its rows in the file itself; the other goes on."""
    with opening(1) as other:
        other.record_experiment(result("passed"), nodeid=NODEID)
        with opening(2) as history:
            history.record_experiment(result("passed"), nodeid=NODEID)
        assert (folder / "history.sqlite-wal").stat().st_size == 0
        other.record_experiment(result("passed", started_at=1.0), nodeid=NODEID)
        assert other.estimates(KIND)["Heart"].runs == 3


def test_threads_take_turns(opening: Opening, ask: Ask) -> None:
    """Each worker of xdist has a thread in which its events arrive."""
    start = threading.Barrier(8)

    def record(history: History, thread: int) -> None:
        start.wait()
        attempt = StoredAttempt(name=f"E{thread}", started_at=1.0)
        for number in range(1, 11):
            history.record_notebook(attempt, number, passed(), at=2.0)
            history.estimates(KIND)

    with opening() as history:
        threads = [threading.Thread(target=record, args=(history, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert history.warnings == ()
    assert ask("SELECT count(*), count(DISTINCT experiment_id) FROM notebooks") == [(80, 8)]


def test_a_closed_history_does_nothing(opening: Opening, ask: Ask) -> None:
    """A late event of a dying worker is too late."""
    with opening() as history:
        history.record_experiment(result("passed"), nodeid=NODEID)
    history.record_experiment(result("passed", started_at=5.0), nodeid=NODEID)
    history.close()
    assert history.estimates(KIND) == {}
    assert history.warnings == ()
    assert ask("SELECT count(*) FROM experiments") == [(1,)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(results())
def test_any_result_can_be_recorded(opening: Opening, ask: Ask, of: ExperimentResult) -> None:
    """Whatever its name, even one that is no Unicode."""
    with opening() as history:
        history.record_experiment(of, nodeid=of.name)
        assert history.warnings == ()
        known = history.estimates(KIND)
    if of.outcome is not ExperimentOutcome.SKIPPED:
        name = of.name.encode("utf-8", "backslashreplace").decode()
        has_run = any(notebook.outcome in RAN for notebook in of.notebooks)
        assert name in known or not has_run
        assert ask("SELECT DISTINCT nodeid FROM experiments WHERE name = ?", name) == [(name,)]


def test_on_a_network_filesystem(opening: Opening, folder: Path, nfs: Path, ask: Ask) -> None:
    """No WAL, and a line that says so."""
    with opening(mountinfo=nfs) as history:
        history.record_experiment(result("passed"), nodeid=NODEID)
        assert not (folder / "history.sqlite-wal").exists()
    assert history.notes == (
        (
            f"{folder / 'history.sqlite'} is on a network filesystem (nfs4): SQLite uses a rollback "
            "journal, not WAL"
        ),
    )
    assert history.warnings == ()
    assert ask("PRAGMA journal_mode") == [("delete",)]


def test_without_mounts(opening: Opening, tmp_path: Path, folder: Path) -> None:
    """Where the system does not tell of mounts, as on macOS, WAL is used."""
    with opening(mountinfo=tmp_path / "none") as history:
        history.record_experiment(result("passed"), nodeid=NODEID)
        assert (folder / "history.sqlite-wal").exists()
    assert history.notes == ()
