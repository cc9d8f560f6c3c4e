from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from report_samples import ROOT, cell_failure, failed, recorded, result, results, unrun

from pytest_nbgroups.core.model import CellReference, ExperimentResult, Failure, FailureKind
from pytest_nbgroups.reports.github import (
    SUMMARY_LIMIT_BYTES,
    append_summary,
    error_annotations,
    shortened,
)


def annotation(of: ExperimentResult, *, workspace: Path = ROOT) -> str:
    (line,) = error_annotations(recorded(of), workspace=workspace)
    return line


def test_a_failed_cell_is_an_annotation_on_its_notebook() -> None:
    """The title says where, the message says why and shows the source."""
    assert annotation(result()) == (
        "::error file=experiments/Heart/2-fit.ipynb,title=Heart%3A 2-fit.ipynb%2C cell 5 of 12"
        "::ValueError: bad value%0A      1 data = load()%0A----> 2 fit(data)"
    )


def test_what_was_seen_is_told() -> None:
    """Before what to do about it."""
    failure = Failure(
        kind=FailureKind.OUT_OF_MEMORY, message="died", evidence=("a fact",), remedy="do this"
    )
    told = annotation(result(notebooks=(failed(failure=failure),)))
    assert told.endswith("::died%0Aa fact%0Ado this")


def test_the_documented_characters_are_escaped() -> None:
    """Percent signs and line ends everywhere, colons and commas in properties."""
    failure = Failure(kind=FailureKind.NOTEBOOK, message="100% of a,b:\nlost", remedy="try %20")
    of = result(name="a,b:100%", notebooks=(failed(name="x,y:1%.ipynb", failure=failure),))
    assert annotation(of) == (
        "::error file=experiments/Heart/x%2Cy%3A1%25.ipynb,title=a%2Cb%3A100%25%3A x%2Cy%3A1%25.ipynb"
        "::100%25 of a,b:%0Alost%0Atry %2520"
    )


@pytest.mark.parametrize(
    ("workspace", "file"),
    [
        ("/", "repo/experiments/Heart/2-fit.ipynb"),
        ("/repo/experiments", "Heart/2-fit.ipynb"),
        ("/elsewhere", "/repo/experiments/Heart/2-fit.ipynb"),
    ],
)
def test_files_are_relative_to_the_workspace(workspace: str, file: str) -> None:
    """The rootdir may be a folder of the repository, or lie outside of it."""
    assert f"file={file}," in annotation(result(), workspace=Path(workspace))


BAD = Failure(kind=FailureKind.DECLARATION, message="cpus = 0")


def test_a_bad_declaration_is_on_its_file(tmp_path: Path) -> None:
    """There is no notebook to blame."""
    (tmp_path / "experiment.toml").write_text("")
    of = result(notebooks=(unrun(),), directory=tmp_path, error=BAD)
    assert annotation(of, workspace=tmp_path) == (
        "::error file=experiment.toml,title=Heart::cpus = 0"
    )


def test_a_declaration_may_be_in_no_file_of_its_own(tmp_path: Path) -> None:
    """It came from the ini file, a marker or a notebook: then the only notebook, else no file."""
    one = result(notebooks=(unrun(),), directory=tmp_path, error=BAD)
    assert annotation(one, workspace=tmp_path) == "::error file=3-eval.ipynb,title=Heart::cpus = 0"
    several = result(directory=tmp_path, error=BAD)
    assert annotation(several, workspace=tmp_path) == "::error title=Heart::cpus = 0"


def test_a_directory_that_cannot_be_looked_into_is_on_no_file(tmp_path: Path) -> None:
    """That is a bad declaration as well."""
    of = result(notebooks=(), directory=tmp_path / ("x" * 300), error=BAD)
    assert annotation(of) == "::error title=Heart::cpus = 0"


def test_a_crash_is_on_no_file() -> None:
    """It is an error of the experiment as a whole."""
    error = Failure(kind=FailureKind.ERROR, message="worker gw1 crashed")
    assert annotation(result(error=error)) == "::error title=Heart::worker gw1 crashed"


def test_a_failure_without_details_is_still_told() -> None:
    """The annotation has the outcome."""
    assert annotation(result(notebooks=())) == "::error title=Heart::failed"


def test_only_failures_are_annotated() -> None:
    """Skips and interruptions are no errors of the code."""
    others = [result(outcome, name=outcome) for outcome in ("passed", "skipped", "interrupted")]
    assert error_annotations(recorded(*others), workspace=ROOT) == []


@given(results())
def test_an_annotation_is_one_printable_line(of: ExperimentResult) -> None:
    """No name and no message can begin a workflow command of its own."""
    for line in error_annotations(recorded(of), workspace=ROOT):
        assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, line))
        assert re.fullmatch(r"::error ((file|title)=[^,:]+(,(?!:)|(?=::)))*::.+", line)


def test_a_long_cell_is_windowed() -> None:
    """An annotation has little room."""
    source = "\n".join(f"step({n})" for n in range(1, 30))
    cell = CellReference(number=1, count=1, source=source, line=15)
    told = annotation(result(notebooks=(failed(failure=cell_failure(cell=cell)),)))
    assert "%0A----> 15 step(15)%0A" in told
    assert "step(18)" not in told


def test_the_summary_is_appended(tmp_path: Path) -> None:
    """What the step wrote before stays."""
    path = tmp_path / "summary.md"
    assert append_summary(path, "# one\n") == ()
    assert append_summary(path, "# två \udce9\n") == ()
    assert path.read_text("utf-8") == "# one\n# två \\udce9\n"


def test_a_summary_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """It costs nothing else."""
    (warning,) = append_summary(tmp_path, "# one\n")
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}: the step summary could not be written: \w.+", warning
    )


def test_the_summary_fits_beside_what_is_there(tmp_path: Path) -> None:
    """GitHub shows nothing of a step with more than its limit."""
    path = tmp_path / "summary.md"
    path.write_text("x" * (SUMMARY_LIMIT_BYTES - 100))
    assert append_summary(path, "| row |\n" * 1000) == ()
    assert SUMMARY_LIMIT_BYTES - 20 < path.stat().st_size <= SUMMARY_LIMIT_BYTES
    assert path.read_text().endswith(
        "| row |\n\nShortened: GitHub shows at most 1 MiB for a step.\n"
    )


BLOCK = "<details><summary>a</summary>\n\n<pre>\nå\n</pre>\n\n</details>\n"


def test_whole_blocks_are_left_out_first() -> None:
    """A half of a block would swallow what comes after it."""
    text = f"| a |\n\n{BLOCK}{BLOCK}"
    assert shortened(text, len(text.encode())) == text
    assert shortened(text, len(text.encode()) - 1) == (
        f"| a |\n\n{BLOCK}\nShortened: GitHub shows at most 1 MiB for a step.\n"
    )


def test_where_there_is_no_room_nothing_is_written() -> None:
    """Not even the remark."""
    assert shortened(BLOCK, 10) == ""
