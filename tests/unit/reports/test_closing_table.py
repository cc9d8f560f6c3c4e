from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import (
    GIB,
    REASON,
    cell_failure,
    failed,
    gpu,
    lease,
    passed,
    recorded,
    result,
    results,
    usage,
)

from pytest_nbgroups.core.events import ExperimentFinished
from pytest_nbgroups.core.model import NotebookOutcome, NotebookResult
from pytest_nbgroups.reports.closing_table import (
    Row,
    TableLine,
    table_lines,
    table_rows,
    totals,
    without_reused,
)
from pytest_nbgroups.reports.columns import display_width
from pytest_nbgroups.reports.record import SessionRecord

RESULTS = (
    result("passed", name="Lung-GatedCT_To_USD"),
    result(),
    result("skipped", name="心臓", reason="needs Docker", duration_s=0.0),
)


def lines(width: int, *, worker: str = "") -> str:
    rows = table_rows(recorded(*RESULTS, worker=worker))
    return "\n".join(line.text for line in table_lines(rows, width))


def test_the_table_of_a_session() -> None:
    """One line for each experiment in order of start, with its reason where it did not pass."""
    assert (
        lines(100)
        == """\
experiment           outcome  notebooks   time  reason
Lung-GatedCT_To_USD  passed         3/3  1m14s
Heart                failed         1/3  1m14s  2-fit.ipynb, cell 5: ValueError: bad value
心臓                 skipped        0/0  0.00s  needs Docker"""
    )


def test_workers_are_shown_where_there_are_any() -> None:
    """Without pytest-xdist the column would be empty."""
    assert lines(100, worker="gw1").splitlines()[:2] == [
        "experiment           outcome  notebooks   time  worker  reason",
        "Lung-GatedCT_To_USD  passed         3/3  1m14s  gw1",
    ]


def test_reasons_that_do_not_fit_stand_below_their_rows() -> None:
    """A reason is what a reader looks for: it is not cut as long as a line can hold it."""
    assert (
        lines(80, worker="gw1")
        == """\
experiment           outcome  notebooks   time  worker
Lung-GatedCT_To_USD  passed         3/3  1m14s  gw1
Heart                failed         1/3  1m14s  gw1
    2-fit.ipynb, cell 5: ValueError: bad value
心臓                 skipped        0/0  0.00s  gw1
    needs Docker"""
    )


