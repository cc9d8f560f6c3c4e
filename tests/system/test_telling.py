"""What a session says while it runs and in the end: terminal, JUnit, session.json, step summary."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from workbench import Finished, Tree

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

FAILING = """\
print("\\x1b[31mred\\x1b[0m")
value = 3
value / 0
print("never")"""
FAILURE = """\
experiment fit, notebook 2 of 3: 2-fit.ipynb, cell 2 of 3 (In [2])

      1 print("\\x1b[31mred\\x1b[0m")
      2 value = 3
----> 3 value / 0
      4 print("never")

E   ZeroDivisionError: division by zero

last lines of its output:
    red

executed notebook: .experiments/notebooks/fit/2-fit.ipynb
kernel log: .experiments/logs/fit/2-fit.log
not run: 3-eval.ipynb
rerun: pytest --run-experiments --experiment-resume experiments/fit::notebooks"""
LOG = "import os\n_ = os.write(2, b'\\x1b[1mto the log\\x1b[0m\\n')"
MINUTES = """
from pathlib import Path
from pytest_nbgroups.integration import terminal

terminal.MINUTE_S = 0.05
say = terminal.ExperimentReporter._say

def noted(self, lines):
    lines = list(lines)
    say(self, lines)
    with Path(__file__).with_name("said").open("a") as file:
        file.writelines(f"{line}\\n" for line in lines)

terminal.ExperimentReporter._say = noted
"""
"""Shortens the minutes, and writes into a file what has been said."""
SAID = """
import time
from pathlib import Path
def await_said(text, count):
    while Path({said!r}).read_text().count(text) < count:
        time.sleep(0.01)
"""


def _times(text: str) -> str:
    """The text with every duration and size replaced, so that it can be compared."""
    text = re.sub(r"\b\d+(\.\d+)?s\b|\b\d+m\d+s\b", "1s", text)
    return re.sub(r"\b[\d.]+ MiB\b", "9 MiB", text)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("telling"))
    tree.notebook("fit", "1-load.ipynb", "1")
    tree.notebook("fit", "2-fit.ipynb", LOG, FAILING, "3")
    tree.notebook("fit", "3-eval.ipynb", "1")
    tree.notebook("good", "1-good.ipynb", "print('fine')")
    yield tree
    tree.close()


def _github(tree: Tree, name: str) -> dict[str, str]:
    summary = str(tree.root / f"{name}.md")
    workspace = str(tree.root)
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": summary,
        "GITHUB_WORKSPACE": workspace,
    }


@pytest.fixture(scope="module")
def alone(tree: Tree) -> tuple[Finished, Mapping[str, str]]:
    """A run in one process, as in GitHub Actions; and the files that it left."""
    run = tree.pytest("-v", env=_github(tree, "alone"))
    return run, _files(tree.root, "alone")


@pytest.fixture(scope="module")
def together(tree: Tree) -> tuple[Finished, Mapping[str, str]]:
    """A run on two workers, in colour; and the files that it left."""
    run = tree.pytest("-v", "-n", "2", "--color=yes", env=_github(tree, "together"))
    return run, _files(tree.root, "together")


def _files(root: Path, name: str) -> Mapping[str, str]:
    names = ("junit.xml", ".experiments/session.json", f"{name}.md")
    return {Path(name).name: (root / name).read_text("utf-8") for name in names}


def _experiment_lines(text: str) -> list[str]:
    lines = (re.sub(r"\x1b\[[\d;]*m", "", line) for line in text.splitlines())
    told = re.compile(r"(\[gw\d\] )?(fit|good) \d/\d ")
    return [_times(line) for line in lines if told.match(line)]


def test_a_line_for_each_notebook(alone: tuple[Finished, object]) -> None:
    """As it finishes, and before the item's own line ends."""
    run, _ = alone
    assert _experiment_lines(run.text) == [
        "fit 1/3 1-load.ipynb passed in 1s, 9 MiB",
        "fit 2/3 2-fit.ipynb failed in 1s, 9 MiB: cell 2: ZeroDivisionError: division by zero",
        "good 1/1 1-good.ipynb passed in 1s, 9 MiB",
    ]


def test_a_line_for_each_notebook_with_workers(together: tuple[Finished, object]) -> None:
    """With the worker in front; experiments may take turns, the notebooks of one do not."""
    run, _ = together
    lines = _experiment_lines(run.text)
    assert sorted(line.partition("] ")[2] for line in lines) == [
        "fit 1/3 1-load.ipynb passed in 1s, 9 MiB",
        "fit 2/3 2-fit.ipynb failed in 1s, 9 MiB: cell 2: ZeroDivisionError: division by zero",
        "good 1/1 1-good.ipynb passed in 1s, 9 MiB",
    ]
    assert all(re.match(r"\[gw[01]\] ", line) for line in lines)
    assert len({line[:5] for line in lines if " fit " in line}) == 1


def test_the_text_of_a_failure(alone: tuple[Finished, object]) -> None:
    """All of it, to the letter."""
    run, _ = alone
    (heading,) = re.findall(r"^_+ .* _+$", run.text, re.MULTILINE)
    _, _, rest = run.text.partition(f"{heading}\n")
    assert rest.startswith(f"{FAILURE}\n"), rest
    assert heading.strip("_ ") == "experiment fit"


