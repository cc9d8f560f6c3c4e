"""What runs where and when under pytest-xdist, without kernels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

import pytest

from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult
from pytest_nbgroups.core.resources import Claim, Need
from pytest_nbgroups.integration import session
from pytest_nbgroups.integration.xdist.items import describe
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.scheduling.admission import Grant

Write: TypeAlias = Callable[..., Path]

pytestmark = pytest.mark.xdist

AWAIT = """
import os, pathlib, time

def note(line):
    with open(os.environ["RAN"], "a") as file:
        file.write(line + "\\n")

def wait_for(name):
    end = time.monotonic() + 30
    while not pathlib.Path(os.environ["RAN"] + "-" + name).exists():
        assert time.monotonic() < end, f"{name} has not run meanwhile"
        time.sleep(0.01)

def done(name):
    pathlib.Path(os.environ["RAN"] + "-" + name).touch()
"""
"""A module for tests: notes what runs in the file that RAN names, and waits for other tests."""


@pytest.fixture
def ran(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What was noted, in order; makes the module `tell`, by which tests note it."""
    path = pytester.path / "ran"
    monkeypatch.setenv("RAN", str(path))
    pytester.makepyfile(tell=AWAIT)
    pytester.syspathinsert()
    return lambda: path.read_text().splitlines() if path.exists() else []


def lacking(write: Write, name: str, toml: str = "") -> Path:
    """An experiment that the scheduler takes for one, and that ends without a kernel."""
    return write(f"experiments/{name}", toml=f'[run]\nrequires = ["env:NOWHERE"]\n{toml}')


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("--run-experiments", *arguments, timeout=120)


