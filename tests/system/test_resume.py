"""``--experiment-resume``: what ran once does not run again, and everything says so."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workbench import BLOCK, ENDED_S, Finished, Tree, await_condition

from pytest_nbgroups import NotebookOutcome, run_experiment

pytestmark = pytest.mark.timeout(300)

RERUN = "rerun: pytest --run-experiments --experiment-resume experiments/five::notebooks"
FIVE = [f"{number}-step.ipynb" for number in range(1, 6)]
HOOK = "def pytest_experiment_env():\n    return {'SCALE': '%s'}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.close()


def _five(tree: Tree, third: str) -> None:
    """Each notebook reads what the one before it wrote, and leaves a note outside of the rootdir."""
    tree.file("five", "0.txt", "x")
    for number, name in enumerate(FIVE, start=1):
        note = f"open({str(_notes(tree))!r}, 'a').write('{number}')"
        step = (
            f"text = open('{number - 1}.txt').read()\nopen('{number}.txt', 'w').write(text + 'x')"
        )
        tree.notebook("five", name, note, third if number == 3 else "1", step)


def _notes(tree: Tree) -> Path:
    return tree.root.with_name(f"{tree.root.name}-ran")


def _ran(tree: Tree) -> str:
    """The numbers of the notebooks that have run since this was last asked."""
    notes = _notes(tree)
    text = notes.read_text() if notes.exists() else ""
    notes.unlink(missing_ok=True)
    return text


def _properties(run: Finished) -> dict[str, str]:
    return {p.get("name", ""): p.get("value", "") for p in run.junit.iter("property")}


def _table(run: Finished) -> str:
    return re.sub(r"\s+", " ", run.section("experiments"))


@pytest.mark.xdist
def test_a_failure_is_gone_on_from(tree: Tree) -> None:
    """From the command that the failure names, under xdist too, until nothing is left to run."""
    _five(tree, "1 / 0")
    (tree.root / "conftest.py").write_text(HOOK % 2)
    failed = tree.pytest()
    assert RERUN in failed.text.splitlines()
    assert failed.experiment("five")["attempts"][0]["reuse"] is None
    assert _ran(tree) == "123"

    why = "3-step.ipynb: it did not pass in the last attempt"
    planned = tree.pytest("--experiment-plan", "--experiment-resume")
    assert f"reuses 2 of 5 notebooks ({why})" in planned.text

    _five(tree, "1")
    summary = tree.root / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    first = tree.root / ".experiments/notebooks/five" / FIVE[0]
    before = first.stat()
    resumed = tree.pytest("--experiment-resume", "-n2", "-v", env=github)
    assert resumed.returncode == 0, resumed.text
    assert _ran(tree) == "345"
    assert resumed.outcomes("five") == ["reused", "reused", "passed", "passed", "passed"]
    assert resumed.experiment("five")["attempts"][0]["reuse"] == f"reused 2 of 5 notebooks ({why})"
    assert re.search(r"\[gw\d\] five 2/5 2-step\.ipynb reused\n", resumed.text)
    assert "five passed 5/5" in _table(resumed)
    assert f"reused 2 of 5 notebooks ({why})" in _table(resumed)
    assert "reused 2 of 5 notebooks (3-step.ipynb" in summary.read_text()
    assert _properties(resumed)["nbgroups_notebooks_reused"] == "2"
    assert "nbgroups_duration_s:1-step.ipynb" not in _properties(resumed)
    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert resumed.notebooks("five")[0]["executed_path"] == first.relative_to(tree.root).as_posix()

    elsewhere = {"HOSTNAME": "other", "SLURM_JOB_NAME": "x", "CUDA_VISIBLE_DEVICES": "", "NEW": "1"}
    whole = tree.pytest("--experiment-resume", env=elsewhere)
    assert (whole.returncode, _ran(tree)) == (0, "")
    assert whole.outcomes("five") == ["reused"] * 5
    assert whole.experiment("five")["attempts"][0]["lease"] is None
    assert "five passed 5/5" in _table(whole)
    assert "reused all its notebooks" in _table(whole)

    (tree.root / "conftest.py").write_text(HOOK % 3)
    changed = tree.pytest("--experiment-plan", "--experiment-resume")
    assert "reuses nothing (1-step.ipynb: the variable SCALE has changed)" in changed.text


def _chain(tree: Tree, name: str, last: str) -> None:
    """Hands its file on in a folder beside its directory."""
    folder = tree.root / "experiments" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    tree.notebook(name, "1-load.ipynb", f"from pathlib import Path\nPath('../data/{name}').touch()")
    tree.notebook(name, "2-fit.ipynb", f"open('../data/{name}').read()\n{last}")


@pytest.mark.xdist
def test_files_beside_the_directory(tree: Tree) -> None:
    """They count for the experiment that wrote them, although another ran beside it."""
    for name in ("A", "B"):
        _chain(tree, name, "1")
    tree.pytest("-n2")
    assert tree.pytest("--experiment-resume").outcomes("A") == ["reused", "reused"]
    (tree.root / "experiments/data/A").unlink()
    _chain(tree, "B", "1 / 0")
    run = tree.pytest("--experiment-resume")
    reason = "reused nothing (../data/A is gone since 1-load.ipynb passed)"
    assert run.outcomes("A") == ["passed", "passed"]
    assert run.experiment("A")["attempts"][0]["reuse"] == reason
    assert run.outcomes("B") == ["reused", "failed"]
    rerun = "rerun: pytest --run-experiments --experiment-resume experiments/B::notebooks"
    assert rerun in run.text.splitlines()


def test_many_reused_experiments_are_counted(tree: Tree) -> None:
    """In the table and in the plan; and who shares a directory may have changed a file in it."""
    tree.file("docs", "input", "x")
    for name in "abcdef":
        tree.notebook("docs", f"{name}.ipynb", "1")
    tree.toml("docs", "[run]\nindependent = true\n")
    assert tree.pytest().returncode == 0
    count = "6 experiments with all notebooks reused; -v shows each"
    assert count in tree.pytest("--experiment-resume", "--experiment-plan").text
    run = tree.pytest("--experiment-resume")
    assert count in run.section("experiments")
    assert run.outcomes("docs/a") == ["reused"]
    verbose = tree.pytest("--experiment-resume", "-v")
    assert verbose.section("experiments").count("reused its notebook") == 6
    tree.file("docs", "input", "y")
    changed = tree.pytest("--experiment-resume", "--experiment-plan")
    why = "input has changed since a.ipynb passed; experiment docs/b may have written it"
    assert f"reuses nothing ({why})" in re.sub(r"\s+", " ", changed.text)


def test_a_failure_for_want_of_what_nobody_saw(tree: Tree) -> None:
    """The rerun does not fail again for want of it: it runs all, and the text says why."""
    far = tree.root.with_name(f"{tree.root.name}-far")
    tree.notebook(
        "A", "1-load.ipynb", f"open({str(far)!r}, 'w').write('x')", "open('a', 'w').close()"
    )
    tree.notebook("A", "2-fit.ipynb", f"open({str(far)!r})")
    assert tree.pytest().returncode == 0
    far.unlink()
    missing = f"import os; os.remove('a'); open({str(far)!r})  # edited"
    tree.notebook("A", "2-fit.ipynb", missing)
    run = tree.pytest("--experiment-resume")
    assert run.outcomes("A") == ["reused", "failed"]
    assert "rerun: pytest --run-experiments experiments/A::notebooks" in run.text.splitlines()
    assert "    a from 1-load.ipynb is gone; that notebook was reused" in run.text
    assert "remedy: run all notebooks again, as below: a reused one may have" in run.text


def test_the_command_that_reruns_from_there(tree: Tree) -> None:
    """It names what it must have in common with the run; without anything to reuse it is as ever."""
    _five(tree, "1 / 0")
    given = ["--experiment-artifacts=kept here", "--experiment-kernel=python3"]
    failed = tree.pytest(*given)
    assert (
        "rerun: pytest --run-experiments --experiment-resume '--experiment-artifacts=kept here' "
        "--experiment-kernel=python3 experiments/five::notebooks"
    ) in failed.text.splitlines()
    _five(tree, "open('1.txt', 'w').write('spoilt')\n1 / 0")
    assert "rerun: pytest --run-experiments experiments/five::notebooks" in tree.pytest().text
    assert _ran(tree) == "123123"


def test_a_rerun_in_the_same_session_starts_afresh(tree: Tree) -> None:
    """With pytest-rerunfailures the first attempt resumes, the second runs all."""
    pytest.importorskip("pytest_rerunfailures")
    _five(tree, "1 / 0")
    tree.pytest()
    run = tree.pytest("--experiment-resume", "--reruns=1")
    attempts = run.experiment("five")["attempts"]
    outcomes = [[n["outcome"] for n in attempt["notebooks"]][:3] for attempt in attempts]
    assert outcomes == [["reused", "reused", "failed"], ["passed", "passed", "failed"]]
    assert attempts[1]["reuse"] == "reused nothing (it has already run in this session)"


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_a_session_that_was_killed_is_gone_on_from(tree: Tree) -> None:
    """What had passed by then is recorded."""
    _five(tree, BLOCK)
    running = tree.start()
    running.await_file(tree.directory("five") / "kernel.pid")
    running.kill()
    _ran(tree)
    _five(tree, "1")
    run = tree.pytest("--experiment-resume")
    assert run.outcomes("five") == ["reused", "reused", "passed", "passed", "passed"]
    assert _ran(tree) == "345"


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Have whoever opens a file wait, as on a mount whose server is gone: up to 45 s by default."""
    fcntl = pytest.importorskip("fcntl")
    path.write_text("x")
    with path.open("r+b") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # of that nobody dies
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except (AttributeError, OSError) as exc:
            pytest.skip(f"no leases of files: {exc}")
        yield


