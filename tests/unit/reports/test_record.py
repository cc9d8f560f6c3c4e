from __future__ import annotations

from report_samples import (
    HEART,
    NAMES,
    NODEID,
    REASON,
    cell_started,
    failed,
    notebook_finished,
    notebook_started,
    passed,
    result,
    started,
    waiting,
)

from pytest_nbgroups.core.events import Event, ExperimentFinished
from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    Notebook,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.reports.progress import Running
from pytest_nbgroups.reports.record import ExperimentRecord, RecordedAttempt, SessionRecord


def fed(*events: Event, worker: str = "gw1", into: SessionRecord | None = None) -> SessionRecord:
    record = into or SessionRecord()
    for event in events:
        record.add(event, worker=worker, nodeid=NODEID)
    return record


def attempts(record: SessionRecord) -> tuple[RecordedAttempt, ...]:
    (experiment,) = record.experiments()
    return experiment.attempts


EXPERIMENT = Experiment(
    name="Heart",
    directory=HEART,
    notebooks=tuple(Notebook(path=HEART / name) for name in NAMES),
)


def finished(of: ExperimentResult) -> ExperimentFinished:
    return ExperimentFinished(experiment=of.name, at=2000.0, result=of)


IN_SECOND = (
    started(1000.0, timeout_s=3600.0),
    notebook_started(1, 1001.0),
    notebook_finished(1, 1004.0, passed()),
    notebook_started(2, 1005.0, timeout_s=1800.0),
    cell_started(1, 1006.0),
    cell_started(5, 1010.0, timeout_s=600.0),
)


def test_nothing_has_happened_at_first() -> None:
    """A record without events is empty."""
    record = SessionRecord()
    assert (record.running(), record.experiments(), record.workers()) == ((), (), ())


def test_a_running_experiment_says_where_it_is() -> None:
    """Notebook, cell, and the limit that ends first."""
    assert fed(*IN_SECOND).running() == (
        Running(
            experiment="Heart",
            started_at=1000.0,
            notebooks=NAMES,
            finished=1,
            notebook="2-fit.ipynb",
            cell=5,
            cells=12,
            deadline_at=1610.0,
        ),
    )


def test_between_notebooks_there_is_none() -> None:
    """A finished notebook takes its cell and its deadlines with it."""
    (running,) = fed(*IN_SECOND, notebook_finished(2, 1020.0, passed(NAMES[1]))).running()
    assert (running.finished, running.notebook, running.cell) == (2, None, None)
    assert running.deadline_at == 4600.0


def test_a_starting_notebook_has_no_cell_of_the_one_before() -> None:
    """While a kernel starts no cell runs."""
    (running,) = fed(*IN_SECOND, notebook_started(3, 1020.0)).running()
    assert (running.notebook, running.cell, running.cells) == ("3-eval.ipynb", None, None)


def test_a_finished_experiment_runs_no_more() -> None:
    """It has one attempt, and its result is what pytest reports."""
    record = fed(*IN_SECOND, finished(result()))
    assert record.running() == ()
    assert record.experiments() == (
        ExperimentRecord(nodeid=NODEID, attempts=(RecordedAttempt(worker="gw1", result=result()),)),
    )
    assert record.experiments()[0].worker == "gw1"


def test_a_skipped_experiment_only_finishes() -> None:
    """No start is needed for an experiment that never ran."""
    record = fed(finished(result("skipped", reason="needs Docker")))
    assert record.experiments()[0].result.reason == "needs Docker"


def test_a_rerun_adds_an_attempt() -> None:
    """The last one counts, on whichever worker it ran."""
    record = fed(started(), finished(result()))
    again = result("passed", started_at=3000.0)
    fed(started(3000.0), finished(again), worker="gw2", into=record)
    (experiment,) = record.experiments()
    assert attempts(record) == (
        RecordedAttempt(worker="gw1", result=result()),
        RecordedAttempt(worker="gw2", result=again),
    )
    assert (experiment.result, experiment.worker) == (again, "gw2")