def record(pytester: pytest.Pytester) -> dict[str, Any]:
    text = (pytester.path / ".experiments" / "session.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def reported(result: pytest.RunResult) -> list[str]:
    """The node ids of all reports under ``-v``, sorted."""
    pattern = re.compile(r"^\[gw\d+\] .*?(?:PASSED|SKIPPED|FAILED|ERROR) (\S+)")
    return sorted(match[1] for line in result.outlines if (match := pattern.match(line)))


# Which files are cut

OF_MODULE = "@pytest.fixture(scope='module')\ndef f(): pass\n\n"
TEST_CASE = "import unittest\nclass TestIt(unittest.TestCase):\n"


@pytest.mark.parametrize(
    "source",
    [
        f"{OF_MODULE}def test(f): pass",
        "@pytest.fixture(scope='class', autouse=True)\ndef f(): pass\n\ndef test(): pass",
        "@pytest.fixture(scope='package')\ndef f(): pass\n\ndef test(f): pass",
        f"{OF_MODULE}@pytest.fixture\ndef g(f): pass\n\ndef test(g): pass",
        f"{OF_MODULE}@pytest.mark.usefixtures('f')\ndef test(): pass",
        "def setup_module(): pass\n\ndef test(): pass",
        "def teardown_module(): pass\n\ndef test(): pass",
        "class TestIt:\n    @classmethod\n    def setup_class(cls): pass\n    def test(self): pass",
        f"{TEST_CASE}    @classmethod\n    def setUpClass(cls): pass\n    def test(self): pass",
    ],
)
def test_files_that_stay_whole(source: str, pytester: pytest.Pytester) -> None:
    """Tests that share a fixture of a module, class or package stay together."""
    items = pytester.getitems(f"import pytest\n{source}\n")
    assert len(items) == 1
    assert describe(items).whole_files == (items[0].nodeid.partition("::")[0],)


@pytest.mark.parametrize(
    "source",
    [
        "def test(): pass",
        "@pytest.fixture(scope='session')\ndef f(): pass\n\ndef test(f, tmp_path): pass",
        "@pytest.mark.parametrize('x', [1, 2])\ndef test(x): pass",
        "def setup_function(): pass\n\ndef test(): pass",
        "class TestIt:\n    def setup_method(self): pass\n    def test(self): pass",
    ],
)
def test_files_that_may_be_cut(source: str, pytester: pytest.Pytester) -> None:
    """Nothing is lost where no such fixture is shared."""
    items = pytester.getitems(f"import pytest\n{source}\n")
    assert items
    assert describe(items).whole_files == ()


def test_doctests_stay_together(pytester: pytest.Pytester) -> None:
    """What kinds of items share that are not pytest's own functions is not known."""
    pytester.makepyfile(documented='def f():\n    """\n    >>> 1\n    1\n    """\n')
    items, _ = pytester.inline_genitems("--doctest-modules", "documented.py")
    assert describe(items).whole_files == ("documented.py",)


def test_a_long_file_is_shared_among_workers(
    pytester: pytest.Pytester, experiment: Write, ran: Callable[[], list[str]]
) -> None:
    """Two tests of one file that wait for one another both pass."""
    lacking(experiment, "A")
    pytester.makepyfile(
        """
        from tell import done, wait_for
        def test_one(): done("one"); wait_for("two")
        def test_two(): done("two"); wait_for("one")
        """
    )
    result = run(pytester, "-n2")
    result.assert_outcomes(passed=2, skipped=1)
    assert ran() == []


def test_a_file_with_a_fixture_is_not_shared(
    pytester: pytest.Pytester, skipped: Write, ran: Callable[[], list[str]]
) -> None:
    """Its fixture is made once, although another worker is free."""
    skipped("experiments/A")
    pytester.makepyfile(
        """
        import pytest
        from tell import note
        @pytest.fixture(scope="module", autouse=True)
        def shared():
            note("made")
            yield
            note("gone")
        @pytest.mark.parametrize("number", range(8))
        def test_it(number): note("test")
        """
    )
    run(pytester, "-n2").assert_outcomes(passed=8, skipped=1)
    assert ran() == ["made", *["test"] * 8, "gone"]


# Fixtures


def test_fixtures_end_with_what_they_are_for(
    pytester: pytest.Pytester, experiment: Write, ran: Callable[[], list[str]]
) -> None:
    """Those of a module or package with the unit of tests, those of the session at its end, once."""
    lacking(experiment, "A")
    pytester.makeconftest(
        """
        import pytest
        from tell import note
        @pytest.fixture(scope="session")
        def of_session():
            note("session made")
            yield
            note("session gone")
        """
    )
    package = pytester.mkpydir("package")
    (package / "conftest.py").write_text(
        "import pytest\nfrom tell import note\n\n"
        "@pytest.fixture(scope='package')\ndef of_package():\n    yield\n    note('package gone')\n"
    )
    (package / "test_p.py").write_text(
        "from tell import note\n\ndef test_p(of_session, of_package): note('p')\n"
    )
    pytester.makepyfile(
        test_m="""
        import pytest
        from tell import note
        @pytest.fixture(scope="module")
        def of_module():
            yield
            note("module gone")
        def test_m(of_session, of_module): note("m")
        """
    )
    run(pytester, "-n1").assert_outcomes(passed=2, skipped=1)
    assert ran() == ["session made", "p", "package gone", "m", "module gone", "session gone"]


def test_an_error_at_the_end_of_the_session(pytester: pytest.Pytester, skipped: Write) -> None:
    """What a session's fixture raises when it is torn down is told, and fails the session."""
    skipped("experiments/A")
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture(scope="session")
        def server():
            yield
            raise RuntimeError("the server did not stop")
        def test_it(server): pass
        """
    )
    result = run(pytester, "-n1", "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of (end of the session)*",
            "*RuntimeError: the server did not stop",
            "ERROR (end of the session) - RuntimeError: the server did not stop",
        ]
    )


# The idle item


def test_the_idle_item_is_nowhere_seen(pytester: pytest.Pytester, experiment: Write) -> None:
    """Neither in counts nor in reports; hooks for tests never get it, those around them bear it."""
    pytest.importorskip("pytest_timeout")
    lacking(experiment, "A")
    lacking(experiment, "B")
    pytester.makeconftest(
        """
        import pytest

        def pytest_runtest_logstart(nodeid): assert "::" in nodeid
        def pytest_runtest_setup(item): item.path.relative_to; assert item.parent.parent
        def pytest_runtest_teardown(item): assert item.parent.parent
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item):
            assert item.parent.parent
            return (yield)
        """
    )
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def of_session():
            yield
        @pytest.mark.parametrize("number", range(4))
        def test_it(number): pass
        """
    )
    result = run(
        pytester,
        *("-p", "timeout", "--timeout=100", "-n2", "-vv", "--durations=0", "--junitxml=junit.xml"),
    )
    result.assert_outcomes(passed=4, skipped=2)
    assert len(reported(result)) == 6
    assert "end of the session" not in result.stdout.str() + result.stderr.str()
    assert "100%" in result.stdout.str()
    suite = next(ET.parse(pytester.path / "junit.xml").getroot().iter("testsuite"))  # noqa: S314
    assert suite.get("tests") == "6"
    assert len(list(suite.iter("testcase"))) == 6


