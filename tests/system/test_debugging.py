"""``--pdb``: the failed kernel waits for its user, at a real terminal, and nothing is left of it."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from workbench import (
    PATIENCE_S,
    STUBBORN_CHILD,
    Finished,
    Running,
    Tree,
    await_condition,
    still_there,
)

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)

QUESTION = "Enter ends the kernel and goes on, q ends the session: "
FIXTURE = """
import pytest

def test_a(run_experiment):
    run_experiment('a')

def test_other(run_experiment):
    value = 5
    with pytest.raises(pytest.fail.Exception):
        run_experiment('a')
    assert value == 6
"""
TEST = "def test_ordinary():\n    value = 5\n    assert value == 6\n"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """An experiment whose second notebook fails, beside a test that would run after it."""
    tree = Tree(tmp_path)
    tree.notebook("a", "1-first.ipynb", "print('first')")
    tree.notebook("a", "2-fit.ipynb", STUBBORN_CHILD + "secret = 41", "1 / 0")
    tree.notebook("a", "3-never.ipynb", "open('ran', 'w')")
    (tmp_path / "test_ordinary.py").write_text("def test_ordinary(): pass\n")
    yield tree
    tree.close()


class Terminal:
    """A pytest run at a pseudo-terminal."""

    def __init__(self, tree: Tree, *arguments: str) -> None:
        self.tree = tree
        self._master, slave = os.openpty()
        self._transcript = tree.root / "terminal.txt"
        self._transcript.touch()
        self._reader = threading.Thread(target=self._copy)
        streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.run: Running = tree.start(
            "--pdb",
            "--color=no",
            *arguments,
            preexec=lambda: os.login_tty(slave),
            start_new_session=False,
            **streams,
        )
        os.close(slave)
        self._reader.start()

    def _copy(self) -> None:
        with self._transcript.open("wb") as file, suppress(OSError):  # EIO once all have gone
            while data := os.read(self._master, 65536):
                file.write(data)
                file.flush()

    def text(self) -> str:
        return self._transcript.read_text("utf-8", errors="replace").replace("\r\n", "\n")

    def await_text(self, text: str) -> None:
        await_condition(lambda: text in self.text() or self.run.process.poll() is not None)
        assert text in self.text(), self.text()
        self.run.look()

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def connection_file(self) -> Path:
        found = re.search(r"    jupyter console --existing (\S+)\n", self.text())
        assert found
        return Path(found[1])

    def finish(self) -> Finished:
        """Wait for the end; nothing that pytest has started is left, nor the kernel's folder."""
        folder = self.connection_file().parent
        try:
            returncode = self.run.wait(PATIENCE_S).returncode
        finally:
            self.run.kill()
            self._reader.join(PATIENCE_S)
            os.close(self._master)
        assert still_there(self.run.family.values()) == []
        assert not folder.exists()
        return Finished(root=self.tree.root, returncode=returncode, text=self.text())


def evaluate(connection_file: Path, expression: str) -> str:
    """What a second client of the kernel gets for an expression."""
    from jupyter_client.blocking.client import BlockingKernelClient

    client = BlockingKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE_S)
        reply = client.execute_interactive(
            "", user_expressions={"it": expression}, timeout=PATIENCE_S
        )
    finally:
        client.stop_channels()
    return str(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])


def test_a_second_client_sees_the_variables(tree: Tree) -> None:
    """Enter then ends the kernel; the failure is reported as ever, and the session goes on."""
    terminal = Terminal(tree)
    terminal.await_text(QUESTION)
    told = terminal.text()
    assert "ZeroDivisionError: division by zero" in told
    assert "the kernel of a/2-fit.ipynb is still running; connect to it" in told
    executed = tree.root / ".experiments/notebooks/a/2-fit.ipynb"
    assert "ZeroDivisionError" in executed.read_text()
    assert evaluate(terminal.connection_file(), "secret + 1") == "42"
    assert len(terminal.run.family) >= 3  # the kernel host, the kernel and its child
    terminal.type("\n")
    finished = terminal.finish()
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed" in finished.text
    assert "entering PDB" not in finished.text
    assert finished.outcomes("a") == ["passed", "failed", "not_run"]


def test_q_ends_the_session(tree: Tree) -> None:
    """As in pytest's own prompt: after the failure is reported, with what is left not run."""
    terminal = Terminal(tree)
    terminal.await_text(QUESTION)
    terminal.type("q\n")
    finished = terminal.finish()
    assert finished.returncode == pytest.ExitCode.INTERRUPTED
    assert "Exit: Quitting debugger" in finished.text
    assert re.search(r"^=+ 1 failed in ", finished.text, re.MULTILINE)
    assert finished.outcomes("a") == ["passed", "failed", "not_run"]


def test_ctrl_c_at_the_prompt(tree: Tree) -> None:
    """It ends the session; the failure stands."""
    terminal = Terminal(tree)
    terminal.await_text(QUESTION)
    terminal.type("\x03")
    finished = terminal.finish()
    assert finished.returncode == pytest.ExitCode.INTERRUPTED
    assert "Exit: interrupted" in finished.text
    assert "Traceback" not in finished.text
    assert finished.outcomes("a") == ["passed", "failed", "not_run"]


