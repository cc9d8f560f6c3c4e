"""Options, ini keys and markers that a project has under our names stay its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import pytest

from pytest_nbgroups.integration.options import command_line

Write: TypeAlias = Callable[..., Path]

THEIR_CONFTEST = """
import argparse
import pytest

def pytest_addoption(parser):
    parser.addoption("--run-experiments", {attributes}, help="THEIRS")
    parser.addoption("--run-all", action="store_true", default=False, help="THEIRS, all")

def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--run-experiments") or config.getoption("--run-all")
    for item in items:
        if "experiment" in item.keywords and not wanted:
            item.add_marker(pytest.mark.skip(reason="their skip"))

def pytest_report_header(config):
    return f"their value: {{config.getoption('--run-experiments')!r}}"
"""
SWITCH = 'action="store_true", default=False'


@pytest.fixture
def theirs(skipped: Write, pytester: pytest.Pytester) -> Callable[..., None]:
    """Write a project with an option of its own, tests that it skips without it, and an experiment."""

    def write(place: str = "conftest.py", attributes: str = SWITCH) -> None:
        skipped("experiments/Heart")
        tests = pytester.mkdir("tests")
        (tests / "test_a.py").write_text(
            "import pytest\n"
            "def test_plain(): pass\n"
            "@pytest.mark.experiment\n"
            "def test_theirs(): pass\n"
        )
        file = pytester.path / place
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(THEIR_CONFTEST.format(attributes=attributes))

    return write


@pytest.mark.parametrize("place", ["conftest.py", "tests/conftest.py"])
def test_theirs_stays(place: str, theirs: Callable[..., None], pytester: pytest.Pytester) -> None:
    """Plain pytest is as without us; with the option both run; another option of theirs is theirs alone."""
    theirs(place)
    plain = pytester.runpytest_inprocess("-rs")
    plain.assert_outcomes(passed=1, skipped=1)
    plain.stdout.fnmatch_lines(["their value: False", "SKIPPED * their skip"])
    plain.stdout.no_fnmatch_line("*experiments:*")
    both = pytester.runpytest_inprocess("--run-experiments", "-v")
    both.assert_outcomes(passed=2, skipped=1)
    both.stdout.fnmatch_lines(["their value: True", "*experiments/Heart::notebooks SKIPPED*"])
    everything = pytester.runpytest_inprocess("--run-all")
    everything.assert_outcomes(passed=2)


@pytest.mark.parametrize("place", ["conftest.py", "tests/conftest.py"])
def test_help_shows_one(place: str, theirs: Callable[..., None], pytester: pytest.Pytester) -> None:
    """--help lists their option, and ours but that one."""
    theirs(place)
    result = pytester.runpytest_inprocess("--help")
    assert result.ret == pytest.ExitCode.OK
    assert [line.split() for line in result.outlines if "--run-experiments" in line] == [
        ["--run-experiments", "THEIRS"]
    ]
    result.stdout.fnmatch_lines(["  --experiment-ram=SIZE|N%", "  experiment_roots (paths):*"])


@pytest.mark.xdist
@pytest.mark.parametrize("workers", ["2", "auto"])
def test_under_xdist(workers: str, theirs: Callable[..., None], pytester: pytest.Pytester) -> None:
    """Controller and workers read it alike, also where the number of workers is ours to say."""
    theirs("tests/conftest.py")
    pytester.makeini("[pytest]\ntestpaths = tests\naddopts = --experiment-ram 4GB")
    result = pytester.runpytest_subprocess("--run-experiments", "-n", workers)
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["Heart * skipped * needs Docker"])


@pytest.mark.parametrize(
    ("attributes", "given", "is_on"),
    [
        ('action="store_true"', "", False),
        ('action="store_true", default=True', "", False),
        ('action="store_true", dest="other"', "--run-experiments", True),
        ('action="store_const", const="all"', "--run-experiments", True),
        ('action="count", default=0', "--run-experiments", True),
        ("action=argparse.BooleanOptionalAction, default=True", "", False),
        ("action=argparse.BooleanOptionalAction", "--run-experiments", True),
        ("action=argparse.BooleanOptionalAction", "--no-run-experiments", False),
        ('action="store"', "--run-experiments heart", True),
        ('action="store"', "'--run-experiments=heart and lung'", True),
        ('action="store", default="heart"', "", False),
        ('action="store"', "--run-experiments=No", False),
        ('action="store", type=int', "--run-experiments 0", False),
        ('action="append"', "--run-experiments heart --run-experiments lung", True),
        ('nargs="?", const=True', "--run-experiments", True),
    ],
)
def test_its_value_is_read(
    attributes: str,
    given: str,
    is_on: bool,  # noqa: FBT001  a parameter of the test
    theirs: Callable[..., None],
    pytester: pytest.Pytester,
) -> None:
    """Ours is on if theirs is given with a value that means yes, whatever kind of option it is."""
    theirs(attributes=attributes)
    result = pytester.runpytest_inprocess("--co", "-q", "tests", "experiments", *shlex.split(given))
    assert result.ret == pytest.ExitCode.OK
    assert ("experiments/Heart::notebooks" in result.outlines) is is_on


@pytest.mark.parametrize("way", ["addopts", "environment", "file"])
def test_other_ways_to_give_it(
    way: str,
    theirs: Callable[..., None],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In addopts, in PYTEST_ADDOPTS or in an @file the options are found as on the command line."""
    theirs("tests/conftest.py")
    options = ["--run-experiments", "--experiment-artifacts", "out"]
    arguments: list[str] = []
    match way:
        case "addopts":
            pytester.makeini(f"[pytest]\naddopts = {' '.join(options)}")
        case "environment":
            monkeypatch.setenv("PYTEST_ADDOPTS", f"-p nbgroups {' '.join(options)}")
        case _:
            pytester.makefile(".txt", options="\n".join(options))
            arguments = ["@options.txt"]
    result = pytester.runpytest_inprocess("-rs", *arguments)
    result.assert_outcomes(passed=2, skipped=1)
    assert (pytester.path / "out" / "session.json").exists()


