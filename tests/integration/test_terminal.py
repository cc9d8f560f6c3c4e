"""What a session tells: on the terminal, in session.json, in JUnit XML and on GitHub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from pytest_nbgroups.reports.session_schema import session_schema

Write: TypeAlias = Callable[..., Path]

ESCAPE = "\x1b"


@pytest.fixture
def three(experiment: Write, skipped: Write) -> None:
    """Brain is skipped, Heart fails, Lung has two notebooks that are skipped; none needs a kernel."""
    skipped("experiments/Brain", "1-load", "2-fit", "3-plot")
    experiment("experiments/Heart", toml="[resources]\ngpus = 1.5\n")
    experiment(
        "experiments/Lung",
        toml='[notebooks."1-load.ipynb"]\nskip = "no data"\n'
        '[notebooks."2-fit.ipynb"]\nskip = "slow"\n',
    )


def run(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    """The lines of a session in which one experiment fails."""
    result = pytester.runpytest_inprocess("--run-experiments", *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    return [re.sub(r"\d+\.\d\ds", "0.00s", line) for line in result.outlines]


def section(lines: list[str], title: str) -> list[str]:
    """The lines below a heading such as ``==== experiments ====``."""
    start = next(i for i, line in enumerate(lines) if re.fullmatch(rf"=+ {title} =+", line))
    end = next(i for i, line in enumerate(lines[start + 1 :]) if line.startswith("===="))
    return lines[start + 1 : start + 1 + end]


@pytest.mark.usefixtures("three")
def test_the_table(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end stands a table with every experiment and the reason where it did not pass."""
    monkeypatch.setenv("COLUMNS", "160")
    *lines, last = section(run(pytester), "experiments")
    assert lines == [
        "experiment  outcome  notebooks   time  reason",
        "Brain       skipped        0/3  0.00s  needs Docker",
        (
            "Heart       failed         0/0  0.00s  experiments/Heart/experiment.toml: [resources] "
            "gpus = 1.5: expected a whole number, 0 or more"
        ),
    ]
    assert last.startswith("Lung        skipped        0/2  0.00s  ")


@pytest.mark.usefixtures("three")
def test_the_table_in_eighty_columns(pytester: pytest.Pytester) -> None:
    """Reasons that find no room beside the rows stand below them, in as many lines as need be."""
    lines = section(run(pytester), "experiments")
    assert lines[:6] == [
        "experiment  outcome  notebooks   time",
        "Brain       skipped        0/3  0.00s",
        "    needs Docker",
        "Heart       failed         0/0  0.00s",
        "    experiments/Heart/experiment.toml: [resources] gpus = 1.5: expected a whole",
        "    number, 0 or more",
    ]


@pytest.mark.xdist
@pytest.mark.usefixtures("three")
def test_the_table_under_workers(pytester: pytest.Pytester) -> None:
    """Under workers the table says which worker ran an experiment."""
    result = pytester.runpytest_subprocess("--run-experiments", "-n1")
    result.stdout.re_match_lines([r"Heart +failed +0/0 +\d+\.\d\ds +gw0"])


@pytest.mark.usefixtures("three")
def test_a_failure(pytester: pytest.Pytester) -> None:
    """A failure reads: experiment, what is wrong, and the command that reruns it."""
    assert section(run(pytester), "FAILURES") == [
        "_______________________________ experiment Heart _______________________________",
        "experiment Heart",
        "",
        (
            "E   experiments/Heart/experiment.toml: [resources] gpus = 1.5: expected a whole number, 0 "
            "or more"
        ),
        "",
        "rerun: pytest --run-experiments experiments/Heart::notebooks",
    ]


def test_a_command_that_needs_quotes(experiment: Write, pytester: pytest.Pytester) -> None:
    """The command that reruns an experiment can be pasted into a shell."""
    experiment("experiments/Heart (CT)", toml="[run]\nskip = 1\n")
    assert "rerun: pytest --run-experiments 'experiments/Heart (CT)::notebooks'" in run(pytester)


