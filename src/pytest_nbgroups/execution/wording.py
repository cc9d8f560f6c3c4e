"""Meaning and remedy of errors whose text is not enough for the user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_nbgroups.core.cell_lines import CellText
from pytest_nbgroups.core.text import last_lines, plain_text

if TYPE_CHECKING:
    from nbformat import NotebookNode

_LAST_WORDS = 120
"""Characters that are kept of the last line on stderr."""

# IPython gives CalledProcessError the bytes of the script for its command; no other caller does.
_SCRIPT = re.compile(
    r"Command 'b(['\"]).*\1' (?:returned non-zero exit status (?P<code>\d+)"
    r"|died with (?:<Signals\.(?P<name>\w+): \d+>|unknown (?P<number>signal \d+)))\.",
    re.DOTALL,
)
_DEBUGGER = re.compile(r"\b(?:i?pdb|bdb|Pdb|TerminalPdb)\b|\bset_trace\(")
_ARGPARSE = re.compile(r"^usage: .*", re.MULTILINE)

# IPython prints a group of exceptions as Python does, and does not report it otherwise.
_GROUP = re.compile(
    r"^  \+ Exception Group Traceback .*\n(?:  \|  .*\n)+  \| (?P<error>\S.*)$", re.MULTILINE
)
_NO_TRACEBACK = "_last_traceback"
"""In the log of an ipykernel whose cell with a top-level ``await`` has raised an error that IPython only prints."""
_STREAM = re.compile(r"\bsys\.std(?:out|err)\.flush\(\)|\bstream\.write\b|, in _tee$", re.MULTILINE)

_NO_ANSWER = "questions cannot be answered while a notebook runs as a test: "
_SKIP = (
    "a cell cannot skip its notebook: set skip or requires in experiment.toml, in [run] for all notebooks or in "
    "[notebooks] for one, or declare gpus in [resources]"
)
_REMEDIES = {
    "Skipped": _SKIP,
    "SkipTest": _SKIP,
    "XFailed": "a cell that is expected to fail: tag it raises-exception",
    "StdinNotImplementedError": f"{_NO_ANSWER}read the value from a file or an environment variable, or take a "
    "default if NBGROUPS is set in os.environ",
    "SystemExit": "sys.exit() fails a cell whatever its code, 0 included: let the cell run to its end, or raise an "
    "error that says what is wrong",
}
_REMOVE_BREAKPOINT = (
    f"{_NO_ANSWER}remove the breakpoint; pytest --pdb keeps the kernel of a failed notebook for "
    "you to look into"
)
_GIVE_ARGUMENTS = "argparse read the command line of the kernel: give it the arguments, as in parser.parse_args([])"


def reworded(ename: str, evalue: str, cell: NotebookNode) -> str | None:
    """Return the error of a cell in one line; None if the kernel's own words do."""
    if not ename and re.fullmatch(r"\d+", evalue.strip()):  # as kernels of shells have it
        return f"exit code {evalue.strip()}{_last_words(cell)}"
    if ename == "CalledProcessError" and (ended := _SCRIPT.fullmatch(evalue.strip())):
        code = ended["code"]
        status = f"exit code {code}" if code else ended["name"] or ended["number"]
        return f"{ename}: {_script(cell)} ended with {status}{_last_words(cell)}"
    return None


def _script(cell: NotebookNode) -> str:
    """``%%bash``; for ``%%script`` with the program."""
    magics = CellText(cell.source).magics
    if not magics:
        return "the script"
    return magics[-1] if magics[-1].startswith("%%script ") else magics[-1].split()[0]


def _last_words(cell: NotebookNode) -> str:
    texts = [o.get("text", "") for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    last = last_lines(plain_text("".join(texts[-2:])), 1, width=_LAST_WORDS).strip()
    return f" ({last})" if last else ""


def remedy_of(ename: str, traceback: str, printed: str) -> str:
    """Return a remedy for an error of a cell; empty for most errors, because their text is enough."""
    if ename == "StdinNotImplementedError" and _DEBUGGER.search(traceback):
        return _REMOVE_BREAKPOINT
    if ename == "SystemExit" and _ARGPARSE.search(printed):
        return _GIVE_ARGUMENTS
    return _REMEDIES.get(ename, "")


def printed_group(log: str, cell: NotebookNode) -> str:
    """The group of exceptions that a cell has raised although the kernel could not answer; empty if there is none."""
    if _NO_TRACEBACK not in log:
        return ""
    groups = [found["error"] for found in _GROUP.finditer(_stderr(cell))]
    return groups[-1] if groups else ""


def _stderr(cell: NotebookNode) -> str:
    texts = (o.get("text", "") for o in cell.get("outputs", []) if o.get("name") == "stderr")
    return plain_text("".join(texts))


def remedy_without_answer(log: str) -> str:
    """Return what to do if the kernel could not answer, which it explains in ``log``."""
    if _STREAM.search(log):
        return (
            "a cell has put something into sys.stdout or sys.stderr that a kernel cannot write to: give the object "
            "write() and flush() that do not raise, or put the stream back in the same cell, as "
            "contextlib.redirect_stdout does"
        )
    return "look for code that replaces a part of json, of IPython or of the kernel"
