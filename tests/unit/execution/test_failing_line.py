"""The arrow points at the line that failed, or nowhere. IPython runs in this process, its kernel does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from pytest_nbgroups.core.text import plain_text
from pytest_nbgroups.execution.cell_files import kernel_file
from pytest_nbgroups.execution.failing_line import failing_line, with_lines_of_cell

TICK = "tick()"


class Shell:
    """An IPython that knows ``tick()``, which fails the so-many-th time, and a magic ``%note``."""

    def __init__(self, folder: Path) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        self._shell = InteractiveShell(config=config, ipython_dir=str(folder))  # type: ignore[no-untyped-call]
        self._shell.magics_manager.register_function(lambda _: None, "line", "note")
        self._shell._showtraceback = self._keep  # type: ignore[assignment]
        self._shown: list[str] = []

    def _keep(self, _etype: object, _evalue: object, pieces: Sequence[str]) -> None:
        self._shown = list(pieces)

    def traceback(self, source: str, *, fails_at: int) -> str:
        """What IPython shows of the cell, as number 7."""
        left = iter(range(fails_at, -1, -1))

        def tick() -> None:
            if next(left) == 1:
                raise ZeroDivisionError("at this line")

        self._shown = []
        self._shell.user_ns["tick"] = tick
        self._shell.execution_count = 7
        self._shell.run_cell(source, store_history=True)  # type: ignore[no-untyped-call]
        return plain_text("\n".join(self._shown))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("ipython")
    return Shell(folder)


@dataclass(frozen=True)
class Made:
    """A cell, which of its ticks fails, and the line of that."""

    source: str
    fails_at: int
    line: int


BLOCKS = [
    TICK,
    "",
    "   ",
    "# a comment",
    "x = 1",
    'text = """\n!ls \\\n%note \\\n"""',
    "%note a",
    "%note a \\\n  b \\\n  c",
    "x = %note a \\\n  b",
    f"for _ in range(1):\n    {TICK}",
    "def f(g):\n    x = 2\n    g()\nf(tick)",
    f"x = [\n    1,\n    {TICK},\n]",
    f"try:\n    {{}}[1]\nexcept KeyError:\n    {TICK}",
    "s = 'a\x0cb' # \u2028 no line end to Python",
]
MAGICS = ["", "%%time", "%%timeit -n 1 -r 1", "%%prun -q", "%%time\n%%prun -q"]


@st.composite
def cells(draw: st.DrawFn) -> Made:
    """Cells of up to eight blocks, below blank lines and a magic, of which one ``tick()`` fails."""
    blocks = draw(st.lists(st.sampled_from(BLOCKS), max_size=7))
    blocks.insert(draw(st.integers(0, len(blocks))), TICK)
    top = draw(st.lists(st.sampled_from(["", "  ", "\t"]), max_size=3))
    magic = draw(st.sampled_from(MAGICS))
    body = "\n".join(blocks)
    text = "\n".join([*top, *([magic] if magic else []), body])
    lines = text.split("\n")
    ticks = [number for number, line in enumerate(lines, 1) if "tick" in line]
    fails_at = draw(st.integers(1, len(ticks)))
    return Made(source=text, fails_at=fails_at, line=ticks[fails_at - 1])


def is_certain(made: Made) -> bool:
    """Whether the line has to be found: nothing in the cell may move lines."""
    return "\\\n" not in made.source


def arrow(shell: Shell, source: str, fails_at: int) -> int | None:
    traceback = shell.traceback(source, fails_at=fails_at)
    assert "at this line" in traceback, traceback
    return failing_line(source, traceback, 7)


@settings(phases=[Phase.explicit, Phase.generate])
@given(made=cells())
@example(made=Made(source="\n\n\ntick()", fails_at=1, line=4))
@example(made=Made(source="%note a \\\n b\ntick()\ntick()", fails_at=2, line=4))
@example(made=Made(source='s = """\n%note \\\n"""\ntick()\ntick()', fails_at=1, line=4))
@example(made=Made(source='s = """\n%note \\\n"""\n%note \\\n\ntick()\ntick()', fails_at=2, line=7))
def test_the_arrow_is_right(shell: Shell, made: Made) -> None:
    """It is at the line that failed; nowhere only if numbers alone cannot tell."""
    found = arrow(shell, made.source, made.fails_at)
    assert found == made.line or (found is None and not is_certain(made))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("\r\n\r\nx = 1\r\ntick()\r\n", 4),
        ("\rx = 1\rtick()", 3),
        ("\n    x = 1\n    tick()", 3),
        ("\n>>> x = 1\n>>> for _ in [1]:\n...     tick()", 4),
        ("In [1]: x = 1\n   ...: tick()", 2),
        ("# a comment\n\ntick()", 3),
        ("\x0c\n\u2028x = 1\ntick()", 3),
        ("%%timeit -n 1 -r 1 y = 2\nx = 1\ntick()", 3),
        ("%%timeit -n 1 -r 1 tick()\nx = 1", None),
        ("\n%%prun -q x = 1\ny = 2\ntick()", 4),
        ("%%prun -q -l 3 tick()\ny = 2", 1),
        ("%%time\n\n\n  x = 1\n  tick()", 5),
        ("%%time\ntick(\n)", 2),
        ("%%time\n%note a \\\n b\ntick()", None),
    ],
)
def test_cells_that_ipython_rewrites(shell: Shell, source: str, line: int | None) -> None:
    """Line ends, indentation, prompts, and the options and statements of magics."""
    assert arrow(shell, source, 1) == line


def test_a_syntax_error(shell: Shell) -> None:
    """Its place is that in the cell, in the traceback too."""
    source = "\n\nx = 1\ny = = 2"
    assert failing_line(source, shell.traceback(source, fails_at=1), 7) == 4
    timed = f"%%time\n{source}"
    assert failing_line(timed, shell.traceback(timed, fails_at=1), 7) == 5
    told = "  Cell In[7], line {}\n    y = = 2\n        ^\nSyntaxError: invalid syntax\n"
    assert with_lines_of_cell(told.format(2), source, 7) == told.format(4)
    assert with_lines_of_cell(told.format(2), source, 6) == told.format(2)


CELL = "\nx = 1\nfor i in range(3):\n    x / i"


@pytest.mark.parametrize(
    "traceback",
    [
        "Cell In[7], line 3\n      1 x = 1\n----> 3     x / i",
        "Input In [7], in <cell line: 2>()\n      1 x = 1\n----> 3     x / i",
        "<ipython-input-7-0a1b2c3d> in <module>\n      1 x = 1\n----> 3     x / i",
        "/x/ipykernel_7/FILE in <module>\n      1 x = 1\n----> 3     x / i",
        '  |   File "/x/ipykernel_7/FILE", line 3, in <module>\n  |     x / i',
        "Cell In[7], line 3\n    x / i",
        "Cell In[7], line 3\n\nDuring handling of the above exception, another ...\n\nFile a.py:2, in f\n",
        "Cell In[7], line 1\n\nThe above exception was the direct cause ...\n\nCell In[7], line 3",
        "File a.py:2, in f\n----> 2 x\nCell In[7], line 3\nCell In[7], line 1, in g",
    ],
)
def test_how_tracebacks_name_a_line(traceback: str) -> None:
    """IPython of three ages, Python itself; of a chain the last exception that passed through the cell."""
    assert failing_line(CELL, traceback.replace("FILE", kernel_file(CELL)), 7) == 4


@pytest.mark.parametrize(
    "traceback",
    [
        "Cell In[6], line 3\n----> 3     x / i",
        "Cell In[7], line 3\n----> 3     something else",
        "Cell In[7], line 9",
        "Cell In[7], line 0",
        "Input In [7]\n    x / i",
        '  File "/x/ipykernel_7/12345.py", line 3, in <module>\n    x / i',
        "in f:3\n----> 3     x / i",
        "",
    ],
)
def test_no_arrow_is_better_than_a_wrong_one(traceback: str) -> None:
    """Another cell, a text that is not there, a number that the cell does not have."""
    assert failing_line(CELL, traceback, 7) is None


def test_magics_below_each_other() -> None:
    """Each has its frame; one that is not known ends the search."""
    frames = "Cell In[7], line 1\nFile <timed eval>:1\nFile <string>:2\nFile <timed exec>:1, in f"
    assert failing_line("%%time\n%%prun\nx = 1\nx / 0", frames, 7) == 4
    assert failing_line("%%time\n%%mine\nx = 1\nx / 0", frames, 7) is None
    assert failing_line("%%mine\n%%prun\nx = 1\nx / 0", frames, 7) is None
