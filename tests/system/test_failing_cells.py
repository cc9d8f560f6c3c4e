"""Cells that fail in ways that say little: where the arrow is, what the message says, and what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from workbench import Finished, Json, Tree

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

# What rich.traceback.install() does: a box is displayed, and no error is published.
BOXED = """\
def show(shell, kind, error, traceback, **_):
    number = traceback.tb_next.tb_lineno
    box = ["╭── Traceback (most recent call last) ──╮", f"│ in <module>:{number}   │", "│    │",
           f"│ ❱ {number} x / y │", "╰────╯", f"{kind.__name__}: {error}"]
    display({"text/plain": "\\n".join(box)}, raw=True)

shell = get_ipython()
shell._showtraceback = lambda kind, error, _: show(shell, kind, error, error.__traceback__)
"""
OLD = "import warnings\nwarnings.warn('old', DeprecationWarning)\nraise ValueError(1)"
DIES = """\
class Mute(Exception):
    def __str__(self):
        raise RuntimeError("inner")
"""
CELLS = {
    "blank": ("\n\nx = 1\nx / 0",),
    "boxed": (BOXED, "x, y = 1, 0\nx / y"),
    "exit": ("import sys\nsys.exit(0)",),
    "group": ("x = 1\nraise ExceptionGroup('g', [ValueError(1)])",),
    "input": ("name = input('who? ')",),
    "mute": (DIES, "x = 1\nraise Mute"),
    "prun": ("%%prun -q\nx = 1\nx / 0",),
    "syntax": ("1", "\n\nx = 1\ny = = 2"),
    "other": ("x = 1", "x = 2\n\nx / 0"),
    "runs": ("%run other.ipynb",),
    "skips": ("import unittest\nraise unittest.SkipTest('no data')",),
    "time": ("\n%%time\n\nx = 1\nx / 0",),
    "timeit": ("%%timeit -n 1 -r 1\nx = 1\nx / 0",),
    "warned": ("1", OLD),
}
ON_POSIX = {
    "bash": ("%%bash\necho why >&2\nexit 3",),
    "cpu": ("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",),
    "term": ("import os, time\nos.kill(os.getpid(), 15)\ntime.sleep(60)",),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """One run of all of them."""
    tree = Tree(tmp_path_factory.mktemp("failing"))
    cells = CELLS if sys.platform == "win32" else {**CELLS, **ON_POSIX}
    for name, sources in cells.items():
        tree.notebook("fit", f"{name}.ipynb", *sources)
    tree.toml("fit", "[run]\nindependent = true\n")
    yield tree.pytest("-n", "2")
    tree.close()


def failure(run: Finished, name: str) -> Json:
    return run.failure(f"fit/{name}")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("blank", 4),
        ("boxed", 2),
        ("group", 2),
        ("mute", 2),
        ("prun", 3),
        ("syntax", 4),
        ("time", 5),
        ("timeit", 3),
        ("warned", 3),
        ("exit", None),
    ],
)
def test_the_arrow(run: Finished, name: str, line: int | None) -> None:
    """It is at the line that failed, in the source as the notebook has it."""
    assert failure(run, name)["cell"]["line"] == line
    if line is not None:
        assert re.search(rf"^-+> {line} \S", run.section(f"experiment fit/{name}"), re.MULTILINE)


def test_a_frame_is_shown_once(run: Finished) -> None:
    """Also of an error that is published twice."""
    assert run.section("experiment fit/mute").count("Cell In[1], line 3, in Mute.__str__") == 1


def test_cells_have_numbers(run: Finished) -> None:
    """And no pseudo files, wherever they are named."""
    assert failure(run, "syntax")["message"] == "SyntaxError: invalid syntax (cell 2, line 4)"
    assert failure(run, "warned")["output"].startswith("cell 2, line 2: DeprecationWarning: old")
    assert 'File "cell 1", line 2, in <module>' in failure(run, "group")["traceback"]
    assert not re.search(r"\d{6,}\.py", run.text)


def test_a_notebook_that_another_one_runs(run: Finished) -> None:
    """Its frame has its name and is shown once."""
    section = run.section("experiment fit/runs")
    assert section.count("File other.ipynb, cell 2, line 3") == 1
    assert section.count("ZeroDivisionError: division by zero") == 1


def test_what_to_do(run: Finished) -> None:
    """Where the error's own words do not say it."""
    assert failure(run, "exit")["remedy"].startswith("sys.exit() fails a cell whatever its code")
    assert failure(run, "input")["remedy"].startswith("questions cannot be answered")
    assert "requires in experiment.toml" in failure(run, "skips")["remedy"]
    assert failure(run, "blank")["remedy"] == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no bash and no signals there")
def test_how_a_script_ended(run: Finished) -> None:
    """With its last words, in the failure as in the table."""
    told = "CalledProcessError: %%bash ended with exit code 3 (why)"
    assert failure(run, "bash")["message"] == told
    assert f"\nE   {told}\n" in run.section("experiment fit/bash")


@pytest.mark.skipif(sys.platform == "win32", reason="no bash and no signals there")
def test_who_sent_the_signal(run: Finished) -> None:
    """The kernel cannot tell, but its source can."""
    found = failure(run, "term")
    assert found["message"] == (
        "the kernel died in cell 1 of 1: SIGTERM, sent from outside or by the notebook itself"
    )
    assert found["evidence"] == ["cell 1 calls os.kill()"]


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells it of a process that has ended"
)
def test_the_limit_on_cpu_time(run: Finished) -> None:
    """SIGKILL comes of it where the soft limit is the hard one."""
    found = failure(run, "cpu")
    assert found["message"] == (
        "the kernel died in cell 1 of 1: SIGKILL, it ran into the operating system's limit on CPU time "
        "(ulimit -t 1)"
    )
    assert found["evidence"][-1] == "cell 1 calls resource.setrlimit()"
