"""Cells that show more than anyone can take, and disks, paths and clocks that are not as they should be."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat  # noqa: TID253  to write notebooks
import pytest
from workbench import (
    ENDED_S,
    GONE_S,
    INI,
    Finished,
    Tree,
    await_condition,
    printed,
    still_there,
)

if sys.platform == "win32":
    pytest.skip("uses POSIX links, mounts and signals", allow_module_level=True)

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

LIMIT_BYTES = 10 * 10**6
LIMITED = f"{INI}experiment_output_limit = 10MB\n"
GRACE_S = 5.0
MARGIN_S = 4.0
"""A kernel whose machine is busy; far less than the seconds by which floods used to overrun their limits."""
PEAK_BYTES = 600 * 10**6
"""Far less than a flood makes in a second, and ample for eight times the limit and what is imported."""
DEADLINE = "[run]\ncell_timeout = 1\n"
DISPLAY = "from IPython.display import display\n"
FLOODS = {
    "flood-print": "while True: print('x' * 1000)",
    "flood-raw": "import os\nwhile True: os.write(1, b'x' * 1000 + b'\\n')",
    "flood-update": f"{DISPLAY}handle = display(0, display_id=True)\nwhile True: handle.update(1)",
}
MEASURE = """
import os, resource
from pathlib import Path

def pytest_sessionfinish(session):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    name = os.environ.get("PYTEST_XDIST_WORKER", "controller")
    Path(session.config.rootpath, f"{name}.peak").write_text(str(peak))