def test_a_value_is_no_path(theirs: Callable[..., None], pytester: pytest.Pytester) -> None:
    """A folder that a value of ours names does not keep pytest from finding their conftest.py."""
    theirs("tests/conftest.py")
    pytester.mkdir("out")
    options = ["--experiment-artifacts", "out", "--run-all", "--run-experiments"]
    result = pytester.runpytest_inprocess(*options)
    result.assert_outcomes(passed=2, skipped=1)


def test_a_conftest_that_loads_later(
    theirs: Callable[..., None], pytester: pytest.Pytester
) -> None:
    """One that pytest finds only as it collects declares its option without an error."""
    theirs("inner/tests/conftest.py")
    (pytester.path / "inner" / "tests" / "test_b.py").write_text("def test_b(): pass\n")
    plain = pytester.runpytest_inprocess()
    plain.assert_outcomes(passed=2, skipped=1)
    both = pytester.runpytest_inprocess("--run-experiments")
    both.assert_outcomes(passed=3, skipped=1)


def test_a_plugin_has_it(
    theirs: Callable[..., None], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same where a plugin declares the option, before ours or after."""
    theirs("their_plugin.py")
    monkeypatch.syspath_prepend(pytester.path)
    for order in ("-p their_plugin -p nbgroups", "-p nbgroups -p their_plugin"):
        monkeypatch.setenv("PYTEST_ADDOPTS", order)
        result = pytester.runpytest_subprocess("--run-experiments")
        result.assert_outcomes(passed=2, skipped=1)


def test_blocked(theirs: Callable[..., None], pytester: pytest.Pytester) -> None:
    """With -p no:nbgroups theirs works as if we were not installed."""
    theirs("tests/conftest.py")
    result = pytester.runpytest_subprocess("-p", "no:nbgroups", "--run-experiments")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("place", ["conftest.py", "tests/conftest.py"])
def test_registered_by_a_conftest(
    place: str,
    theirs: Callable[..., None],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A conftest.py that registers the plugin has the option itself, or another one that loads later has it."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    theirs(place)
    root = pytester.path / "conftest.py"
    text = root.read_text() if root.exists() else ""
    root.write_text(f'pytest_plugins = ["pytest_nbgroups.register"]\n{text}')
    plain = pytester.runpytest_subprocess("-rs")
    plain.assert_outcomes(passed=1, skipped=1)
    both = pytester.runpytest_subprocess("--run-experiments", "--experiment-ram=4GB")
    both.assert_outcomes(passed=2, skipped=1)
    shown = pytester.runpytest_subprocess("--help").stdout.str()
    assert shown.count("--run-experiments") == 1
    assert "--experiment-ram" in shown


OTHERS = """
def pytest_addoption(parser):
    group = parser.getgroup("theirs")
    group.addoption("--experiment-cpus", action="store", default="their default")
    group.addoption("--experiment-plan", action="store_true")
    parser.addini("experiment_timeout", "THEIRS", type="bool", default=False)
    parser.addini("experiment_roots", "THEIRS", type="linelist", default=[])

def pytest_report_header(config):
    ours = [config.getoption("--experiment-cpus"), config.getini("experiment_timeout")]
    return f"their values: {ours} {config.getini('experiment_roots')}"
"""


def test_other_names_are_theirs(skipped: Write, pytester: pytest.Pytester) -> None:
    """Their options and keys of our other names work; while they are not set, so do experiments."""
    skipped("experiments/Heart")
    pytester.makeconftest(OTHERS)
    pytester.makepyfile("def test_plain(): pass")
    pytester.makeini("[pytest]\nexperiment_roots = nowhere\nexperiment_timeout = yes")
    plain = pytester.runpytest_inprocess("--experiment-cpus", "many", "--experiment-plan")
    plain.assert_outcomes(passed=1)
    plain.stdout.fnmatch_lines(["their values: ['many', True] ['nowhere']"])
    pytester.makeini("[pytest]")
    unset = pytester.runpytest_inprocess("--run-experiments")
    unset.assert_outcomes(passed=1, skipped=1)
    unset.stdout.fnmatch_lines(["their values: ['their default', False] []"])


@pytest.mark.parametrize(
    ("arguments", "ini", "message"),
    [
        (
            "--experiment-cpus many",
            "",
            (
                "--experiment-cpus is an option of conftest.py:3, so pytest-nbgroups cannot read it; "
                "rename that option, or use our ini key experiment_cpus instead of it"
            ),
        ),
        (
            "--experiment-plan",
            "",
            (
                "--experiment-plan is an option of conftest.py:4, so pytest-nbgroups cannot read it; "
                "rename that option"
            ),
        ),
        (
            "",
            "experiment_timeout = yes",
            (
                "tox.ini: experiment_timeout is a key of conftest.py:5, so pytest-nbgroups cannot read it; "
                "rename that key, or give --experiment-timeout instead of it"
            ),
        ),
        (
            "",
            "experiment_roots = nowhere",
            (
                "tox.ini: experiment_roots is a key of conftest.py:6, so pytest-nbgroups cannot read it; "
                "rename that key"
            ),
        ),
    ],
)
def test_other_names_that_are_set(
    arguments: str, ini: str, message: str, skipped: Write, pytester: pytest.Pytester
) -> None:
    """With --run-experiments such a value may be meant for either: a usage error names both owners."""
    skipped("experiments/Heart")
    pytester.makeconftest(OTHERS)
    pytester.makeini(f"[pytest]\n{ini}")
    result = pytester.runpytest_inprocess("--run-experiments", *arguments.split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines == [f"ERROR: {message}", ""]


def test_the_owner_is_not_found(skipped: Write, pytester: pytest.Pytester) -> None:
    """The message does without a place where no file spells the name out."""
    skipped("experiments/Heart")
    pytester.makeconftest(
        "def pytest_addoption(parser):\n    parser.addoption('--experiment' + '-cpus')\n"
    )
    result = pytester.runpytest_inprocess("--run-experiments", "--experiment-cpus=2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --experiment-cpus is an option of another plugin, so *"])


def test_their_marker(experiment: Write, pytester: pytest.Pytester) -> None:
    """Tests with a marker of that name run, if it is registered as theirs or carries what ours cannot."""
    experiment("experiments/Heart")
    pytester.makepyfile(
        test_a="""
        import pytest

        @pytest.mark.experiment("heart")
        def test_argument(): pass

        @pytest.mark.experiment(subject=3)
        def test_keyword(): pass

        @pytest.mark.experiment
        def test_bare(): pass

        def test_fixture(run_experiment): pass
        """
    )
    result = pytester.runpytest_inprocess("-rs", "--strict-markers")
    result.assert_outcomes(passed=2, skipped=2)
    pytester.makeini("[pytest]\nmarkers = experiment(id): THEIRS")
    registered = pytester.runpytest_inprocess("-rs", "--strict-markers")
    registered.assert_outcomes(passed=3, skipped=1)
    registered.stdout.fnmatch_lines(["SKIPPED * needs --run-experiments"])


def test_options_can_be_looked_up(pytester: pytest.Pytester) -> None:
    """A conftest.py finds our options by both names, given or not."""
    pytester.makeconftest(
        """
        import pytest

        def pytest_configure(config):
            names = ["run_experiments", "--run-experiments", "experiment_kernel", "--experiment-cpus"]
            raise pytest.UsageError(str([config.getoption(name) for name in names]))
        """
    )
    plain = pytester.runpytest_inprocess()
    assert plain.errlines[0] == "ERROR: [False, False, None, None]"
    given = pytester.runpytest_inprocess(
        "--run-experiments", "--experiment-kernel=my r", "--experiment-cpus", "2"
    )
    assert given.errlines[0] == "ERROR: [True, True, 'my r', 2.0]"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--experiment-cpus", "argument --experiment-cpus: expected one argument"),
        (
            "--experiment-cpus=-1",
            "argument --experiment-cpus: '-1': expected a number above zero, *",
        ),
        ("--run-experiments=1", "argument --run-experiments: ignored explicit argument '1'"),
    ],
)
def test_errors_are_shown_as_of_pytest(
    argument: str, message: str, pytester: pytest.Pytester
) -> None:
    """A value that an option does not accept is a usage error with pytest's own lines around it."""
    result = pytester.runpytest_inprocess(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: usage: * [[]options[]] *",
            f"*: error: {message}",
            "  inifile: None",
            "  rootdir: *",
        ]
    )


def test_a_parser_without_parse(pytester: pytest.Pytester) -> None:
    """Should pytest call it otherwise one day, a conftest.py that registers us declares the options at once."""

    class Parser:
        def __getattr__(self, name: str) -> object:
            if name == "parse":
                raise AttributeError(name)
            return getattr(config._parser, name)

    config = pytester.parseconfig("-p", "no:nbgroups")
    command_line.take_options_at_last(config, cast("pytest.Parser", Parser()))
    values = config._parser.parse_known_args(["--run-experiments", "--experiment-cpus", "2"])
    assert vars(values)["--run-experiments"] is True
    assert vars(values)["--experiment-cpus"] == 2
