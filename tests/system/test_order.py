"""Notebooks in order, each in a fresh kernel, up to the first failure; and what is left on disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat  # noqa: TID253  to read notebooks
import pytest
from workbench import Finished, Tree, code, printed, read

if sys.platform == "win32":
    pytest.skip("starts POSIX programs", allow_module_level=True)

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

LEAVES = """
import os, subprocess, sys, time
from pathlib import Path
_code = '''
import os, signal, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open("child.new", "w") as file:
    file.write(str(os.getpid()))
os.rename("child.new", "child.pid")
time.sleep(600)
'''
subprocess.Popen([sys.executable, "-I", "-S", "-c", _code]).wait()
while not Path("child.pid").exists():
    time.sleep(0.01)
variable = 1
"""
LOOKS = """
import json, os
from pathlib import Path
import psutil
Path("seen.json").write_text(json.dumps({
    "child": psutil.pid_exists(int(Path("child.pid").read_text())),
    "variable": "variable" in globals(),
    "cwd": os.getcwd(),
    "environ": dict(os.environ),
}))
"""
SEVEN = [f"{number}-step.ipynb" for number in range(1, 8)]


def _stale(path: Path) -> None:
    """Give each cell an output, as if the notebook had been run by hand."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.execution_count = 77
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="stale\n")]
    path.write_text(nbformat.writes(notebook))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("order"))
    for name in SEVEN:
        third = name.startswith("3")
        cells = ["print('first')", "print('second')\n1 / 0" if third else "2", "print('third')"]
        _stale(tree.notebook("seven", name, *cells, "open('ran', 'a').write('x')"))
    tree.notebook("alone", "1-leave.ipynb", "1", LEAVES)
    tree.notebook("alone", "2-look.ipynb", LOOKS)
    tree.notebook("alone", "10-last.ipynb", "assert open('seen.json').read()")
    tree.notebook(
        "cells",
        "1-tags.ipynb",
        code("raise ValueError('expected')", "raises-exception"),
        code("raise RuntimeError('never run')", "skip-execution"),
        "print('after')",
    )
    tree.notebook("cells", "2-many.ipynb", "for i in range(10_000):\n    print('line', i)")
    tree.notebook("cells", "3-skipped.ipynb", "1 / 0")
    tree.notebook("cells", "4-needy.ipynb", "1 / 0")
    tree.notebook("cells", "5-last.ipynb", "print('end')")
    tree.toml(
        "cells",
        '[notebooks."3-skipped.ipynb"]\nskip = "not today"\n'
        '[notebooks."4-needy.ipynb"]\nrequires = ["module:no_such_module", "command:no-such"]\n',
    )
    yield tree
    tree.close()


@pytest.fixture(scope="module")
def contents(tree: Tree) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in tree.root.glob("experiments/*/*.ipynb")}


@pytest.fixture(scope="module")
def run(tree: Tree, contents: dict[Path, bytes]) -> Finished:
    """One run of all of them on two workers."""
    assert contents
    return tree.pytest("-n", "2", "-v")


@pytest.fixture(scope="module")
def seen(run: Finished) -> dict[str, object]:
    """What the second notebook of ``alone`` saw."""
    import json

    data: dict[str, object] = json.loads((run.root / "experiments/alone/seen.json").read_text())
    return data


def test_a_child_is_gone_before_the_next_notebook(seen: dict[str, object]) -> None:
    """Even one that has left the session and lost its parent does not see the next notebook."""
    assert seen["child"] is False


def test_each_notebook_has_a_fresh_kernel(seen: dict[str, object]) -> None:
    """Nothing of the notebook before is in memory."""
    assert seen["variable"] is False


def test_a_kernel_works_in_the_directory(run: Finished, seen: dict[str, object]) -> None:
    """Relative paths in notebooks mean the experiment's own files."""
    assert seen["cwd"] == str(run.root / "experiments/alone")


def test_a_kernel_knows_where_it_runs(seen: dict[str, object]) -> None:
    """It is told the experiment, the notebook and its lease, and does not believe to be inside of pytest."""
    environ = seen["environ"]
    assert isinstance(environ, dict)
    told = {name: value for name, value in environ.items() if name.startswith("NBGROUPS")}
    assert told.pop("NBGROUPS_LEASE").startswith("holding-")
    assert told.pop("NBGROUPS_POOL") == str(Path(str(seen["cwd"])).parents[1] / ".pool")
    assert told == {
        "NBGROUPS": "1",
        "NBGROUPS_EXPERIMENT": "alone",
        "NBGROUPS_NOTEBOOK": "2-look.ipynb",
    }
    assert "PYTEST_CURRENT_TEST" not in environ


def test_cells_ran_in_order(run: Finished) -> None:
    """By the timestamps that the executed notebooks hold, with 10- after 2-."""
    spans = []
    for name in ("1-leave.ipynb", "2-look.ipynb", "10-last.ipynb"):
        for cell in run.executed("alone", name).cells:
            times = cell.metadata.execution
            spans += [times["iopub.execute_input"], times["shell.execute_reply"]]
    assert len(spans) == 8
    assert spans == sorted(spans)


def test_nothing_runs_after_a_failure(run: Finished) -> None:
    """Only the two notebooks before it have left their mark."""
    assert (run.root / "experiments/seven/ran").read_text() == "xx"


