"""Cells whose end is not what it seems: no answer, an unreadable message, an error that nothing raises."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from workbench import Finished, Tree, code, printed

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

SMALL = '[resources]\ncpus = 0.1\nram = "200MB"\n'
"""So that all of them wait at once."""
OBJECT = "class Broken{base}:\n    def {method}(self, *_, **__): {body}\n"
KERNEL = "kernel = get_ipython().kernel\n"
DISPLAY = "from IPython.display import display\n"
LATE = """
import time
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

class Late(IPythonKernel):
    async def execute_request(self, stream, ident, parent):
        self._publish_status("idle", "shell")
        time.sleep(4)
        await super().execute_request(stream, ident, parent)

IPKernelApp.launch_instance(kernel_class=Late)
"""
GROUP = """import asyncio
async def broken(): raise KeyError("k")
async with asyncio.TaskGroup() as group:
    group.create_task(broken())
"""
STREAM = """import sys
class Stream:
    def write(self, text): pass
    def flush(self): raise RuntimeError("no flush")
sys.stdout = Stream()
"""
SHOWN = {"repr": "__repr__", "html": "_repr_html_", "display": "_ipython_display_"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("endings"))

    def experiment(name: str, *cells: object, toml: str = "", kernel: str = "python3") -> None:
        tree.notebook(name, "1-run.ipynb", *cells, kernel=kernel)  # type: ignore[arg-type]
        tree.toml(name, SMALL + toml)

    unsendable = "get_ipython().payload_manager.write_payload({'source': '', 'no text': object()})"
    experiment("unsendable", unsendable, "print('next')")
    experiment("deadline", unsendable, "print('next')", toml="[run]\ncell_timeout = 1\n")
    frames = OBJECT.format(base="(Exception)", method="_render_traceback_", body="return [1, 2]")
    experiment("frames", f"{frames}raise Broken('mine')")
    experiment("group", GROUP)
    experiment("no-stream", "import sys\nsys.stdout = sys.stderr = None", "1 / 0")
    experiment("no-flush", STREAM, toml="[run]\ncell_timeout = 5\n")
    experiment("speechless", f"{KERNEL}kernel.session.send = None")
    experiment(
        "busy",
        f"{KERNEL}kernel.log.error('Exception in message handler')\nimport time; time.sleep(12)",
    )
    tree.file("late", "late.py", LATE)
    experiment("late", "1", kernel="late")
    script = str(tree.directory("late") / "late.py")
    tree.kernelspec("late", [sys.executable, script, "-f", "{connection_file}"])
    for name, method in SHOWN.items():
        shown = OBJECT.format(base="", method=method, body="raise ValueError('bad text')")
        experiment(name, f"{shown}Broken()")
    nothing = OBJECT.format(base="(Exception)", method="_render_traceback_", body="return None")
    experiment("no-frames", f"{nothing}raise Broken('mine')")
    deep = (
        "import sys\nsys.setrecursionlimit(20_000)\ndeep = 0\nfor _ in range(3000): deep = [deep]\n"
    )
    experiment(
        "refused",
        f"{DISPLAY}display({{'text/plain': None}}, raw=True)\nprint('one')",
        f"{KERNEL}kernel.iopub_socket.send_multipart([b'topic', b'rubbish'])\nprint('two')",
        f"{deep}display({{'application/json': deep}}, raw=True)\nprint('three')",
    )
    experiment(
        "errors",
        "%%capture\n1 / 0",
        "def broken(_): raise RuntimeError('in a hook')\n"
        "get_ipython().events.register('post_run_cell', broken)",
        "get_ipython().events.unregister('post_run_cell', broken)",
        code("1 / 0", "raises-exception"),
    )
    yield tree
    tree.close()


@pytest.fixture(scope="module")
def run(tree: Tree) -> Finished:
    """One run of all of them; the slow ones wait."""
    return tree.pytest("-n", "4")


def _warnings(run: Finished, name: str) -> list[str]:
    (attempt,) = run.experiment(name)["attempts"]
    return list(attempt["warnings"])


def test_every_one_is_reported(run: Finished) -> None:
    """Those pass whose code has done what it was to do."""
    outcomes = {e["name"]: e["outcome"] for e in run.session["experiments"]}
    passed = {name for name, outcome in outcomes.items() if outcome == "passed"}
    assert passed == {"busy", "late", "refused", "errors"}
    assert len(outcomes) == 15


@pytest.mark.parametrize("name", ["unsendable", "deadline"])
def test_an_answer_that_cannot_be_sent(run: Finished, name: str) -> None:
    """The cell fails with the error from the kernel's log, whether or not there is a limit."""
    failure = run.failure(name)
    assert failure["kind"] == "error"
    assert failure["message"].startswith(
        "the kernel is done with cell 1 of 2 but could not answer: ValueError: Can't clean for JSON"
    )
    assert failure["cell"]["number"] == 1
    assert "in json_clean" in failure["traceback"]


