from __future__ import annotations

from typing import Any

import pytest
from nbclient.exceptions import CellExecutionError  # noqa: TID253
from nbformat import NotebookNode, from_dict  # noqa: TID253
from nbformat.v4 import new_code_cell, new_notebook, new_output  # noqa: TID253

from pytest_nbgroups.core.model import CellReference, Failure, FailureKind
from pytest_nbgroups.execution.deadlines import Limit
from pytest_nbgroups.execution.failures import (
    bounded,
    cell_failure,
    cell_reference,
    deadline_failure,
    death_failure,
    error_line,
    error_output_failure,
    exit_failure,
    unanswered_failure,
)
from pytest_nbgroups.monitoring.standstill import Standstill
from pytest_nbgroups.notebooks.outputs import printed

LIMIT = Limit(of="cell", seconds=600, ends_at=0)
CELL = CellReference(number=3, count=5, source="x")


def notebook(source: str = "a = 1\nb = 0\na / b", **cell: Any) -> NotebookNode:
    """A text, and a cell of code."""
    fields = {"cell_type": "code", "source": source, "outputs": [], "execution_count": 3, **cell}
    made: NotebookNode = from_dict({"cells": [{"cell_type": "markdown", "source": "text"}, fields]})
    return made


def error(ename: str = "ZeroDivisionError", evalue: str = "division by zero") -> CellExecutionError:
    """As nbclient raises it."""
    return CellExecutionError("its own traceback", ename, evalue)


@pytest.mark.parametrize(
    ("traceback", "line"),
    [
        ("Cell In[3], line 2\n  1 a = 1", 2),
        ("Input In [3], in <cell line: 2>()", 2),
        ("Cell In[3], line 3\n ...\nCell In[1], line 9, in f\n ...\nCell In[3], line 1, in g", 3),
        ("Cell In[1], line 2", None),
        ("Cell In[3], line 4", None),
        ("Cell In[3], line 0", None),
        ("File a.py:2", None),
        ("", None),
    ],
)
def test_the_failing_line(traceback: str, line: int | None) -> None:
    """The outermost one of that cell, where the traceback names one that the cell has."""
    found = cell_reference(notebook(), 1, traceback=traceback, execution_count=3)
    assert found.line == line


def test_a_cell_is_counted_among_all() -> None:
    """Texts included, as a reader counts them."""
    assert cell_reference(notebook(), 1) == CellReference(
        number=2, count=2, source="a = 1\nb = 0\na / b"
    )


def test_a_cell_that_raised() -> None:
    """Its error in one line, its traceback and the end of its output in plain text."""
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": "\x1b[1mstep 1\x1b[0m\n"},
        {"output_type": "stream", "name": "stderr", "text": "a warning\n"},
        {"output_type": "display_data", "data": {}, "metadata": {}},
        {
            "output_type": "error",
            "ename": "E",
            "evalue": "v",
            "traceback": ["\x1b[31mCell In[3], line 3\x1b[0m", "----> 3 a / b", ""],
        },
    ]
    found = cell_failure(notebook(outputs=outputs), 1, error(evalue="\x1b[1mfirst\x1b[0m\nsecond"))
    assert found == Failure(
        kind=FailureKind.CELL,
        message="ZeroDivisionError: first",
        cell=CellReference(
            number=2, count=2, source="a = 1\nb = 0\na / b", execution_count=3, line=3
        ),
        traceback="Cell In[3], line 3\n----> 3 a / b",
        output="step 1\na warning",
    )


def test_a_cell_without_an_error_output() -> None:
    """Some kernels publish none: there is no traceback then, and nothing of nbclient's wording."""
    assert cell_failure(notebook(), 1, error()).traceback == ""


@pytest.mark.parametrize(
    ("ename", "evalue", "message"),
    [
        ("KeyError", "'x'", "KeyError: 'x'"),
        ("KeyboardInterrupt", "", "KeyboardInterrupt"),
        ("", "object 'x' not found", "object 'x' not found"),
        ("", "", "the cell reported an error without a message"),
    ],
)
def test_what_is_said_of_an_error(ename: str, evalue: str, message: str) -> None:
    """Kernels of other languages leave the name or the value empty."""
    assert cell_failure(notebook(), 1, error(ename, evalue)).message == message


def test_a_script_that_failed() -> None:
    """The message says how it ended; the last line of the traceback says the same."""
    said = "CalledProcessError: Command 'b'ls /x\\n'' returned non-zero exit status 2."
    outputs = [
        {"output_type": "stream", "name": "stderr", "text": "ls: cannot access '/x'\n"},
        {"output_type": "error", "ename": "", "evalue": "", "traceback": ["frames", said]},
    ]
    made = notebook("\n%%bash\nls /x", outputs=outputs)
    found = cell_failure(made, 1, error(*said.split(": ", 1)))
    better = "CalledProcessError: %%bash ended with exit code 2 (ls: cannot access '/x')"
    assert found.message == better
    assert found.traceback == f"frames\n{better}"


def test_an_error_comes_with_a_remedy() -> None:
    """If its own words do not say what to do."""
    assert cell_failure(notebook(), 1, error("SystemExit", "0")).remedy
    assert not cell_failure(notebook(), 1, error()).remedy


def test_printed_is_the_end_of_the_output() -> None:
    """Ten lines, from both streams in the order in which they came."""
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": f"line {number}\n"}
        for number in range(12)
    ]
    assert printed(notebook(outputs=outputs).cells[1]).splitlines() == [
        f"line {number}" for number in range(2, 12)
    ]
    assert printed(notebook().cells[0]) == ""


