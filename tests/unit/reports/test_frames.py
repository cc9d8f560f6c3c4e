from __future__ import annotations

from report_samples import TRACEBACK, cell_failure

from pytest_nbgroups.core.model import CellReference, FailureKind
from pytest_nbgroups.reports.frames import split_traceback

CHAINED = """\
---------------------------------------------------------------------------
KeyError                                  Traceback (most recent call last)
File ~/repo/config.py:3, in get(key)
      2 def get(key):
----> 3     return TABLE[key]

KeyError: 'x'

The above exception was the direct cause of the following exception:

ValueError                                Traceback (most recent call last)
Cell In[3], line 2
      1 data = load()
----> 2 fit(data)

ValueError: two lines
  of message"""

RECURSION = """\
Cell In[3], line 2
      1 data = load()
----> 2 fit(data)

{frames}

ValueError: bad value"""

FRAME = "Cell In[3], line 1, in fit(data)\n----> 1 fit(data)"


def test_the_failing_cells_own_frame_is_not_repeated() -> None:
    """Its source with the arrow shows the same; rules and titles say nothing."""
    assert split_traceback(cell_failure(), short=False) == (
        [
            "File ~/repo/fitting.py:11, in fit(data)",
            "     10 if not data:",
            '---> 11     raise ValueError("bad value")',
        ],
        ["ValueError: bad value"],
    )


def test_short_keeps_the_line_of_each_frame() -> None:
    """As pytest's own --tb=short does."""
    assert split_traceback(cell_failure(), short=True)[0] == [
        "File ~/repo/fitting.py:11, in fit(data)",
        '---> 11     raise ValueError("bad value")',
    ]


def test_the_frame_stays_where_the_line_is_not_known() -> None:
    """Nothing is dropped that is not shown elsewhere."""
    cell = CellReference(number=5, count=12, source="fit(data)", execution_count=3)
    frames, _ = split_traceback(cell_failure(cell=cell), short=False)
    assert frames[0] == "Cell In[3], line 2"


def test_a_frame_of_older_ipython_is_recognized() -> None:
    """Before IPython 8.7 a cell's frame was named otherwise."""
    traceback = TRACEBACK.replace("Cell In[3], line 2", "Input In [3], in <cell line: 2>()")
    frames, _ = split_traceback(cell_failure(traceback=traceback), short=False)
    assert frames[0] == "File ~/repo/fitting.py:11, in fit(data)"


def test_a_chain_of_exceptions_stays_a_chain() -> None:
    """The first exception is told, and the whole message of the last one."""
    assert split_traceback(cell_failure(traceback=CHAINED), short=False) == (
        [
            "File ~/repo/config.py:3, in get(key)",
            "      2 def get(key):",
            "----> 3     return TABLE[key]",
            "",
            "KeyError: 'x'",
            "",
            "The above exception was the direct cause of the following exception:",
        ],
        ["ValueError: two lines", "  of message"],
    )


def test_short_tells_a_chain_too() -> None:
    """What is not a frame is kept."""
    assert split_traceback(cell_failure(traceback=CHAINED), short=True)[0] == [
        "File ~/repo/config.py:3, in get(key)",
        "----> 3     return TABLE[key]",
        "KeyError: 'x'",
        "The above exception was the direct cause of the following exception:",
    ]


def test_a_recursion_is_told_once() -> None:
    """A thousand equal frames are one and a remark."""
    traceback = RECURSION.format(frames="\n\n".join([FRAME] * 957))
    frames, _ = split_traceback(cell_failure(traceback=traceback), short=False)
    assert frames == [*FRAME.splitlines(), "... the same frame 956 more times"]


def test_two_equal_frames_are_both_told() -> None:
    """A remark would be no shorter."""
    traceback = RECURSION.format(frames="\n\n".join([FRAME] * 2))
    frames, _ = split_traceback(cell_failure(traceback=traceback), short=False)
    assert frames == [*FRAME.splitlines(), "", *FRAME.splitlines()]


def test_a_third_equal_frame_is_a_remark() -> None:
    """From there on it is shorter."""
    traceback = RECURSION.format(frames="\n\n".join([FRAME] * 3))
    frames, _ = split_traceback(cell_failure(traceback=traceback), short=False)
    assert frames == [*FRAME.splitlines(), "... the same frame 2 more times"]


def test_the_error_is_the_last_of_its_name() -> None:
    """A chain may be of exceptions of one class."""
    traceback = "ValueError: first\n\nDuring handling of it:\n\nValueError: bad value"
    assert split_traceback(cell_failure(traceback=traceback), short=False) == (
        ["ValueError: first", "", "During handling of it:"],
        ["ValueError: bad value"],
    )