def test_a_result_that_comes_twice_counts_once() -> None:
    """Over the channel and with the report of the item."""
    record = fed(started(), finished(result()), finished(result()))
    assert len(attempts(record)) == 1


def test_experiments_are_in_order_of_start() -> None:
    """Not in the order in which they finish."""
    record = SessionRecord()
    record.add(started(1000.0), worker="", nodeid="a")
    record.add(started(1001.0), worker="", nodeid="b")
    assert [running.started_at for running in record.running()] == [1000.0, 1001.0]
    for nodeid in ("b", "a"):
        record.add(finished(result()), worker="", nodeid=nodeid)
    assert [experiment.nodeid for experiment in record.experiments()] == ["a", "b"]


def test_experiments_of_one_test_are_kept_apart() -> None:
    """They have one node id; neither is an attempt of the other."""
    lung = result("passed", name="Lung", started_at=2000.0)
    record = fed(started(), finished(result()), started(2000.0, experiment="Lung"))
    assert [running.experiment for running in record.running()] == ["Lung"]
    fed(finished(lung), into=record)
    assert record.running() == ()
    assert [(e.nodeid, e.result, len(e.attempts)) for e in record.experiments()] == [
        (NODEID, result(), 1),
        (NODEID, lung, 1),
    ]


def test_workers_are_those_that_ran_something() -> None:
    """Replacements of crashed ones as well, and those that run something now."""
    record = SessionRecord()
    for worker in ("gw10", "gw2", "gw2", ""):
        record.add(finished(result()), worker=worker, nodeid=worker)
    record.add(started(), worker="gw9", nodeid="a")
    assert record.workers() == ("gw2", "gw9", "gw10")


def test_a_crash_fails_the_experiment_and_keeps_what_ran() -> None:
    """Finished notebooks stay, the running one is interrupted, later ones have not run."""
    record = fed(*IN_SECOND)
    crashed = record.crashed(NODEID, "gw1", "worker gw1 crashed", at=1030.0)
    assert crashed is not None
    assert crashed == ExperimentResult(
        name="Heart",
        directory=HEART,
        outcome=ExperimentOutcome.FAILED,
        reason="worker gw1 crashed",
        resumable=1,
        started_at=1000.0,
        duration_s=30.0,
        error=Failure(kind=FailureKind.ERROR, message="worker gw1 crashed"),
        notebooks=(
            passed(),
            NotebookResult(
                name="2-fit.ipynb",
                outcome=NotebookOutcome.INTERRUPTED,
                duration_s=25.0,
                cells_total=12,
                cells_executed=1,
            ),
            NotebookResult(name="3-eval.ipynb", outcome=NotebookOutcome.NOT_RUN),
        ),
    )
    assert record.running() == ()
    assert attempts(record) == (RecordedAttempt(worker="gw1", result=crashed),)


def test_a_crash_between_notebooks_interrupts_none() -> None:
    """What had not started has not run."""
    crashed = fed(*IN_SECOND[:3]).crashed(NODEID, "gw1", "worker gw1 crashed", at=1030.0)
    assert crashed is not None
    outcomes = [notebook.outcome.value for notebook in crashed.notebooks]
    assert outcomes == ["passed", "not_run", "not_run"]


def test_a_crash_before_any_event_is_an_experiment_too() -> None:
    """None of its notebooks has run."""
    record = SessionRecord()
    crashed = record.crashed(NODEID, "gw1", "worker gw1 crashed", at=5.0, experiment=EXPERIMENT)
    assert crashed == ExperimentResult(
        name="Heart",
        directory=HEART,
        outcome=ExperimentOutcome.FAILED,
        reason="worker gw1 crashed",
        started_at=5.0,
        error=Failure(kind=FailureKind.ERROR, message="worker gw1 crashed"),
        notebooks=tuple(
            NotebookResult(name=name, outcome=NotebookOutcome.NOT_RUN) for name in NAMES
        ),
    )
    assert attempts(record) == (RecordedAttempt(worker="gw1", result=crashed),)