def test_a_deadline_that_was_answered() -> None:
    """The interrupt was enough."""
    assert deadline_failure(LIMIT, cell=CELL, output="last words", killed_after_s=None) == Failure(
        kind=FailureKind.DEADLINE,
        message="cell 3 of 5 ran into the cell's limit of 10m00s; it was interrupted",
        cell=CELL,
        output="last words",
        remedy="raise it with cell_timeout in experiment.toml or --experiment-cell-timeout",
    )


def test_a_deadline_that_was_not_answered() -> None:
    """The tree was killed after the grace."""
    assert deadline_failure(LIMIT, cell=CELL, killed_after_s=5.0).message == (
        "cell 3 of 5 ran into the cell's limit of 10m00s; "
        "it did not answer the interrupt within 5s and was killed"
    )


@pytest.mark.parametrize(
    ("killed_after_s", "how"),
    [(None, "was interrupted"), (5.0, "did not answer the interrupt within 5s and was killed")],
)
def test_a_deadline_that_no_limit_is_to_blame_for(killed_after_s: float | None, how: str) -> None:
    """The message says why the cell did not go on, and the remedy is not to raise the limit."""
    seen = Standstill(reason="cat (pid 4) waits", remedy="give it no input")
    failure = deadline_failure(LIMIT, cell=CELL, killed_after_s=killed_after_s, seen=seen)
    assert failure.message == (
        f"cell 3 of 5 ran into the cell's limit of 10m00s; cat (pid 4) waits; the cell {how}"
    )
    assert failure.remedy == "give it no input"


def test_a_deadline_before_the_first_cell() -> None:
    """Kernels take time to start, too."""
    limit = Limit(of="experiment", seconds=1, ends_at=0)
    assert deadline_failure(limit, cell=None, killed_after_s=None).message == (
        "the kernel was not ready within the experiment's limit of 1.00s; it was killed"
    )


def test_a_kernel_that_died() -> None:
    """Where, and of what."""
    assert death_failure(3, cell=CELL, output="last words") == Failure(
        kind=FailureKind.KERNEL_DIED,
        message="the kernel died in cell 3 of 5: exit code 3, os._exit() in a cell or exit() in compiled code?",
        cell=CELL,
        output="last words",
    )
    assert death_failure(None, cell=None).message == ("the kernel died: its exit status is unknown")


@pytest.mark.parametrize(
    ("returncode", "hint"),
    [
        (0, ", exit() or quit() in a cell?"),
        (1, ", os._exit() in a cell or an error of the kernel itself?"),
        (127, ", os._exit() in a cell or exit() in compiled code?"),
        (255, ", os._exit() in a cell or exit() in compiled code?"),
        (3221225477, ""),
    ],
)
def test_an_exit_in_the_midst_of_a_cell(returncode: int, hint: str) -> None:
    """With a hint at the usual cause."""
    failure = death_failure(returncode, cell=None)
    assert failure.message == f"the kernel died: exit code {returncode}{hint}"


def test_a_failure_does_not_carry_megabytes() -> None:
    """A message, a traceback, an output or a source of any length: both ends are kept."""
    long = f"first{'x' * 3_000_000}last"
    failure = Failure(
        kind=FailureKind.CELL,
        message=long,
        cell=CellReference(number=1, count=1, source=long, line=1),
        traceback=f"frame\nValueError: {long}",
        output=long,
    )
    kept = bounded(failure)
    assert kept.cell is not None
    for text in (kept.message, kept.traceback, kept.output, kept.cell.source):
        assert len(text) <= 20_000
        assert " characters left out … " in text
        assert text.startswith(("first", "frame\nValueError: first"))
        assert text.endswith("last")
    assert kept.cell.line == 1