def test_the_failure_reads_the_same_with_workers(together: tuple[Finished, object]) -> None:
    """It is carried as it is."""
    run, _ = together
    plain = re.sub(r"\x1b\[[\d;]*m", "", run.text)
    assert f"\n{FAILURE}\n" in plain


def test_the_table(alone: tuple[Finished, object]) -> None:
    """A row for each experiment, with the reason of what did not pass."""
    run, _ = alone
    rows = [re.sub(" +", " ", _times(line)) for line in run.section("experiments").splitlines()]
    assert rows == [
        "experiment outcome notebooks time peak memory reason",
        "fit failed 1/3 1s 9 MiB 2-fit.ipynb, cell 2: ZeroDivisionError: division by zero",
        "good passed 1/1 1s 9 MiB",
    ]


def test_the_short_summary(alone: tuple[Finished, object]) -> None:
    """The line of pytest's own names notebook, cell and error."""
    run, _ = alone
    (line,) = run.section("short test summary info").splitlines()
    headline = "2-fit.ipynb, cell 2: ZeroDivisionError: division by zero"
    assert line == f"FAILED experiments/fit::notebooks - {headline}"


def test_the_header(alone: tuple[Finished, object], together: tuple[Finished, object]) -> None:
    """How many run at once, and of what there is how much."""
    one = r"^experiments: one at a time: \d+ cpus?, \d.* budget.*; "
    two = r"^experiments: 2 workers: \d+ cpus?, \d.* budget.*; "
    assert re.search(one, alone[0].text, re.MULTILINE)
    assert re.search(two, together[0].text, re.MULTILINE)


def test_no_escapes_where_there_is_no_terminal(
    alone: tuple[Finished, Mapping[str, str]], together: tuple[Finished, Mapping[str, str]]
) -> None:
    """Nor ever in a file, whatever the notebook prints and whatever --color says."""
    assert "\x1b" not in alone[0].text
    for files in (alone[1], together[1]):
        for name, text in files.items():
            assert "\x1b" not in text, name
            assert "\\u001b" not in text, name
            assert "\ufffd" not in text, name
            assert "#x1B" not in text, name


def test_colour_where_it_is_asked_for(together: tuple[Finished, object]) -> None:
    """The rows of the table have the colour of their outcome."""
    lines = together[0].text.splitlines()
    assert any(re.match(r"\x1b\[31mfit +failed .*\x1b\[0m$", line) for line in lines)
    assert any(re.match(r"\x1b\[32mgood +passed .*\x1b\[0m$", line) for line in lines)


def test_what_github_shows(alone: tuple[Finished, Mapping[str, str]]) -> None:
    """An annotation on the notebook that failed, and the table with the whole failure below."""
    run, files = alone
    (annotation,) = [line for line in run.text.splitlines() if line.startswith("::error ")]
    assert annotation.startswith(
        "::error file=experiments/fit/2-fit.ipynb,title=fit%3A 2-fit.ipynb%2C cell 2 of 3::"
    )
    summary = _times(files["alone.md"])
    assert "### Experiments: 1 failed, 1 passed in 1s" in summary
    assert "| fit | failed | 1/3 | 1s | 9 MiB |" in summary
    assert "----&gt; 3 value / 0" in summary


@pytest.mark.skipif(sys.platform == "win32", reason="output is cut differently there")
def test_with_s(tree: Tree) -> None:
    """Where each notebook begins, what stops the experiment and what therefore does not run."""
    run = tree.pytest("-s", "experiments/fit")
    lines = [line for line in run.text.splitlines() if line.startswith(("---", "Stopping"))]
    assert lines[:3] == [
        "--- Notebook 1/3: 1-load.ipynb ---",
        "--- Notebook 2/3: 2-fit.ipynb ---",
        "Stopping fit: 2-fit.ipynb failed; not run: 3-eval.ipynb",
    ]
    assert not any("Notebook 3/3" in line for line in lines)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_line_a_minute(tmp_path: Path, workers: str) -> None:
    """Where there is no terminal: which notebook and cell runs, for how long, until when."""
    tree = Tree(tmp_path)
    (tree.root / "short_minutes.py").write_text(MINUTES)
    tree.notebook("slow", "1-first.ipynb", "1")
    (tree.root / "said").touch()
    said = SAID.format(said=str(tree.root / "said"))
    tree.notebook("slow", "2-sleep.ipynb", "1", f"{said}await_said('cell 2/2', 2)")
    tree.toml("slow", '[run]\ntimeout = "90min"\n')
    startup = tree.root / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00-late.py").write_text(f"{said}await_said('starting its kernel', 1)")
    env = {"IPYTHONDIR": str(tree.root / "ipython")}
    run = tree.pytest("-p", "short_minutes", workers, env=env)
    assert run.returncode == 0, run.text
    told = [line for line in run.text.splitlines() if line.startswith("slow: ")]
    cell = [line for line in told if "cell 2/2" in line]
    assert len(cell) > 1, run.text
    assert _times(cell[0]) == "slow: notebook 2/2 2-sleep.ipynb, cell 2/2, 1s, deadline in 1h29m"
    assert any("starting its kernel" in line for line in told)
