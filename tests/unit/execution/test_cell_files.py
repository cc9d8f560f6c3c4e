"""The pseudo files that a kernel compiles cells in."""

from __future__ import annotations

from pathlib import Path

import nbformat  # noqa: TID253
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.compiler import get_file_name
from nbformat import NotebookNode, from_dict  # noqa: TID253
from nbformat.v4 import new_code_cell, new_notebook  # noqa: TID253

from pytest_nbgroups.core.model import CellReference, Failure, FailureKind
from pytest_nbgroups.execution.cell_files import kernel_file, named, with_cell_names

SOURCES = ["x = 1", "", "\n\ny = = 2", "x = 1"]
NOWHERE = Path("/nowhere")
FIRST, BROKEN = kernel_file(SOURCES[0]), kernel_file(SOURCES[2])


@given(source=st.text())
def test_ipykernel_names_files_so(source: str) -> None:
    """By a hash of the source, whatever it holds."""
    assert kernel_file(source) == Path(get_file_name(source)).name  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"invalid syntax ({BROKEN}, line 1)", "invalid syntax (cell 3, line 3)"),
        (f"/x/ipykernel_12/{BROKEN}:1: UserWarning: old", "cell 3, line 3: UserWarning: old"),
        (f'  File "/x y/ipykernel_12/{BROKEN}", line 1, in f', '  File "cell 3", line 3, in f'),
        (f"> C:\\t\\ipykernel_1\\{BROKEN}(2)<module>()", "> cell 3(2)<module>()"),
        (f"/x/ipykernel_12/{FIRST}:1 and {BROKEN}", "cell 4, line 1 and cell 3"),
        (f"{BROKEN}:2", "cell 3, line 4"),
        ("/x/ipykernel_12/12345.py:1 fit.py:2", "/x/ipykernel_12/12345.py:1 fit.py:2"),
        (f"a{BROKEN} {BROKEN}x", f"a{BROKEN} {BROKEN}x"),
    ],
)
def test_a_cell_has_a_number(text: str, told: str) -> None:
    """In the forms of SyntaxError, warnings, tracebacks and pdb; of equal cells the last one."""
    assert named(text, SOURCES, {}) == told


def notebook() -> NotebookNode:
    kinds = ["code", "markdown", "code", "code"]
    cells = [{"cell_type": k, "source": s or "text"} for k, s in zip(kinds, SOURCES, strict=True)]
    made: NotebookNode = from_dict({"cells": cells})
    return made


def test_all_texts_of_a_failure() -> None:
    """Message, traceback and output; cells behind the one that failed are not meant."""
    cell = CellReference(number=3, count=4, source=SOURCES[2])
    failure = Failure(
        kind=FailureKind.CELL, message=f"E ({BROKEN}, line 1)", traceback=BROKEN, output=FIRST
    )
    told = with_cell_names(failure, notebook(), NOWHERE)
    assert (told.message, told.traceback, told.output) == (
        "E (cell 3, line 3)",
        "cell 3",
        "cell 4",
    )
    placed = with_cell_names(
        Failure(kind=FailureKind.CELL, message="", cell=cell, output=FIRST), notebook(), NOWHERE
    )
    assert placed.output == "cell 1"


def test_a_cell_of_a_notebook_that_is_run(tmp_path: Path) -> None:
    """It has the name of its notebook, unless this notebook has the same cell."""
    made = new_notebook(cells=[new_code_cell("y = 5\n1 / 0"), new_code_cell("x = 1")])
    nbformat.write(made, tmp_path / "9.ipynb")
    sources = ["%run ./9.ipynb", "x = 1"]
    outer = new_notebook(cells=list(map(new_code_cell, sources)))
    file = f"File /tmp/ipykernel_12/{kernel_file(made.cells[0].source)}:2"
    failure = Failure(kind=FailureKind.CELL, message="m", traceback=f"{file}\n{FIRST}")
    told = with_cell_names(failure, outer, tmp_path)
    assert told.traceback == "File 9.ipynb, cell 1, line 2\ncell 2"


def test_other_failures_stay() -> None:
    """They name no such file."""
    failure = Failure(kind=FailureKind.CELL, message="m", traceback="fit.py:3")
    assert with_cell_names(failure, notebook(), NOWHERE) is failure


@pytest.mark.timeout(300)
@pytest.mark.parametrize("text", ["x" * 400_000, '"' * 400_000, "ipykernel_1/" * 30_000])
def test_a_long_word_takes_no_time(text: str) -> None:
    """A search that begins anew at each character would take hours."""
    assert named(text, SOURCES, {}) == text