def test_no_line_is_marked_where_lines_are_missing() -> None:
    """It would be another one."""
    source = "x = 1\n" * 100_000
    cell = CellReference(number=1, count=1, source=source, line=50_000)
    kept = bounded(Failure(kind=FailureKind.CELL, message="", cell=cell))
    assert kept.cell is not None
    assert kept.cell.line is None
    assert len(kept.cell.source) <= 100_000


def test_what_is_not_long_stays() -> None:
    """All of it."""
    failure = Failure(kind=FailureKind.CELL, message="m", cell=CELL, traceback="t", output="o")
    assert bounded(failure) == failure


def test_an_exception_of_megabytes() -> None:
    """The message is its beginning, and the traceback is cut before it is searched."""
    text = "x" * 3_000_000
    cell = notebook(
        outputs=[{"output_type": "error", "ename": "E", "evalue": text, "traceback": [text, text]}]
    )
    failure = cell_failure(cell, 1, error("E", text))
    assert failure.message.startswith("E: xxx")
    assert len(failure.message) == 300
    assert len(failure.traceback) <= 400_000


def shown(ename: str, evalue: str = "bad") -> dict[str, Any]:
    return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": [f"in {ename}"]}


def test_an_answer_that_names_no_exception() -> None:
    """The last error in the outputs has the name; without one the answer has to do."""
    made = notebook(outputs=[shown("First"), shown("ValueError")])
    failure = cell_failure(made, 1, error("NoneType", "None"))
    assert (failure.kind, failure.message) == (FailureKind.CELL, "ValueError: bad")
    assert failure.traceback == "in First\nin ValueError"
    assert cell_failure(made, 1, error("KeyError", "x")).message == "KeyError: x"
    assert cell_failure(notebook(), 1, error("NoneType", "None")).message == "NoneType: None"


def test_a_message_that_begins_with_an_empty_line() -> None:
    """As those of matplotlib do; the name does not stand alone."""
    assert error_line("ValueError", "\n  \\frac{\n   ^\n") == "ValueError: \\frac{"
    assert error_line("KeyError", None) == "KeyError"
    assert error_line("", "text") == "text"


def test_no_answer() -> None:
    """The log gives the reason; an error that the cell shows comes first."""
    log = "\n".join(map(str, range(30)))
    failure = unanswered_failure(notebook(), 1, reason="TypeError: no", log=log)
    what = "the kernel is done with cell 2 of 2 but could not answer: TypeError: no"
    assert (failure.kind, failure.message) == (FailureKind.ERROR, what)
    assert failure.traceback == "\n".join(map(str, range(10, 30)))
    assert failure.cell is not None
    silent = unanswered_failure(notebook(), 1, reason="", log="")
    assert silent.message == "the kernel is done with cell 2 of 2 but could not answer"
    named = unanswered_failure(notebook(outputs=[shown("E")]), 1, reason="TypeError: no", log=log)
    assert (named.kind, named.message, named.evidence) == (FailureKind.CELL, "E: bad", (what,))


def test_an_error_that_nothing_has_raised() -> None:
    """It says what to do if it is meant; one in an output widget has no traceback here."""
    failure = error_output_failure(notebook(outputs=[shown("E")]), 1, ("E: bad",))
    assert (failure.message, failure.traceback) == ("E: bad", "in E")
    assert "raises-exception" in failure.remedy
    elsewhere = error_output_failure(notebook(), 1, ("E: bad",))
    assert (elsewhere.kind, elsewhere.message) == (FailureKind.CELL, "E: bad")
    assert elsewhere.evidence == failure.evidence


@pytest.mark.parametrize(("left", "cells"), [(1, "the cell"), (60, "the 60 cells")])
def test_a_cell_that_ended_its_kernel(left: int, cells: str) -> None:
    """The cell is named with what it printed, and what did not run because of it."""
    cell = new_code_cell(
        "exit()", execution_count=2, outputs=[new_output("stream", name="stdout", text="bye\n")]
    )
    failure = exit_failure(new_notebook(cells=[new_code_cell("1"), cell]), 1, left=left)
    assert failure == Failure(
        kind=FailureKind.CELL,
        message=f"it ended its kernel, as exit() and quit() do, so {cells} after it did not run",
        cell=CellReference(number=2, count=2, source="exit()", execution_count=2),
        output="bye",
        remedy="remove the call, or the cells after it, or tag these skip-execution: exit() may end the last cell "
        "that runs",
    )