# Families


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "loadgroup"])
def test_what_lies_in_a_directory_waits_for_its_notebooks(
    dist: str, pytester: pytest.Pytester, experiment: Write, ran: Callable[[], list[str]]
) -> None:
    """Tests beside notebooks, nested experiments and their tests: one after the other."""
    for name in ("A", "A/nested", "B"):
        folder = lacking(experiment, name)
        test = name.replace("/", "_")
        (folder / f"test_{test}.py").write_text(
            "from tell import note\nimport time\n"
            f"def test_it():\n    note('{test} begins')\n    time.sleep(0.1)\n    note('{test} ends')\n"
        )
    pytester.makeconftest(
        """
        from tell import note
        def pytest_runtest_protocol(item):
            if item.name == "notebooks":
                note(f"notebooks of {item.path.name}")
        """
    )
    result = run(pytester, "-n3", "-v", "--dist", dist)
    result.assert_outcomes(passed=3, skipped=3)
    assert len(set(reported(result))) == 6
    lines = [line for line in ran() if "B" not in line]
    assert lines == [
        "notebooks of A",
        "notebooks of nested",
        "A_nested begins",
        "A_nested ends",
        "A begins",
        "A ends",
    ]


# The end of a session that fails


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_a_failure_ends_the_session(
    option: str, pytester: pytest.Pytester, experiment: Write, ran: Callable[[], list[str]]
) -> None:
    """What has not begun does not begin."""
    pytester.makepyfile(
        test_a="def test_it(): assert False",
        test_b="from tell import note\ndef test_it(): note('b')",
    )
    experiment("experiments/A", toml="[run]\nskip = 1\n")  # fails
    result = run(pytester, "-n1", option)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert result.parseoutcomes() == {"failed": 1}
    assert ran() == []


def test_a_crash_counts_as_a_failure(
    pytester: pytest.Pytester, skipped: Write, ran: Callable[[], list[str]]
) -> None:
    """Also under -x, where xdist would go on."""
    skipped("experiments/A")
    pytester.makepyfile(
        test_a="import os\ndef test_it(): os._exit(1)",
        test_b="from tell import note\ndef test_it(): note('b')",
    )
    result = run(pytester, "-n1", "-x")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert ran() == []


# Workers that die

CRASH = """
import os
from tell import note
def test_first(): note("first")
def test_crash(): note("crash"); os._exit(3)
def test_last(): note("last")
"""


def test_a_worker_that_dies_is_replaced(
    pytester: pytest.Pytester, experiment: Write, ran: Callable[[], list[str]]
) -> None:
    """What it ran is reported once, as failed; all else runs, also what stood behind that."""
    folder = lacking(experiment, "A")
    (folder / "test_next_to_it.py").write_text(CRASH)
    (folder / "test_second.py").write_text("from tell import note\ndef test_it(): note('second')\n")
    lacking(experiment, "B")
    result = run(pytester, "-n1", "-v")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, skipped=2, failed=1)
    assert ran() == ["first", "crash", "last", "second"]
    assert len(set(reported(result))) == 6
    result.stdout.no_fnmatch_line("*not run, since*")