@pytest.mark.parametrize(
    ("width", "header", "heart"),
    [
        (
            66,
            "experiment           outcome  notebooks   time  worker",
            "Heart                failed         1/3  1m14s  gw1",
        ),
        (
            46,
            "experiment           outcome  notebooks   time",
            "Heart                failed         1/3  1m14s",
        ),
        (
            40,
            "experiment     outcome  notebooks   time",
            "Heart          failed         1/3  1m14s",
        ),
        (30, "experiment      outcome   time", "Heart           failed   1m14s"),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns(width: int, header: str, heart: str) -> None:
    """First names are shortened, then columns go."""
    shown = lines(width, worker="gw1").splitlines()
    assert (shown[0], shown[2]) == (header, heart)


def test_names_are_shortened_in_the_middle() -> None:
    """Experiments of one project often begin alike and end in what tells them apart."""
    rows = table_rows(recorded(result("passed", name="studies/heart/GatedCT_To_USD")))
    assert table_lines(rows, 46)[1].text == "studies/...T_To_USD  passed         3/3  1m14s"


MEASURED = (
    result("passed", notebooks=(passed(usage=usage(6 * GIB)),), lease=lease("GPU-1", "GPU-0")),
    result("passed", name="Lung", notebooks=(passed(usage=usage(300, is_upper_bound=True)),)),
    result("skipped", name="Brain", reason="needs Docker", duration_s=0.0),
)


def measured(width: int, worker: str = "gw1") -> list[str]:
    rows = table_rows(recorded(*MEASURED, worker=worker), gpus=(gpu(0), gpu(1)))
    return [line.text for line in table_lines(rows, width)]


def test_peaks_of_memory_and_gpus_are_shown_where_there_are_any() -> None:
    """What could not be measured, and what held no GPU, has an empty cell."""
    assert measured(100) == [
        "experiment  outcome  notebooks   time  peak memory  GPUs  worker  reason",
        "Heart       passed         1/1  1m14s        6 GiB  0,1   gw1",
        "Lung        passed         1/1  1m14s     <= 300 B        gw1",
        "Brain       skipped        0/0  0.00s                     gw1     needs Docker",
    ]


@pytest.mark.parametrize(
    ("width", "header"),
    [
        (64, "experiment  outcome  notebooks   time  peak memory  GPUs  worker"),
        (63, "experiment  outcome  notebooks   time  peak memory  GPUs"),
        (55, "experiment  outcome  notebooks   time  peak memory"),
        (49, "experiment  outcome  notebooks   time"),
        (35, "experiment  outcome   time"),
    ],
)
def test_the_columns_that_say_least_go_first(width: int, header: str) -> None:
    """Workers, then GPUs, then peaks of memory, then counts of notebooks."""
    assert measured(width)[0] == header


@pytest.mark.parametrize(
    ("waited_s", "duration_s", "reason"),
    [
        (180.0, 3600.0, f"waited 3m00s: {REASON}"),
        (1.0, 100.0, f"waited 1.00s: {REASON}"),
        (0.9, 1.0, ""),
        (35.0, 3600.0, ""),
        (36.0, 3600.0, f"waited 36.0s: {REASON}"),
    ],
)
def test_a_long_wait_is_a_reason(waited_s: float, duration_s: float, reason: str) -> None:
    """For a minute that hardly counts beside the run, nobody asks where it went."""
    waited = lease(waited_s=waited_s, waited_for=REASON)
    (row,) = table_rows(recorded(result("passed", duration_s=duration_s, lease=waited)))
    assert row.reason == reason


def test_a_wait_follows_what_failed() -> None:
    """And has no reason where none is known."""
    (row,) = table_rows(recorded(result(lease=lease(waited_s=180.0))))
    assert row.reason == "2-fit.ipynb, cell 5: ValueError: bad value; waited 3m00s"


def test_each_line_has_its_outcome() -> None:
    """The terminal colours by it; the header has none."""
    rows = table_rows(recorded(*RESULTS))
    assert [line.outcome for line in table_lines(rows, 100)] == [
        None,
        "passed",
        "failed",
        "skipped",
    ]


def test_without_experiments_there_is_no_table() -> None:
    """Not even a header."""
    assert table_lines((), 80) == []


def test_reused_notebooks_count_as_passed_and_skipped_ones_are_told() -> None:
    """A passed experiment whose notebooks did not all run says so."""
    notebooks = (
        passed(),
        NotebookResult(name="2.ipynb", outcome=NotebookOutcome.REUSED),
        NotebookResult(name="3.ipynb", outcome=NotebookOutcome.SKIPPED),
    )
    (one,) = table_rows(recorded(result("passed", notebooks=notebooks)))
    (two,) = table_rows(recorded(result("passed", notebooks=(*notebooks, notebooks[2]))))
    assert (one.notebooks, one.reason) == ("2/3", "1 notebook skipped")
    assert (two.notebooks, two.reason) == ("2/4", "2 notebooks skipped")


def test_a_rerun_says_which_attempt_it_is() -> None:
    """The last attempt is the one that is told."""
    record = SessionRecord()
    for each in (result(), result("passed", started_at=3000.0)):
        finished = ExperimentFinished(experiment="Heart", at=1.0, result=each)
        record.add(finished, worker="gw1", nodeid="h")
    (row,) = table_rows(record.experiments())
    assert row == Row(
        nodeid="h",
        experiment="Heart",
        outcome=result("passed").outcome,
        notebooks="3/3",
        duration_s=74.214,
        peak="",
        gpus="",
        worker="gw1",
        reason="attempt 2",
    )


def test_totals_name_what_went_wrong_first() -> None:
    """Outcomes that did not occur are left out."""
    assert totals(table_rows(recorded(*RESULTS))) == "1 failed, 1 passed, 1 skipped"
    interrupted = table_rows(recorded(result("interrupted")))
    assert totals(interrupted) == "1 interrupted"


@given(st.lists(results(), max_size=4), st.integers(40, 200), st.sampled_from(["", "gw12"]))
def test_no_line_is_wider_than_the_terminal(of: list, width: int, worker: str) -> None:  # type: ignore[type-arg]
    """Nor has control characters, whatever the names and messages are."""
    for line in table_lines(table_rows(recorded(*of, worker=worker)), width):
        assert isinstance(line, TableLine)
        assert display_width(line.text) <= width
        assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, line.text))


def test_a_headline_is_one_line() -> None:
    """A message of many lines does not break the table."""
    failure = cell_failure(message="ValueError: a\nb|c")
    (row,) = table_rows(recorded(result(notebooks=(failed(failure=failure),))))
    assert row.reason == "2-fit.ipynb, cell 5: ValueError: a b|c"


def test_many_reused_experiments_are_counted() -> None:
    """Those of which nothing ran; a few are shown as any other."""

    def notebook(name: str, outcome: NotebookOutcome) -> NotebookResult:
        return NotebookResult(name=name, outcome=outcome)

    skipped = notebook("2.ipynb", NotebookOutcome.SKIPPED)
    reused = [
        result(
            "passed",
            name=f"R{number}",
            notebooks=(notebook("1.ipynb", NotebookOutcome.REUSED), skipped),
        )
        for number in range(6)
    ]
    partly = result(
        "passed",
        name="Partly",
        notebooks=(
            notebook("1.ipynb", NotebookOutcome.REUSED),
            notebook("2.ipynb", NotebookOutcome.PASSED),
        ),
    )
    rows = table_rows(recorded(*reused, partly))
    left, line = without_reused(rows)
    assert [row.experiment for row in left] == ["Partly"]
    assert line == "6 experiments with all notebooks reused; -v shows each"
    assert without_reused(rows[1:]) == (rows[1:], "")