def test_a_long_traceback_loses_its_middle() -> None:
    """The frames nearest to the cell and nearest to the error stay."""
    traceback = "\n".join(f"at step {n}" for n in range(1000)) + "\nValueError: bad value"
    long, _ = split_traceback(cell_failure(traceback=traceback), short=False)
    short, _ = split_traceback(cell_failure(traceback=traceback), short=True)
    assert (long[20], len(long)) == ("... 940 more lines", 61)
    assert (short[4], len(short)) == ("... 988 more lines", 13)


def test_a_long_message_loses_its_middle() -> None:
    """A validation error of a hundred lines does not fill the screen."""
    traceback = "ValueError: bad value\n" + "\n".join(f"row {n}" for n in range(99))
    failure = cell_failure(traceback=traceback)
    assert split_traceback(failure, short=False)[1][20] == "... 70 more lines"
    assert split_traceback(failure, short=True)[1] == [
        "ValueError: bad value",
        "row 0",
        "row 1",
        "... 97 more lines",
    ]


def test_an_exception_without_a_text_reads_well() -> None:
    """IPython's colon with nothing after it goes."""
    failure = cell_failure(message="AssertionError", traceback="AssertionError: ")
    assert split_traceback(failure, short=False) == ([], ["AssertionError"])


def test_the_hint_at_a_magic_goes() -> None:
    """Nobody can type %tb into a notebook that has been run by pytest."""
    text = "An exception has occurred, use %tb to see the full traceback.\n\nSystemExit: 3\n"
    failure = cell_failure(message="SystemExit: 3", traceback=text)
    assert split_traceback(failure, short=False) == ([], ["SystemExit: 3"])


def test_a_traceback_of_another_language_is_shown_whole() -> None:
    """What is not understood is not touched; the message is the error."""
    failure = cell_failure(message="failed", traceback="Stacktrace:\n\n [1] top-level scope")
    assert split_traceback(failure, short=False) == (
        ["Stacktrace:", "", " [1] top-level scope"],
        ["failed"],
    )


def test_the_log_of_a_dead_kernel_is_no_traceback() -> None:
    """Its lines stay as they are, though one may begin as the message does."""
    failure = cell_failure(
        kind=FailureKind.KERNEL_DIED, message="the kernel died", traceback="the\n\nlog"
    )
    assert split_traceback(failure, short=True) == (["the", "", "log"], ["the kernel died"])


def magic_cell(line: int | None) -> CellReference:
    return CellReference(
        number=5, count=12, source="\n%%time\nx = 1\nfit(x)", execution_count=3, line=line
    )


BY_MAGIC = """\
Cell In[3], line 1
----> 1 get_ipython().run_cell_magic('time', '', 'x = 1\\nfit(x)')

File <timed exec>:2
      1 'Could not get source, probably due dynamically evaluated source code.'

File ~/repo/fitting.py:11, in fit(data)
---> 11     raise ValueError("bad value")

ValueError: bad value"""


def test_the_frames_of_a_cell_magic_are_not_repeated() -> None:
    """Neither the whole cell as one line, nor the pseudo file whose line has the arrow."""
    frames, _ = split_traceback(cell_failure(cell=magic_cell(4), traceback=BY_MAGIC), short=False)
    assert frames == [
        "File ~/repo/fitting.py:11, in fit(data)",
        '---> 11     raise ValueError("bad value")',
    ]


def test_the_pseudo_file_of_a_magic_stays_where_the_line_is_not_known() -> None:
    """Then it is all that says where."""
    frames, _ = split_traceback(
        cell_failure(cell=magic_cell(None), traceback=BY_MAGIC), short=False
    )
    assert frames[:2] == ["File <timed exec>:2", ""]
    arrow = BY_MAGIC.replace("      1 'Could", "----> 1 'Could")
    assert (
        split_traceback(cell_failure(cell=magic_cell(None), traceback=arrow), short=False)[0]
        == frames
    )


def test_the_own_frame_of_a_cell_that_begins_with_blank_lines() -> None:
    """Its number is lower than that of the line."""
    cell = CellReference(
        number=5, count=12, source="\n\ndata = load()\nfit(data)", execution_count=3, line=4
    )
    frames, _ = split_traceback(cell_failure(cell=cell), short=False)
    assert frames[0] == "File ~/repo/fitting.py:11, in fit(data)"