def test_a_crash_of_a_test_fails_only_what_it_ran() -> None:
    """What had finished in it has its outcome; a test that ran nothing is not told of."""
    record = fed(started(), finished(result("passed")))
    assert record.crashed(NODEID, "gw1", "worker gw1 crashed", at=3000.0) is None
    assert record.crashed("test_other.py::test_it", "gw1", "crashed", at=3000.0) is None
    fed(started(2000.0, experiment="Lung"), into=record)
    crashed = record.crashed(NODEID, "gw1", "worker gw1 crashed", at=3000.0)
    assert crashed is not None
    assert crashed.name == "Lung"
    assert [(e.result.name, e.result.outcome.value) for e in record.experiments()] == [
        ("Heart", "passed"),
        ("Lung", "failed"),
    ]


def test_a_crash_after_the_end_fails_what_had_passed() -> None:
    """Pytest never heard of the result, and reports a failure."""
    record = fed(started(), finished(result("passed")))
    crashed = record.crashed(NODEID, "gw1", "worker gw1 crashed", at=3000.0, experiment=EXPERIMENT)
    assert crashed is not None
    assert (crashed.outcome, crashed.reason) == ("failed", "worker gw1 crashed")
    assert crashed.notebooks == result("passed").notebooks
    assert crashed.resumable == len(NAMES)
    assert attempts(record) == (RecordedAttempt(worker="gw1", result=crashed),)


def test_a_crash_of_a_rerun_leaves_the_first_attempt() -> None:
    """Each attempt keeps its own result."""
    record = fed(started(), finished(result()), started(3000.0))
    record.crashed(NODEID, "gw1", "worker gw1 crashed", at=3001.0)
    outcomes = [attempt.result.reason for attempt in attempts(record)]
    assert outcomes == [None, "worker gw1 crashed"]


def test_a_crash_of_another_worker_is_another_attempt() -> None:
    """What the first worker had finished is not undone."""
    record = fed(started(), finished(result("passed")))
    record.crashed(NODEID, "gw2", "worker gw2 crashed", at=3001.0, experiment=EXPERIMENT)
    assert [attempt.worker for attempt in attempts(record)] == ["gw1", "gw2"]


def test_the_end_of_the_session_interrupts_what_runs() -> None:
    """Nothing is lost: each experiment that had started has an outcome."""
    record = fed(*IN_SECOND)
    (interrupted,) = record.interrupted_rest(at=1030.0)
    assert (interrupted.outcome, interrupted.reason) == (
        "interrupted",
        "the session ended while it ran",
    )
    assert [notebook.outcome.value for notebook in interrupted.notebooks] == [
        "passed",
        "interrupted",
        "not_run",
    ]
    assert record.running() == ()
    assert record.interrupted_rest(at=1031.0) == ()


def test_events_after_the_end_change_nothing() -> None:
    """A worker may still speak while it is being stopped."""
    record = fed(*IN_SECOND)
    record.interrupted_rest(at=1030.0)
    fed(
        notebook_finished(2, 1031.0, failed()),
        cell_started(6, 1031.0),
        finished(result("passed")),
        into=record,
    )
    assert [attempt.result.outcome.value for attempt in attempts(record)] == ["interrupted"]


def test_a_start_while_it_runs_gives_up_the_run_before() -> None:
    """A worker that vanished without a word leaves no ghost."""
    record = fed(*IN_SECOND)
    fed(started(4000.0), worker="gw2", into=record)
    (attempt,) = attempts(record)
    assert (attempt.worker, attempt.result.reason) == (
        "gw1",
        "it was started again before it had finished",
    )
    assert [running.started_at for running in record.running()] == [4000.0]


def test_a_late_result_of_another_worker_does_not_end_the_run() -> None:
    """The run on the second worker goes on."""
    record = fed(started(1000.0))
    fed(started(4000.0), worker="gw2", into=record)
    fed(finished(result()), into=record)
    assert [running.started_at for running in record.running()] == [4000.0]
    assert len(attempts(record)) == 1


