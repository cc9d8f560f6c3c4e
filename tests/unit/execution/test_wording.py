"""Errors that say little to who did not write them."""

from __future__ import annotations

import subprocess
import unittest

import pytest
from nbformat import NotebookNode, from_dict  # noqa: TID253

from pytest_nbgroups.execution.wording import (
    printed_group,
    remedy_of,
    remedy_without_answer,
    reworded,
)


def cell(source: str = "%%bash\nls /x", stderr: str = "") -> NotebookNode:
    outputs = [{"output_type": "stream", "name": "stderr", "text": stderr}] if stderr else []
    made: NotebookNode = from_dict({"source": source, "outputs": outputs})
    return made


def failed(returncode: int, script: bytes = b'echo "it\'s"\nls /x\n') -> str:
    return str(subprocess.CalledProcessError(returncode, script))


@pytest.mark.parametrize(
    ("source", "returncode", "told"),
    [
        ("%%bash\nls /x", 2, "%%bash ended with exit code 2"),
        ("\n\n%%sh -e\nls /x", 127, "%%sh ended with exit code 127"),
        ("%%time\n%%script node --eval\n1", 1, "%%script node --eval ended with exit code 1"),
        ("get_ipython().run_cell_magic('sh', '', 'false')", 1, "the script ended with exit code 1"),
        ("%%bash\nkill $$", -15, "%%bash ended with SIGTERM"),
        ("%%bash\nkill $$", -99, "%%bash ended with signal 99"),
    ],
)
def test_a_script(source: str, returncode: int, told: str) -> None:
    """Which magic ran it, and how it ended, instead of its whole text as bytes."""
    message = reworded("CalledProcessError", failed(returncode), cell(source))
    assert message == f"CalledProcessError: {told}"


def test_the_last_words_of_a_script() -> None:
    """The last line on stderr most often says why, if it is not long."""
    message = reworded(
        "CalledProcessError", failed(2), cell(stderr="a\n\x1b[1mls: no such file\n\n")
    )
    assert message == "CalledProcessError: %%bash ended with exit code 2 (ls: no such file)"
    message = reworded("CalledProcessError", failed(2), cell(stderr="x" * 1000))
    assert message is not None
    assert message.endswith(f"({'x' * 119}…)")


def test_a_kernel_of_a_shell() -> None:
    """It gives the exit code as value of an error without a name."""
    assert reworded("", "1", cell()) == "exit code 1"
    assert reworded("", "127", cell(stderr="lss: not found\n")) == "exit code 127 (lss: not found)"


@pytest.mark.parametrize(
    ("ename", "evalue"),
    [
        ("CalledProcessError", str(subprocess.CalledProcessError(2, ["ls", "/x"]))),
        ("CalledProcessError", str(subprocess.CalledProcessError(2, "ls /x"))),
        ("CalledProcessError", "another one"),
        ("ValueError", "1"),
        ("", "object 'x' not found"),
        ("", ""),
    ],
)
def test_what_says_enough(ename: str, evalue: str) -> None:
    """A command that is named, and everything else."""
    assert reworded(ename, evalue, cell()) is None


def test_nobody_answers() -> None:
    """``input()`` and a debugger need different things."""
    asked = remedy_of("StdinNotImplementedError", "Cell In[1], line 1\n----> 1 input()", "")
    assert asked == (
        "questions cannot be answered while a notebook runs as a test: read the value from a file or an "
        "environment variable, or take a default if NBGROUPS is set in os.environ"
    )
    stopped = remedy_of("StdinNotImplementedError", "File /usr/lib/python3.11/pdb.py:369, in f", "")
    assert stopped == (
        "questions cannot be answered while a notebook runs as a test: remove the breakpoint; "
        "pytest --pdb keeps the kernel of a failed notebook for you to look into"
    )


def test_an_exit() -> None:
    """Code 0 fails as well; argparse exits because it reads what the kernel was started with."""
    assert remedy_of("SystemExit", "SystemExit: 0", "") == (
        "sys.exit() fails a cell whatever its code, 0 included: let the cell run to its end, or raise "
        "an error that says what is wrong"
    )
    usage = "usage: ipykernel_launcher.py [-h] --rate RATE\nipykernel_launcher.py: error: ..."
    assert remedy_of("SystemExit", "SystemExit: 2", usage) == (
        "argparse read the command line of the kernel: give it the arguments, as in "
        "parser.parse_args([])"
    )
    assert remedy_of("ValueError", "pdb", "usage: x") == ""


GROUP = """before
  + Exception Group Traceback (most recent call last):
  |   File "cell 1", line 3, in <module>
  |     async with asyncio.TaskGroup() as g:
  |     ^^^^^^^^^^^^^^^^^^^^^^
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  | a note
  +-+---------------- 1 ----------------
    | KeyError: 'k'
    +------------------------------------
"""


def test_a_group_of_exceptions_that_is_only_printed() -> None:
    """Its name is found if the kernel has lost the traceback, and not if something else went wrong."""
    lost = "AttributeError: 'ZMQInteractiveShell' object has no attribute '_last_traceback'"
    assert printed_group(lost, cell(stderr=GROUP)) == (
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"
    )
    assert printed_group("TypeError: not serializable", cell(stderr=GROUP)) == ""
    assert printed_group(lost, cell(stderr="KeyError: 'k'\n")) == ""


@pytest.mark.parametrize(
    ("log", "part"),
    [
        ("    sys.stdout.flush()\nRuntimeError: no\n", "sys.stdout or sys.stderr"),
        ("in _tee\n    original_write = stream.write\n", "sys.stdout or sys.stderr"),
        ("in json_clean\nValueError: no\n", "a part of json"),
    ],
)
def test_a_kernel_without_an_answer(log: str, part: str) -> None:
    """The remedy names what the log shows to be replaced."""
    assert part in remedy_without_answer(log)


def test_a_cell_that_wants_to_skip_itself() -> None:
    """It fails as in Jupyter, and the remedy names what skips a notebook, as pytest and unittest name it."""
    skips = [pytest.skip.Exception.__name__, unittest.SkipTest.__name__]
    for remedy in (remedy_of(ename, "", "") for ename in skips):
        assert all(key in remedy for key in ("skip", "requires", "gpus", "experiment.toml"))
    expected = remedy_of(pytest.xfail.Exception.__name__, "", "")
    assert expected == "a cell that is expected to fail: tag it raises-exception"