def test_an_interrupted_cell_keeps_its_variables(tree: Tree) -> None:
    """A cell that was out of time has heeded the interrupt; the wait for the user counts for no deadline."""
    tree.toml("a", '[run]\ncell_timeout = "1s"\ntimeout = "20s"\n')
    tree.notebook("a", "2-fit.ipynb", "import time\nsecret = 41\ntime.sleep(600)")
    started = time.monotonic()
    terminal = Terminal(tree)
    terminal.await_text(QUESTION)
    asked = time.monotonic()
    assert "cell 1 of 1 ran into the cell's limit of 1.00s; it was interrupted" in terminal.text()
    assert evaluate(terminal.connection_file(), "__import__('time').sleep(3) or secret") == "41"
    waited_s = time.monotonic() - asked
    terminal.type("\x04")  # end of file goes on
    finished = terminal.finish()
    assert "1 failed, 1 passed" in finished.text
    whole_s = time.monotonic() - started
    assert finished.notebooks("a")[1]["duration_s"] + waited_s < whole_s


def interrupted(tree: Tree, *arguments: str) -> Finished:
    """Send Ctrl-C while a cell runs: the session ends, and no prompt opens."""
    tree.notebook("a", "2-fit.ipynb", "import time\nopen('go', 'w').close()\ntime.sleep(600)")
    run = tree.start("--pdb", *arguments)
    run.await_file(tree.root / "experiments/a/go")
    run.look()
    os.kill(run.process.pid, 2)
    finished = run.wait(PATIENCE_S)
    assert still_there(run.family.values()) == []
    assert finished.returncode == pytest.ExitCode.INTERRUPTED
    assert "Exit: interrupted" in finished.text
    assert "(Pdb)" not in finished.text
    return finished


def test_ctrl_c_while_it_runs(tree: Tree) -> None:
    """Under --pdb too it ends the session, and no prompt opens in the plugin's code."""
    finished = interrupted(tree)
    assert finished.outcomes("a") == ["passed", "interrupted", "not_run"]


def test_ctrl_c_while_a_test_runs_it(tree: Tree) -> None:
    """The same: what was interrupted is the experiment, not the test around it."""
    (tree.root / "test_a.py").write_text(FIXTURE)
    interrupted(tree, "test_a.py::test_a")


@pytest.mark.parametrize("capture", ["fd", "no"])
def test_stdin_is_closed(tree: Tree, capture: str) -> None:
    """Nobody can be asked: the failure is reported and the session goes on."""
    run = tree.start("--pdb", f"--capture={capture}", preexec=lambda: os.close(0))
    finished = run.wait(PATIENCE_S)
    assert "    jupyter console --existing " in finished.text
    assert QUESTION not in finished.text
    assert "INTERNALERROR" not in finished.text
    assert "1 failed, 1 passed" in finished.text
    assert finished.outcomes("a") == ["passed", "failed", "not_run"]


def test_an_ordinary_test_has_pytests_prompt(tree: Tree) -> None:
    """Once, for the test; at the end of stdin an experiment goes on, and pytest's prompt quits."""
    (tree.root / "test_ordinary.py").write_text(TEST)
    finished = tree.pytest("--pdb")
    assert QUESTION in finished.text
    assert finished.text.count("entering PDB") == 1
    assert "-> assert value == 6" in finished.text
    assert "2 failed" in finished.text


def test_a_test_that_runs_an_experiment_asks_once(tree: Tree) -> None:
    """Its own failures have pytest's prompt, also after an experiment that its user has looked at."""
    (tree.root / "test_a.py").write_text(FIXTURE)
    finished = tree.pytest("--pdb", "test_a.py::test_a")
    assert finished.text.count(QUESTION) == 1
    assert "entering PDB" not in finished.text
    assert "FAILED test_a.py::test_a - Failed: experiment a, notebook 2 of 3" in finished.text
    finished = tree.pytest("--pdb", "test_a.py::test_other")
    assert finished.text.count(QUESTION) == 1
    assert "-> assert value == 6" in finished.text


def test_a_test_without_a_kernel_has_pytests_prompt(tree: Tree) -> None:
    """There is nothing else to look at."""
    (tree.root / "test_a.py").write_text(FIXTURE)
    tree.notebook("a", "2-fit.ipynb", "import os\nos._exit(3)")
    finished = tree.pytest("--pdb", "test_a.py::test_a")
    assert QUESTION not in finished.text
    assert "-> run_experiment('a')" in finished.text


def test_an_expected_failure_asks_nobody(tree: Tree) -> None:
    """As with pytest's own prompt."""
    (tree.root / "conftest.py").write_text(
        "import pytest\n\n\ndef pytest_collection_modifyitems(items):\n"
        "    items[0].add_marker(pytest.mark.xfail)\n"
    )
    finished = tree.pytest("--pdb")
    assert QUESTION not in finished.text
    assert "1 passed, 1 xfailed" in finished.text