def test_ctrl_c_does_not_wait_for_a_file(tree: Tree) -> None:
    """Nor does Python wait for the reader; the notebook before has passed all the same."""
    tree.notebook("A", "1-a.ipynb", "1")
    tree.notebook("A", "2-next.ipynb", "1")
    with _held(tree.directory("A") / "held"):
        # Where the tests run in the background, Ctrl-C is ignored and that is inherited.
        running = tree.start("-v", preexec=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        assert await_condition(lambda: "1-a.ipynb passed" in running.text())
        os.kill(running.process.pid, signal.SIGINT)
        run = running.wait(ENDED_S)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert run.outcomes("A") == ["passed", "not_run"]


def test_a_file_without_an_answer_fails_nothing(tree: Tree) -> None:
    """The deadline leaves it behind; the verdict is that of the notebooks, and nothing is reused."""
    tree.notebook("A", "1-a.ipynb", "1")
    tree.notebook("A", "2-next.ipynb", "1")
    with _held(tree.directory("A") / "held"):
        run = tree.pytest("--experiment-timeout=24")
        assert run.returncode == 0, run.text
        (attempt,) = run.experiment("A")["attempts"]
        assert attempt["duration_s"] < 24
    warning = (
        r"experiments: warning: A: not all files were recorded, so --experiment-resume cannot "
        r"reuse all notebooks: reading ended at held after 0 B in [\d.]+s, half of the time"
    )
    assert re.search(warning, run.text), run.text
    planned = tree.pytest("--experiment-resume", "--experiment-plan")
    assert "reuses nothing (1-a.ipynb: reading ended at held" in re.sub(r"\s+", " ", planned.text)


def test_a_damaged_checkpoint_costs_a_warning(tree: Tree) -> None:
    """And a run of everything."""
    tree.notebook("A", "1-a.ipynb", "1")
    assert tree.pytest().returncode == 0
    checkpoint = tree.root / ".experiments/checkpoints/A.json"
    checkpoint.write_text(checkpoint.read_text()[:100])
    run = tree.pytest("--experiment-resume")
    assert (run.returncode, run.outcomes("A")) == (0, ["passed"])
    warning = (
        f"experiments: warning: {checkpoint}: cannot be read, so nothing is reused: it is damaged"
    )
    assert warning in run.text


def test_from_python(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables given, which count as declared; members of independent notebooks too."""
    monkeypatch.setenv("NBGROUPS_POOL", str(tree.root / ".pool"))
    tree.notebook("docs", "a.ipynb", "import os; open('a.txt', 'w').write(os.environ['SCALE'])")
    tree.notebook("docs", "b.ipynb", "1")
    tree.toml("docs", "[run]\nindependent = true\n")

    def run(scale: str) -> tuple[NotebookOutcome, str | None]:
        path = "experiments/docs/a.ipynb"
        result = run_experiment(path, rootdir=tree.root, env={"SCALE": scale}, resume=True)
        return result.notebooks[0].outcome, result.reuse

    passed, reused = NotebookOutcome.PASSED, NotebookOutcome.REUSED
    assert run("1") == (passed, "reused nothing (no earlier attempt is recorded)")
    assert run("1") == (reused, "reused its notebook")
    assert run("2") == (passed, "reused nothing (a.ipynb: the variable SCALE has changed)")