@pytest.mark.usefixtures("three")
def test_the_short_summary(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """-ra gives a line for each: the reason to skip at the directory, the headline of a failure."""
    monkeypatch.setenv("COLUMNS", "200")
    assert section(run(pytester, "-ra"), "short test summary info") == [
        "SKIPPED [1] experiments/Brain: needs Docker",
        "SKIPPED [1] experiments/Lung: all notebooks are skipped: no data; slow",
        (
            "FAILED experiments/Heart::notebooks - experiments/Heart/experiment.toml: [resources] gpus "
            "= 1.5: expected a whole number, 0 or more"
        ),
    ]


@pytest.mark.usefixtures("three")
def test_verbose(pytester: pytest.Pytester) -> None:
    """-v gives a line for each notebook as it is done."""
    lines = run(pytester, "-v")
    assert [line for line in lines if re.match(r"Lung \d/\d", line)] == [
        "Lung 1/2 1-load.ipynb skipped: no data",
        "Lung 2/2 2-fit.ipynb skipped: slow",
    ]


@pytest.mark.xdist
@pytest.mark.usefixtures("three")
def test_verbose_under_workers(pytester: pytest.Pytester) -> None:
    """Under workers the lines of -v name the worker."""
    result = pytester.runpytest_subprocess("--run-experiments", "-v", "-n1")
    result.stdout.fnmatch_lines(
        [
            "[[]gw0[]] Lung 1/2 1-load.ipynb skipped: no data",
            "[[]gw0[]] Lung 2/2 2-fit.ipynb skipped: slow",
            "experiment * outcome * notebooks * time * worker*",
        ]
    )


@pytest.mark.usefixtures("three")
def test_quiet(pytester: pytest.Pytester) -> None:
    """-q leaves out the header and the table; the failure stays."""
    lines = run(pytester, "-q")
    assert not any(re.match("experiments:|experiment +outcome|=+ experiments", x) for x in lines)
    assert "rerun: pytest --run-experiments experiments/Heart::notebooks" in lines


@pytest.mark.usefixtures("three")
def test_no_header(pytester: pytest.Pytester) -> None:
    """--no-header leaves out ours as well."""
    assert any(line.startswith("experiments: ") for line in run(pytester))
    assert not any(line.startswith("experiments: ") for line in run(pytester, "--no-header"))


@pytest.mark.usefixtures("three")
def test_tracebacks_left_out(pytester: pytest.Pytester) -> None:
    """--tb=no tells of no failure but in the table and the short summary."""
    lines = run(pytester, "--tb=no")
    assert not any("FAILURES" in line or line.startswith("E   ") for line in lines)
    assert any(line.startswith("Heart ") for line in lines)


@pytest.mark.usefixtures("three")
def test_tracebacks_in_a_line(pytester: pytest.Pytester) -> None:
    """--tb=line gives one line for a failure: where, and what."""
    assert section(run(pytester, "--tb=line"), "FAILURES") == [
        (
            "experiments/Heart:0: experiments/Heart/experiment.toml: [resources] gpus = 1.5: expected "
            "a whole number, 0 or more"
        )
    ]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("style", ["short", "long", "auto", "native"])
def test_tracebacks_of_each_style(style: str, pytester: pytest.Pytester) -> None:
    """Every other --tb tells what is wrong and how to rerun."""
    lines = section(run(pytester, f"--tb={style}"), "FAILURES")
    assert lines[-1] == "rerun: pytest --run-experiments experiments/Heart::notebooks"
    assert sum(line.startswith("E   ") for line in lines) == 1


@pytest.mark.usefixtures("three")
def test_durations(pytester: pytest.Pytester) -> None:
    """--durations lists experiments as any test."""
    lines = run(pytester, "--durations=0", "--durations-min=0", "-vv")
    slowest = section(lines, "slowest durations")
    assert "0.00s call     experiments/Heart::notebooks" in slowest


@pytest.mark.usefixtures("three")
def test_colour(pytester: pytest.Pytester) -> None:
    """There is colour where it is asked for, and none where there is no terminal."""
    plain = pytester.runpytest_subprocess("--run-experiments")
    assert ESCAPE not in plain.stdout.str()
    coloured = pytester.runpytest_subprocess("--run-experiments", "--color=yes")
    row = next(line for line in coloured.outlines if re.match(r"\x1b\[\d+mHeart ", line))
    assert row.startswith(f"{ESCAPE}[31m")


@pytest.mark.usefixtures("three")
def test_the_record(pytester: pytest.Pytester) -> None:
    """session.json has every experiment, keeps to its schema and equals the newest in sessions/."""
    run(pytester)
    folder = pytester.path / ".experiments"
    record: dict[str, Any] = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    jsonschema.validate(record, session_schema())
    assert record["exit_status"] == 1
    assert record["rootdir"] == str(pytester.path)
    brain, heart, lung = record["experiments"]
    assert (brain["name"], brain["nodeid"]) == ("Brain", "experiments/Brain::notebooks")
    assert (brain["outcome"], brain["reason"]) == ("skipped", "needs Docker")
    assert (heart["outcome"], heart["directory"]) == ("failed", "experiments/Heart")
    assert heart["attempts"][0]["failure"]["kind"] == "declaration"
    assert heart["reason"].endswith("gpus = 1.5: expected a whole number, 0 or more")
    assert [(n["name"], n["outcome"], n["reason"]) for n in lung["attempts"][0]["notebooks"]] == [
        ("1-load.ipynb", "skipped", "no data"),
        ("2-fit.ipynb", "skipped", "slow"),
    ]
    newest = folder / "sessions" / f"{record['id']}.json"
    assert newest.read_bytes() == (folder / "session.json").read_bytes()
    assert (folder / ".gitignore").read_text() == "*\n"


@pytest.mark.usefixtures("three")
def test_a_record_that_cannot_be_written(pytester: pytest.Pytester) -> None:
    """An artifacts folder that cannot be written costs a warning, said once, and no result."""
    (pytester.path / "file").write_text("in the way")
    lines = run(pytester, "--experiment-artifacts", "file/below")
    told = [line for line in lines if line.startswith("experiments: warning: ")]
    assert len(told) == len(set(told))
    assert (
        f"experiments: warning: {pytester.path / 'file/below'}: the session record could not be "
        "written: Not a directory"
    ) in told


def test_no_record_without_experiments(pytester: pytest.Pytester) -> None:
    """Where no experiment ran, nothing is written and no table shown."""
    pytester.makepyfile("def test_ordinary(): pass")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.stdout.no_fnmatch_line("*= experiments =*")
    assert not (pytester.path / ".experiments").exists()


@pytest.mark.usefixtures("three")
def test_junit(pytester: pytest.Pytester) -> None:
    """JUnit XML has a case for each experiment, with its properties."""
    run(pytester, "--junit-xml=junit.xml")
    text = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert ESCAPE not in text
    cases = {case.get("classname"): case for case in ET.fromstring(text).iter("testcase")}  # noqa: S314
    assert set(cases) == {"experiments.Brain", "experiments.Heart", "experiments.Lung"}
    brain = {p.get("name"): p.get("value") for p in cases["experiments.Brain"].iter("property")}
    assert brain == {
        "nbgroups_experiment": "Brain",
        "nbgroups_notebooks": "3",
        "nbgroups_notebooks_passed": "0",
    }
    failure = cases["experiments.Heart"].find("failure")
    assert failure is not None
    assert "gpus = 1.5: expected a whole number" in (failure.get("message") or "")
    skipped = cases["experiments.Lung"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "all notebooks are skipped: no data; slow"


def test_no_escapes_in_files(
    skipped: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Escape codes that come in from outside reach no file and not the table."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    skipped("experiments/A", reason=r"\u001b[31mred\u001b[0m")
    result = pytester.runpytest_inprocess("--run-experiments", "--junit-xml=junit.xml")
    result.assert_outcomes(skipped=1)
    assert ESCAPE not in result.stdout.str()
    for file in ("junit.xml", "summary.md", ".experiments/session.json"):
        text = (pytester.path / file).read_text(encoding="utf-8")
        assert "red" in text
        assert ESCAPE not in text
        assert "\\u001b" not in text


@pytest.mark.usefixtures("three")
def test_github(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """In GitHub Actions a failure is an annotation, and the step summary has the table."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    lines = run(pytester)
    message = (
        "experiments/Heart/experiment.toml: [resources] gpus = 1.5: expected a whole number, 0 or "
        "more"
    )
    assert [line for line in lines if line.startswith("::")] == [
        f"::error file=experiments/Heart/experiment.toml,title=Heart::{message}"
    ]
    summary = (pytester.path / "summary.md").read_text(encoding="utf-8")
    assert re.match(r"### Experiments: 1 failed, 2 skipped in \d+\.\d+s\n", summary)
    assert "| experiment | outcome | notebooks | time | worker | reason |" in summary
    assert re.search(
        r"^\| Brain \| skipped \| 0/3 \| \d\.\d\ds \|  \| needs Docker \|$", summary, re.MULTILINE
    )
    assert "rerun: pytest --run-experiments experiments/Heart::notebooks" in summary


@pytest.mark.usefixtures("three")
def test_elsewhere_than_on_github(pytester: pytest.Pytester) -> None:
    """Outside of GitHub Actions nothing of the kind is printed."""
    assert not any(line.startswith("::") for line in run(pytester))


@pytest.mark.usefixtures("three")
def test_without_a_terminal_reporter(pytester: pytest.Pytester) -> None:
    """-p no:terminal is no obstacle."""
    result = pytester.runpytest_subprocess("--run-experiments", "-p", "no:terminal")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stderr.str() == ""


@pytest.mark.xdist
def test_warnings_as_errors(skipped: Write, pytester: pytest.Pytester) -> None:
    """Under filterwarnings = error nothing of ours breaks the session."""
    pytester.makeini("[pytest]\nfilterwarnings = error")
    skipped("experiments/A", "b", "a")
    result = pytester.runpytest_subprocess("--run-experiments", "-n1")
    result.assert_outcomes(skipped=1, warnings=0)


WAITING = """
import time
import pytest
from pytest_nbgroups.core.events import ExperimentWaiting

class Waits:
    def __init__(self, config):
        self.config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            event = ExperimentWaiting(experiment="Heart", at=time.time(), reason="needs 1 gpu")
            telling = self.config.pluginmanager.getplugin("nbgroups-terminal")
            telling.receive(event, nodeid="Heart", worker="")

def pytest_configure(config):
    if config.pluginmanager.hasplugin("nbgroups-terminal"):
        config.pluginmanager.register(Waits(config))
"""
"""Has an experiment wait after each test."""


@pytest.mark.parametrize("argument", ["-p no:cacheprovider", "-q"])
def test_lines_between_dots(argument: str, pytester: pytest.Pytester) -> None:
    """A line about an experiment stands by itself between the dots of tests, which go on after it."""
    _check_dots(_lines_of(pytester.runpytest_inprocess), pytester, *argument.split())


@pytest.mark.xdist
def test_lines_between_dots_of_workers(pytester: pytest.Pytester) -> None:
    """Under workers the dots of all files stand in one line, which has no path."""
    _check_dots(_lines_of(pytester.runpytest_subprocess), pytester, "-n1")


@pytest.mark.xdist
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_lines_between_dots_on_a_terminal(pytester: pytest.Pytester) -> None:
    """On a terminal, too, where pytest-xdist writes one line again and again."""
    _check_dots(partial(_on_terminal, pytester), pytester, "-n1", "-q")


def _lines_of(run: Callable[..., pytest.RunResult]) -> Callable[..., list[str]]:
    return lambda *arguments: run(*arguments).outlines


def _check_dots(run: Callable[..., list[str]], pytester: pytest.Pytester, *arguments: str) -> None:
    pytester.makeconftest(WAITING)
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('i', range(3))\ndef test_it(i): assert i != 1\n"
    )
    lines = run("--run-experiments", "--color=no", "--tb=no", *arguments)
    told = [number for number, line in enumerate(lines) if "Heart" in line]
    assert [lines[number] for number in told] == ["Heart waits: needs 1 gpu"] * 3
    dots = [lines[number - 1].split()[-1] for number in told]
    assert dots == [".", "F", "."]


def _on_terminal(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    """Run pytest with a terminal for its output; give the lines."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", *arguments]
    with subprocess.Popen(command, cwd=pytester.path, stdout=theirs, stderr=theirs):
        os.close(theirs)
        chunks = []
        with suppress(OSError):  # Linux reports the end of a terminal as an error
            while chunk := os.read(ours, 4096):
                chunks.append(chunk)
    os.close(ours)
    return b"".join(chunks).decode().replace("\r\n", "\n").splitlines()