@pytest.mark.parametrize(("restarts", "crashes"), [(0, 1), (1, 2)])
def test_no_worker_is_left(
    restarts: int,
    crashes: int,
    pytester: pytest.Pytester,
    skipped: Write,
    ran: Callable[[], list[str]],
) -> None:
    """What is left is named in the summary, and the session fails."""
    skipped("experiments/A")
    for number in range(3):
        pytester.makepyfile(**{f"test_{number}": CRASH})
    result = run(pytester, "-n1", f"--max-worker-restart={restarts}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert ran().count("crash") == crashes
    left = next(line for line in result.outlines if "not run, because no worker was left: " in line)
    assert f"test_{crashes - 1}.py::test_last" in left
    assert "test_2.py::test_first" in left
    assert f"test_{crashes - 1}.py::test_crash" not in left


def test_an_item_that_crashed_is_run_again(
    pytester: pytest.Pytester, skipped: Write, ran: Callable[[], list[str]]
) -> None:
    """A plugin may ask for that in xdist's hook."""
    skipped("experiments/A")
    pytester.makeconftest(
        """
        def pytest_handlecrashitem(crashitem, sched):
            sched.mark_test_pending(crashitem)
        """
    )
    pytester.makepyfile(
        """
        import os, pathlib
        from tell import done, note
        def test_it():
            note("it")
            if not pathlib.Path(os.environ["RAN"] + "-once").exists():
                done("once")
                os._exit(3)
        """
    )
    result = run(pytester, "-n1")
    assert ran() == ["it", "it"]
    result.assert_outcomes(passed=1, failed=1, skipped=1)


# Workers that collect other items


def test_workers_that_differ(
    pytester: pytest.Pytester, skipped: Write, ran: Callable[[], list[str]]
) -> None:
    """Told as xdist tells it; nothing runs."""
    skipped("experiments/A")
    pytester.makepyfile(
        """
        import os, pytest
        from tell import note
        @pytest.mark.parametrize("worker", [os.environ["PYTEST_XDIST_WORKER"]])
        def test_it(worker): note(worker)
        """
    )
    result = run(pytester, "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["Different tests were collected between gw* and gw*"])
    assert ran() == []


def test_a_replacement_that_differs(
    pytester: pytest.Pytester, skipped: Write, ran: Callable[[], list[str]]
) -> None:
    """It is told and not used; where it is the last one, the session ends and fails."""
    skipped("experiments/A")
    pytester.makepyfile(
        """
        import os, pytest
        from tell import note
        @pytest.mark.parametrize("worker", [os.environ["PYTEST_XDIST_WORKER"]])
        def test_it(worker): note(worker); os._exit(3)
        def test_other(): note("other")
        """
    )
    result = run(pytester, "-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*not run, because no worker was left: *::test_other*"])
    result.stdout.fnmatch_lines(["Different tests were collected between *"])
    assert ran() == ["gw0"]


# Selecting by what has failed


def test_what_failed_last(pytester: pytest.Pytester, experiment: Write, skipped: Write) -> None:
    """--lf, --ff and --sw know experiments that have failed, and -k selects by name."""
    experiment("experiments/B", toml="[run]\nskip = 1\n")  # fails
    skipped("experiments/A")
    pytester.makepyfile("def test_it(): pass")
    assert run(pytester, "-n2").parseoutcomes() == {"failed": 1, "passed": 1, "skipped": 1}
    assert run(pytester, "-n2", "--lf").parseoutcomes() == {"failed": 1}
    first = run(pytester, "-n1", "--ff", "-v")
    assert first.parseoutcomes() == {"failed": 1, "passed": 1, "skipped": 1}
    assert run(pytester, "-n2", "-k", "A").parseoutcomes()["skipped"] == 1
    stepwise = run(pytester, "-n2", "--sw")
    assert stepwise.parseoutcomes()["failed"] == 1
    assert stepwise.ret != pytest.ExitCode.OK


def test_a_failed_experiment_is_run_again(pytester: pytest.Pytester, experiment: Write) -> None:
    """With pytest-rerunfailures, and the record has each attempt."""
    pytest.importorskip("pytest_rerunfailures")
    experiment("experiments/A", toml="[run]\nskip = 1\n")  # fails
    lacking(experiment, "B")
    result = run(pytester, "-p", "rerunfailures", "-n2", "--reruns=1")
    assert result.parseoutcomes() == {"failed": 1, "rerun": 1, "skipped": 1}
    attempts = {e["name"]: len(e["attempts"]) for e in record(pytester)["experiments"]}
    assert attempts == {"A": 2, "B": 1}


# The order


@pytest.mark.parametrize(
    ("schedule", "order"), [("longest", "BCA"), ("shortest", "ACB"), ("collection", "ABC")]
)
def test_the_order_of_experiments(
    schedule: str, order: str, pytester: pytest.Pytester, experiment: Write
) -> None:
    """By the durations that history knows, or as collected."""
    prepared = session.prepare(pytester.parseconfig("--run-experiments"))
    for name, duration_s in zip("ABC", (1.0, 3.0, 2.0), strict=True):
        folder = lacking(experiment, name)
        before = ExperimentResult(
            name=name,
            directory=folder,
            outcome=ExperimentOutcome.PASSED,
            notebooks=(),
            started_at=1.0,
            duration_s=duration_s,
        )
        prepared.history.record_experiment(before, nodeid=f"experiments/{name}::notebooks")
    prepared.history.close()
    result = run(pytester, "-n1", "--experiment-schedule", schedule)
    result.assert_outcomes(skipped=3)
    starts = {e["name"]: e["attempts"][0]["started_at"] for e in record(pytester)["experiments"]}
    assert "".join(sorted(starts, key=lambda name: starts[name])) == order


# Waiting for others


def test_a_wait_that_lasts_too_long(pytester: pytest.Pytester, experiment: Write) -> None:
    """While an experiment waits it is told for what; with --experiment-wait it fails in the end."""
    experiment("experiments/A", "1-load", toml='[resources]\nlocks = ["data"]\n')
    need = Need(cpus=0.1, ram_bytes=1, ram_source="declared", locks=("data",))
    claim = Claim(need=need, experiment="theirs", session="another")
    pool = LeasePool(Path(f"{pytester.path}-pool"))
    with pool.lease(claim, admission=lambda *_: Grant()):
        result = run(pytester, "-n1", "--experiment-wait", "1s")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    reason = "needs the lock 'data'; held by theirs (pid *)"
    result.stdout.fnmatch_lines(
        [
            f"[[]gw0[]] A waits: {reason}",
            f"*no lease within 1.00s: {reason}",
            "*end the run that holds it, or wait longer with --experiment-wait",
        ]
    )