"""
NEXT = nbformat.writes(
    nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('as rewritten')")])
)
LONG = "/".join(["a-directory-with-a-name-of-fifty-characters-in-all-x"] * 5)
LONG_NAME = f"1-{'x' * 200}.ipynb"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("worlds"), ini=LIMITED)
    (tree.root / "conftest.py").write_text(MEASURE)
    for name, source in FLOODS.items():
        tree.notebook(name, "1-flood.ipynb", "print('before')", source)
        tree.toml(name, DEADLINE)
    finite = "for _ in range(20):\n    print('x' * 999_999, flush=True)\n"
    tree.notebook("too-much", "1-run.ipynb", f"{finite}print('the end')", "print('another')")
    tree.notebook("then-raises", "1-run.ipynb", f"{finite}1 / 0")
    tree.notebook("many", "1-run.ipynb", f"{DISPLAY}for i in range(10_000): display(i)")
    tree.notebook("long-error", "1-run.ipynb", "raise ValueError('x' * 3_000_000)")
    garbage = "import os\nos.write(1, bytes(range(128, 256)) * 10 + b'\\nend\\n')"
    tree.notebook(
        "garbage",
        "1-run.ipynb",
        garbage,
        f"{DISPLAY}display({{'text/plain': '\\udcff'}}, raw=True); print('\\udcff')",
    )
    half = f"{DISPLAY}display({{'text/plain': '\\ud83d'}}, raw=True)"
    tree.notebook("half-an-emoji", "1-run.ipynb", half)
    gone = "import os, shutil\nshutil.rmtree(os.getcwd())\nprint('gone')"
    tree.notebook("deletes-itself", "1-run.ipynb", gone, "print('on')")
    tree.notebook("deletes-others", "1-run.ipynb", gone)
    tree.notebook("deletes-others", "2-next.ipynb", "1")
    rewrite = f"from pathlib import Path\nPath('2-next.ipynb').write_text({NEXT!r})"
    tree.notebook("rewrites", "1-run.ipynb", rewrite)
    tree.notebook("rewrites", "2-next.ipynb", "print('as collected')")
    tree.notebook(LONG, LONG_NAME, "import os\nprint(len(os.getcwd()))\nos.write(2, b'raw')")
    loops = tree.notebook("loops", "1-run.ipynb", "1").parent
    (loops / "up").symlink_to("..", target_is_directory=True)
    (loops / "here").symlink_to(".", target_is_directory=True)
    (loops / "itself").symlink_to("itself")
    (loops / "2-itself.ipynb").symlink_to("2-itself.ipynb")
    yield tree
    tree.close()


@pytest.fixture(scope="module")
def run(tree: Tree) -> Finished:
    """One run of all of them."""
    return tree.pytest("-n", "2")


def test_every_one_is_told(run: Finished) -> None:
    """None is lost, and none takes pytest with it."""
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "INTERNALERROR" not in run.text
    outcomes = {e["name"]: e["outcome"] for e in run.session["experiments"]}
    assert {name for name, outcome in outcomes.items() if outcome == "passed"} == {
        "too-much",
        "many",
        "garbage",
        "deletes-itself",
        "rewrites",
        LONG,
    }
    assert len(outcomes) == 14


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_at_its_deadline(run: Finished, name: str) -> None:
    """The interrupt is sent in time; where it is not answered the kill follows the grace."""
    failure = run.failure(name)
    assert failure["kind"] == "deadline"
    (attempt,) = run.experiment(name)["attempts"]
    assert attempt["duration_s"] < 1 + GRACE_S + MARGIN_S
    first, second = run.executed(name, "1-flood.ipynb").cells
    assert printed(first) == "before\n"
    assert sum(len(o.get("text", "")) for o in second.outputs) < LIMIT_BYTES + 10_000


def test_memory_is_bounded(run: Finished) -> None:
    """That of the workers, which hold the outputs, and that of the controller."""
    peaks = {path.stem: int(path.read_text()) for path in run.root.glob("*.peak")}
    assert set(peaks) == {"gw0", "gw1", "controller"}
    assert max(peaks.values()) < PEAK_BYTES, peaks


def test_too_much_is_left_out(run: Finished) -> None:
    """The cell runs on; its end says how much is missing, its last lines follow, and a warning tells."""
    first, second = run.executed("too-much", "1-run.ipynb").cells
    (output,) = first.outputs
    kept, _, rest = output.text.partition("\n[")
    assert set(kept) == {"x", "\n"}
    assert LIMIT_BYTES * 0.9 < len(kept) < LIMIT_BYTES
    assert " MiB of output left out: experiment_output_limit is 10MB]\n" in rest
    assert rest.endswith("the end\n")
    assert printed(second) == "another\n"
    (warning,) = [line for line in run.text.splitlines() if "too-much: 1-run.ipynb" in line]
    assert warning.startswith("experiments: warning: too-much: 1-run.ipynb, cell 1: ")
    assert warning.endswith(
        " MiB of its output were left out, more than a notebook may keep; "
        "raise experiment_output_limit (10MB) in the ini file if it is needed"
    )


def test_an_error_after_a_flood_is_told(run: Finished) -> None:
    """With its traceback, which the flood has not displaced."""
    failure = run.failure("then-raises")
    assert failure["message"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in failure["traceback"]
    assert run.executed("then-raises", "1-run.ipynb").cells[0].outputs[-1].output_type == "error"


def test_ten_thousand_outputs(run: Finished) -> None:
    """All are there, in order; where the machine was too busy for that, a warning says so."""
    (cell,) = run.executed("many", "1-run.ipynb").cells
    numbers = [int(o.data["text/plain"]) for o in cell.outputs]
    assert numbers == sorted(set(numbers))
    is_told = "many: 1-run.ipynb, cell 1: at least " in run.text
    assert (len(numbers) < 10_000) == is_told


def test_an_error_of_megabytes(run: Finished) -> None:
    """It is told, and neither terminal nor record carry it whole; the executed notebook does."""
    failure = run.failure("long-error")
    assert failure["message"].startswith("ValueError: xxx")
    assert " characters left out … " in failure["traceback"]
    assert len(run.text) < 100_000
    assert (run.root / ".experiments/session.json").stat().st_size < 500_000
    (cell,) = run.executed("long-error", "1-run.ipynb").cells
    assert len(cell.outputs[0].evalue) == 3_000_000


def test_bytes_that_are_no_text(run: Finished) -> None:
    """They are in the log as they are and replaced in the notebook; what the kernel cannot send is its error."""
    log = (run.root / ".experiments/logs/garbage/1-run.log").read_bytes()
    assert bytes(range(128, 256)) * 10 + b"\nend\n" in log
    first, second = run.executed("garbage", "1-run.ipynb").cells
    assert "\ufffd" in printed(first)
    assert second.outputs[0].data["text/plain"] == "\ufffd"
    assert printed(second) == "\ufffd\n"
    assert run.failure("half-an-emoji")["message"].startswith("UnicodeEncodeError: ")


def test_a_notebook_deletes_its_directory(run: Finished) -> None:
    """It runs to its end; a notebook after it is told of as gone."""
    (cell, second) = run.executed("deletes-itself", "1-run.ipynb").cells
    assert [printed(cell), printed(second)] == ["gone\n", "on\n"]
    assert run.outcomes("deletes-others") == ["passed", "failed"]
    assert run.failure("deletes-others")["message"] == (
        "2-next.ipynb no longer exists; did an earlier notebook remove it, or is it a broken link?"
    )


def test_a_notebook_rewrites_the_next_one(run: Finished) -> None:
    """It is read when its turn comes."""
    (cell,) = run.executed("rewrites", "2-next.ipynb").cells
    assert printed(cell) == "as rewritten\n"


def test_long_paths(run: Finished) -> None:
    """Sockets and temporary files have short ones of their own."""
    (cell,) = run.executed(LONG, LONG_NAME).cells
    assert int(printed(cell).split()[0]) > 250
    log = run.root / ".experiments/logs" / LONG / f"{LONG_NAME.removesuffix('.ipynb')}.log"
    assert log.read_bytes() == b"raw"


def test_links_that_lead_in_circles(run: Finished) -> None:
    """The experiment is found once; a notebook that is a link to itself is told of."""
    assert [e["name"] for e in run.session["experiments"] if "loops" in e["name"]] == ["loops"]
    assert run.failure("loops")["message"].startswith("2-itself.ipynb ")


def test_ctrl_c_in_a_flood(tmp_path: Path) -> None:
    """It is heard at once."""
    tree = Tree(tmp_path, ini=LIMITED)
    tree.notebook("flood", "1-run.ipynb", f"open('started', 'w')\n{FLOODS['flood-print']}")
    running = tree.start("-q")
    try:
        running.await_file(tree.directory("flood") / "started")
        copy = tree.root / ".experiments/notebooks/flood/1-run.ipynb"
        running.await_file(copy)  # which is written once there is something to show
        assert await_condition(lambda: copy.stat().st_size > 10**6)
        running.look()
        begun = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        finished = running.wait()
        assert time.monotonic() - begun < ENDED_S
        assert finished.returncode == pytest.ExitCode.INTERRUPTED
        assert finished.outcomes("flood") == ["interrupted"]
        assert not still_there(running.family.values(), GONE_S)
    finally:
        tree.close()


def _in_namespace(script: str) -> list[str]:
    """The prefix that mounts something before pytest starts, where only pytest sees it."""
    unshare = shutil.which("unshare")
    flags = "-m" if os.geteuid() == 0 else "-rm"
    if not unshare or subprocess.run([unshare, flags, "true"], check=False).returncode != 0:
        pytest.skip("this user may not mount anything, not even in a namespace of its own")
    return [
        unshare,
        flags,
        "sh",
        "-euc",
        f'{script}\nset +e\n"$@"\ncode=$?\n{_KEEP}\nexit $code',
        "-",
    ]


_KEEP = "if [ -d .experiments ] && [ -d kept ]; then cp -r .experiments kept/; fi"
"""What lies in a filesystem of the namespace is gone with it."""


def test_a_read_only_checkout(tmp_path: Path) -> None:
    """The experiment runs; what could not be saved is told in lines that name the file."""
    tree = Tree(tmp_path)
    tree.notebook("good", "1-run.ipynb", "print('ran')")
    tree.notebook("bad", "1-run.ipynb", "1 / 0")
    prefix = _in_namespace("mount --bind . .\nmount -o remount,ro,bind .\ncd .")
    with tempfile.TemporaryDirectory() as outside:
        env = {"NBGROUPS_POOL": f"{outside}/pool", "PYTEST_DEBUG_TEMPROOT": outside}
        running = tree.start("-p", "no:cacheprovider", env=env, prefix=prefix, cwd=tree.root)
        finished = running.wait()
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.text
    assert "1 failed, 1 passed" in finished.text
    assert "ZeroDivisionError: division by zero" in finished.text
    told = [line for line in finished.text.splitlines() if line.startswith("experiments: warning:")]
    assert any("1-run.ipynb: the executed notebook could not be saved" in line for line in told)
    assert any("the session record could not be written" in line for line in told)
    assert any("history.sqlite" in line for line in told)
    assert not (tree.root / ".experiments").exists()


def test_a_full_disk(tmp_path: Path) -> None:
    """Results stay, nothing half-written is left, and a kernel that writes to its raw output goes on."""
    tree = Tree(tmp_path)
    (tree.root / ".experiments").mkdir()
    (tree.root / "kept").mkdir()
    tree.notebook("big", "1-run.ipynb", "print('x' * 3_000_000)")
    raw = "import os\nfor _ in range(3000): os.write(1, b'x' * 999 + b'\\n')"
    tree.notebook("raw", "1-run.ipynb", raw, "print('on')")
    tree.notebook("small", "1-run.ipynb", "print('small')")
    prefix = _in_namespace("mount -t tmpfs -o size=1m tmpfs .experiments")
    finished = tree.start("-n", "2", prefix=prefix).wait()
    assert finished.returncode == pytest.ExitCode.OK, finished.text
    assert "3 passed" in finished.text
    told = [line for line in finished.text.splitlines() if line.startswith("experiments: warning:")]
    (line,) = [line for line in told if "/big/1-run.ipynb" in line]
    file = tree.root / ".experiments/notebooks/big/1-run.ipynb"
    assert line.endswith(
        f"{file}: the executed notebook could not be saved: No space left on device"
    )
    kept = [path for path in (tree.root / "kept").rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if path.suffix == ".tmp"] == []
    assert not (tree.root / "kept/.experiments/notebooks/big/1-run.ipynb").exists()


def test_artifacts_on_another_filesystem(tmp_path: Path) -> None:
    """They are written there whole, and found there."""
    shared = Path("/dev", "shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{shared} is no other filesystem here")
    tree = Tree(tmp_path)
    tree.notebook("good", "1-run.ipynb", "print('ran')")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        artifacts = Path(folder, "artifacts")
        finished = tree.pytest(f"--experiment-artifacts={artifacts}")
        assert finished.returncode == pytest.ExitCode.OK, finished.text
        found = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*.*")}
    assert "warning" not in finished.text
    assert {"notebooks/good/1-run.ipynb", "history.sqlite", "session.json", ".gitignore"} <= found


BACKWARDS = """
import itertools, time
steps = itertools.count()
begun = time.time()
time.time = lambda: begun - 100 * next(steps)
"""


def test_a_clock_that_goes_backwards(tmp_path: Path) -> None:
    """No duration is negative, in the record, in the history or on the terminal."""
    tree = Tree(tmp_path)
    (tree.root / "conftest.py").write_text(BACKWARDS)
    tree.notebook("good", "1-run.ipynb", "print('ran')")
    tree.notebook("good", "2-run.ipynb", "print('ran')")
    tree.notebook("bad", "1-run.ipynb", "1 / 0")
    for workers in ("2", "0"):  # the second run reads the history of the first
        finished = tree.pytest("-n", workers, "-v", "-p", "no:cacheprovider")
        assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.text
        assert "INTERNALERROR" not in finished.text
        assert "warning" not in finished.text
    for experiment in finished.session["experiments"]:
        (attempt,) = experiment["attempts"]
        lease, estimate = attempt["lease"], attempt["estimate"]
        assert attempt["duration_s"] >= 0
        assert attempt["finished_at"] >= attempt["started_at"]
        assert all(notebook["duration_s"] >= 0 for notebook in attempt["notebooks"])
        assert lease["waited_s"] >= 0
        assert lease["released_at"] >= lease["granted_at"]
        assert estimate is None or estimate["duration_s"] is None or estimate["duration_s"] >= 0
    assert " -" not in finished.section("experiments")