def test_a_kernel_that_can_send_nothing(run: Finished) -> None:
    """It does not even report that it is idle, but its log and its silence show it."""
    failure = run.failure("speechless")
    assert failure["message"] == (
        "the kernel is done with cell 1 of 1 but could not answer: "
        "TypeError: 'NoneType' object is not callable"
    )
    assert "json, of IPython or of the kernel" in failure["remedy"]


@pytest.mark.parametrize(
    ("name", "which", "error"),
    [
        (
            "no-stream",
            "cell 2 of 2",
            "AttributeError: 'NoneType' object has no attribute 'write'",
        ),
        ("no-flush", "cell 1 of 1", "RuntimeError: no flush"),
    ],
)
def test_a_stream_that_cannot_be_written_to(
    run: Finished, name: str, which: str, error: str
) -> None:
    """The failure names the streams, also if the kernel never becomes idle; no limit is blamed."""
    failure = run.failure(name)
    assert failure["message"] == f"the kernel is done with {which} but could not answer: {error}"
    assert "sys.stdout or sys.stderr" in failure["remedy"]


def test_a_group_of_exceptions_after_an_await(run: Finished) -> None:
    """IPython only prints it, and then the kernel looks in vain for its traceback."""
    failure = run.failure("group")
    assert (failure["kind"], failure["message"]) == (
        "cell",
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
    )
    assert failure["cell"]["line"] == 3
    assert "KeyError: 'k'" in failure["traceback"]
    assert failure["output"] == ""


def test_the_error_of_the_cell_comes_first(run: Finished) -> None:
    """The name of the exception is the message, and the missing answer is evidence."""
    failure = run.failure("frames")
    assert (failure["kind"], failure["message"]) == ("cell", "Broken: mine")
    (evidence,) = failure["evidence"]
    assert evidence.startswith(
        "the kernel is done with cell 1 of 1 but could not answer: TypeError: "
    )


@pytest.mark.parametrize("name", SHOWN)
def test_a_result_that_cannot_be_shown(run: Finished, name: str) -> None:
    """The error has its name, although the kernel answers with another."""
    failure = run.failure(name)
    assert (failure["kind"], failure["message"]) == ("cell", "ValueError: bad text")
    assert failure["cell"]["line"] == 2


def test_an_exception_without_frames(run: Finished) -> None:
    """It keeps its name, and nothing is said to be lost."""
    failure = run.failure("no-frames")
    assert (failure["kind"], failure["message"]) == ("cell", "Broken: mine")
    assert _warnings(run, "no-frames") == []


def test_refused_messages(run: Finished) -> None:
    """The notebook goes on, and a warning says which output is missing and why."""
    cells = run.executed("refused", "1-run.ipynb").cells
    assert [printed(cell) for cell in cells] == ["one\n", "two\n", "three\n"]
    warnings = _warnings(run, "refused")
    for number, why in enumerate(
        [
            "display_data: NotebookValidationError: data.text/plain: None is not valid",
            "unreadable message: ValueError",
            "display_data: RecursionError",
        ],
        start=1,
    ):
        begins = f"refused: 1-run.ipynb, cell {number}: 1 output was left out because a notebook cannot hold it: {why}"
        assert warnings[number - 1].startswith(begins)
    assert len(warnings) == 3
    assert "too busy" not in run.text


def test_errors_in_cells_that_passed(run: Finished) -> None:
    """A warning for each error, with its cells; an error that is meant has none."""
    first, second = _warnings(run, "errors")
    begins = "errors: 1-run.ipynb, cell {}: passed although an error is among the outputs: {};"
    assert first.startswith(begins.format(1, "ZeroDivisionError: division by zero"))
    assert second.startswith(begins.format(2, "RuntimeError: in a hook"))
    assert "RuntimeError: in a hook; tag a cell raises-exception if" in run.text


def test_errors_as_failures(tree: Tree, run: Finished) -> None:
    """The first such cell ends the notebook, if the ini file wants it so."""
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    failing = tree.pytest("experiments/errors", "-o", "experiment_error_outputs=fail")
    failure = failing.failure("errors")
    assert (failure["kind"], failure["message"]) == (
        "cell",
        "ZeroDivisionError: division by zero",
    )
    assert failure["cell"]["number"] == 1
    assert failure["evidence"] == [
        "the cell ended without an exception, but an error is among its outputs"
    ]
    assert "experiment_error_outputs = warn" in failing.text


def test_errors_that_are_ignored(tree: Tree, run: Finished) -> None:
    """No word of them."""
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    ignoring = tree.pytest("experiments/errors", "-o", "experiment_error_outputs=ignore")
    assert ignoring.returncode == pytest.ExitCode.OK
    assert _warnings(ignoring, "errors") == []
