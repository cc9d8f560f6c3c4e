"""Where the traceback of a failed cell is, and what it looks like."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode, from_dict  # noqa: TID253

from pytest_nbgroups.execution.failing_line import failing_line
from pytest_nbgroups.execution.tracebacks import shown_by

# As rich 15.0 draws it, a box of 46 columns.
BOX = """\
\x1b[31m╭─\x1b[0m───── Traceback (most recent call last) ──────╮
│ in <module>:3                              │
│                                            │
│   1 x = 1                                  │
│   2 for y in [0]:                          │
│ ❱ 3 │   fit(x, y, "a line that is very long │
│   4                                        │
│                                            │
│ in fit:4                                   │
│                                            │
│   3 def fit(x, y, text):                   │
│ ❱ 4 │   return load(x / y)                 │
│                                            │
│ /home/me/fit.py:7 in load                  │
│                                            │
│   6 def load(path):                        │
│ ❱ 7 │   raise ValueError(path)             │
│                                            │
│ ╭─ locals ─╮                               │
│ │ path = 1 │                               │
│ ╰──────────╯                               │
╰────────────────────────────────────────────╯
\x1b[1;91mValueError: \x1b[0m1
"""
UNBOXED = """\
Cell In[3], line 3
      1 x = 1
      2 for y in [0]:
----> 3     fit(x, y, "a line that is very long
      4

in fit:4
      3 def fit(x, y, text):
----> 4     return load(x / y)

File /home/me/fit.py:7, in load
      6 def load(path):
----> 7     raise ValueError(path)

╭─ locals ─╮
│ path = 1 │
╰──────────╯

ValueError: 1"""
SOURCE = 'x = 1\nfor y in [0]:\n    fit(x, y, "a line that is very long and goes on")'

GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/x/IPython/core/interactiveshell.py", line 3823, in run_code
  |   File "/x/ipykernel_1/2.py", line 2, in <module>
  |     raise group
  | ExceptionGroup: g (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    | ValueError: 1
    +------------------------------------
"""


def cell(*outputs: dict[str, Any]) -> NotebookNode:
    made: NotebookNode = from_dict({"outputs": list(outputs), "execution_count": 3})
    return made


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stderr", "text": text}


def display(text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}


def error(*pieces: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": "E", "evalue": "", "traceback": list(pieces)}


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_a_traceback_in_a_box() -> None:
    """`rich.traceback.install()` displays it, and no error is published: it reads as IPython's would."""
    shown = shown_by(cell(stream("step 1\n"), display(BOX)))
    assert lines(shown.traceback) == lines(UNBOXED)
    assert shown.printed == "step 1"
    assert failing_line(SOURCE, shown.traceback, 3) == 3


def test_a_chain_of_boxes() -> None:
    """The last one has the line."""
    first = BOX.replace("<module>:3", "<module>:1")
    joint = "\nDuring handling of the above exception, another exception occurred:\n\n"
    shown = shown_by(cell(display(f"{first}{joint}{BOX}")))
    assert shown.traceback.count("\nValueError: 1") == 2
    assert failing_line(SOURCE, shown.traceback, 3) == 3


def test_a_group_of_exceptions() -> None:
    """IPython lets Python print it: it is the traceback, and no output of the cell."""
    shown = shown_by(cell(stream(f"step 1\n{GROUP}"), stream("step 2\n")))
    assert shown.traceback == GROUP.strip("\n")
    assert shown.printed == "step 1\nstep 2"


def test_what_was_printed_is_no_traceback_beside_an_error() -> None:
    """A notebook may print that of an exception which it has dealt with."""
    shown = shown_by(cell(stream(GROUP), error("SystemExit: 0")))
    assert shown.traceback == "SystemExit: 0"
    assert shown.printed.startswith("  |   File") or shown.printed.startswith("  + Exc")


def test_an_error_that_says_nothing_new() -> None:
    """An exception whose ``__str__`` raises is published twice."""
    whole = error(
        "-----", "Cell In[3], line 2", "During handling", "Cell In[1], line 3", "E: inner"
    )
    again = error("-----", "Cell In[1], line 3", "E: inner")
    other = error("-----", "F: other")
    traceback = shown_by(cell(whole, again, other)).traceback
    assert traceback.count("E: inner") == 1
    assert traceback.endswith("-----\nF: other")


def test_an_error_that_is_told_again_with_more() -> None:
    """``%run`` publishes the error of a file or notebook, and then again with the frame of the cell."""
    inner = error("-----", "File 9.ipynb:2", "E: bad")
    outer = error("-----", "Cell In[1], line 1", "File 9.ipynb:2", "E: bad")
    other = error("-----", "F: other")
    shown = shown_by(cell(other, inner, outer))
    assert shown.traceback == ("-----\nF: other\n-----\nCell In[1], line 1\nFile 9.ipynb:2\nE: bad")


def test_no_traceback_at_all() -> None:
    """Only what was printed."""
    shown = shown_by(cell(stream("fine\n"), display("<Figure>")))
    assert (shown.traceback, shown.printed) == ("", "fine")