def test_a_waiting_experiment_says_what_it_waits_for() -> None:
    """Since its first word, for the reason of its last."""
    record = fed(waiting(900.0, reason="needs 1 gpu"), waiting(950.0))
    assert record.running() == (Running(experiment="Heart", started_at=900.0, waits_for=REASON),)
    assert (record.experiments(), record.workers()) == ((), ("gw1",))


def test_an_experiment_that_starts_waits_no_more() -> None:
    """It is one attempt, timed from its start."""
    record = fed(waiting(), *IN_SECOND)
    (running,) = record.running()
    assert (running.started_at, running.waits_for, running.notebook) == (1000.0, None, NAMES[1])
    fed(finished(result()), into=record)
    assert record.running() == ()
    assert len(attempts(record)) == 1


def test_an_experiment_may_end_while_it_waits() -> None:
    """It has waited too long, or the session is over."""
    record = fed(waiting(), finished(result("interrupted")))
    assert record.running() == ()
    assert record.interrupted_rest(at=1030.0, experiment_of=lambda _: EXPERIMENT) == ()
    assert attempts(record)[0].result == result("interrupted")


def test_a_wait_that_begins_elsewhere_leaves_no_trace() -> None:
    """Nothing had run on the first worker."""
    record = fed(waiting(900.0))
    fed(waiting(950.0), worker="gw2", into=record)
    (running,) = record.running()
    assert running.started_at == 950.0
    fed(started(), finished(result()), worker="gw3", into=record)
    assert [attempt.worker for attempt in attempts(record)] == ["gw3"]
    assert record.running() == ()


def test_a_wait_while_it_runs_gives_up_the_run_before() -> None:
    """As a start does: a worker that vanished without a word leaves no ghost."""
    record = fed(*IN_SECOND)
    fed(waiting(4000.0), worker="gw2", into=record)
    (attempt,) = attempts(record)
    assert attempt.result.reason == "it was started again before it had finished"
    assert [running.waits_for for running in record.running()] == [REASON]


def test_the_end_of_the_session_interrupts_what_waits() -> None:
    """None of its notebooks has run, and all of them are named."""
    record = fed(waiting())
    (interrupted,) = record.interrupted_rest(
        at=1030.0, experiment_of={NODEID: EXPERIMENT}.__getitem__
    )
    assert interrupted == ExperimentResult(
        name="Heart",
        directory=HEART,
        outcome=ExperimentOutcome.INTERRUPTED,
        reason=f"the session ended while it waited for its lease: {REASON}",
        started_at=1030.0,
        notebooks=tuple(
            NotebookResult(name=name, outcome=NotebookOutcome.NOT_RUN) for name in NAMES
        ),
    )
    assert attempts(record) == (RecordedAttempt(worker="gw1", result=interrupted),)
    assert record.running() == ()


def test_what_a_test_only_waited_for_is_forgotten() -> None:
    """Its notebooks are not known, and the test is pytest's to tell of."""
    record = fed(waiting())
    assert record.interrupted_rest(at=1030.0) == ()
    assert (record.running(), record.experiments()) == ((), ())
    fed(waiting(), into=record)
    assert record.crashed(NODEID, "gw1", "worker gw1 crashed", at=1030.0) is None
    assert (record.running(), record.experiments()) == ((), ())


def test_a_crash_fails_what_waited() -> None:
    """None of its notebooks has run; an earlier attempt on the same worker stays as it was."""
    record = fed(started(), finished(result()), waiting(3000.0))
    crashed = record.crashed(NODEID, "gw1", "worker gw1 crashed", at=3030.0, experiment=EXPERIMENT)
    assert crashed is not None
    assert (crashed.outcome, crashed.started_at) == ("failed", 3030.0)
    assert {notebook.outcome.value for notebook in crashed.notebooks} == {"not_run"}
    assert [attempt.result for attempt in attempts(record)] == [result(), crashed]
    assert record.running() == ()