def test_a_failure_in_session_json(run: Finished) -> None:
    """Three of seven, and the other experiments are not touched by it."""
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert [n["name"] for n in run.notebooks("seven")] == SEVEN
    assert run.outcomes("seven") == ["passed", "passed", "failed", *["not_run"] * 4]
    assert [run.experiment(name)["outcome"] for name in ("seven", "alone", "cells")] == [
        "failed",
        "passed",
        "passed",
    ]
    failure = run.failure("seven")
    assert failure["message"] == "ZeroDivisionError: division by zero"
    assert (failure["cell"]["number"], failure["cell"]["line"]) == (2, 2)


def test_a_failure_on_the_terminal(run: Finished) -> None:
    """The verbose lines, the text of the failure and the table agree."""
    lines = [line.partition("] ")[2] for line in run.text.splitlines() if line.startswith("[gw")]
    seven = [line.split(" in ")[0] for line in lines if line.startswith("seven ")]
    assert seven == [
        "seven 1/7 1-step.ipynb passed",
        "seven 2/7 2-step.ipynb passed",
        "seven 3/7 3-step.ipynb failed",
    ]
    assert "not run: 4-step.ipynb, 5-step.ipynb, 6-step.ipynb, 7-step.ipynb" in run.text
    table = run.section("experiments")
    assert [line.split()[:3] for line in table.splitlines() if line.startswith("seven")] == [
        ["seven", "failed", "2/7"]
    ]
    assert "FAILED experiments/seven::notebooks - 3-step.ipynb, cell 2: ZeroDivisionError" in (
        run.text
    )


def test_a_failure_in_junit(run: Finished) -> None:
    """Each experiment once, with properties that name what failed."""
    cases = {case.attrib["classname"].split(".")[-1]: case for case in run.junit.iter("testcase")}
    assert sorted(cases) == ["alone", "cells", "seven"]
    (suite,) = run.junit.iter("testsuite")
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "1")
    properties = {p.attrib["name"]: p.attrib["value"] for p in cases["seven"].iter("property")}
    durations = {name: properties.pop(name) for name in list(properties) if ":" in name}
    assert properties == {
        "nbgroups_experiment": "seven",
        "nbgroups_notebooks": "7",
        "nbgroups_notebooks_passed": "2",
        "nbgroups_failed_notebook": "3-step.ipynb",
        "nbgroups_failure_kind": "cell",
        "nbgroups_failed_cell": "2",
    }
    assert list(durations) == [f"nbgroups_duration_s:{name}" for name in SEVEN[:3]]
    (failure,) = cases["seven"].iter("failure")
    assert "not run: 4-step.ipynb, 5-step.ipynb" in (failure.text or "")


def test_outputs_end_at_the_failing_cell(run: Finished) -> None:
    """What ran is saved; outputs of an earlier run by hand are not mistaken for this one's."""
    first, second, *rest = run.executed("seven", "3-step.ipynb").cells
    assert (printed(first), first.execution_count) == ("first\n", 1)
    assert printed(second) == "second\n"
    assert [o.ename for o in second.outputs if o.output_type == "error"] == ["ZeroDivisionError"]
    assert [(cell.outputs, cell.execution_count) for cell in rest] == [([], None)] * 2
    folder = run.root / ".experiments/notebooks/seven"
    assert sorted(path.name for path in folder.iterdir()) == SEVEN[:3]


def test_the_users_notebooks_stay_as_they_are(run: Finished, contents: dict[Path, bytes]) -> None:
    """Byte for byte, and nothing is laid beside them."""
    assert run.returncode
    assert {path: path.read_bytes() for path in contents} == contents
    left = {path.name for path in (run.root / "experiments/seven").iterdir()}
    assert left == {*SEVEN, "ran"}


def test_the_tags_of_cells(run: Finished) -> None:
    """An expected exception passes, a cell that is to be skipped is skipped."""
    expected, skipped, after = run.executed("cells", "1-tags.ipynb").cells
    assert [o.ename for o in expected.outputs] == ["ValueError"]
    assert skipped.outputs == []
    assert printed(after) == "after\n"


def test_ten_thousand_lines(run: Finished) -> None:
    """All of them are saved, in one output."""
    (cell,) = run.executed("cells", "2-many.ipynb").cells
    assert len(cell.outputs) == 1
    assert printed(cell) == "".join(f"line {i}\n" for i in range(10_000))


def test_one_notebook_is_skipped(run: Finished) -> None:
    """With its reason, and those after it run."""
    assert run.outcomes("cells") == ["passed", "passed", "skipped", "skipped", "passed"]
    assert [n["reason"] for n in run.notebooks("cells")[2:4]] == [
        "not today",
        "needs the Python module no_such_module; needs the command no-such",
    ]
    assert printed(read(run.root / ".experiments/notebooks/cells/5-last.ipynb").cells[0]) == "end\n"


def test_the_log_of_a_kernel_is_kept(run: Finished) -> None:
    """One for each notebook that ran; session.json names those that say something."""
    logs = {path.name for path in (run.root / ".experiments/logs/alone").iterdir()}
    assert logs == {"1-leave.log", "2-look.log", "10-last.log"}
