from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from report_samples import (
    NAMES,
    REASON,
    ROOT,
    cell_failure,
    failed,
    lease,
    passed,
    result,
    results,
    unrun,
)

from pytest_nbgroups.core.model import (
    CellReference,
    ExperimentResult,
    Failure,
    FailureKind,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Lease
from pytest_nbgroups.reports.failure import (
    TracebackStyle,
    failure_headline,
    failure_lines,
    notebook_headline,
)

RERUN = "pytest --run-experiments experiments/Heart::notebooks"


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text(of: ExperimentResult, *, gpus: bool | None = None, style: TracebackStyle = "long") -> str:
    lines = failure_lines(of, rerun_command=RERUN, shown=shown, gpus_visible=gpus, tb_style=style)
    return "\n".join(lines)


def test_a_failed_cell_is_told_whole() -> None:
    """Everything that a user needs in order to understand a failure, and to run it again."""
    assert (
        text(result())
        == """\
experiment Heart, notebook 2 of 3: 2-fit.ipynb, cell 5 of 12 (In [3])

      1 data = load()
----> 2 fit(data)

File ~/repo/fitting.py:11, in fit(data)
     10 if not data:
---> 11     raise ValueError("bad value")

E   ValueError: bad value

last lines of its output:
    epoch 1
    epoch 2

executed notebook: .experiments/notebooks/Heart/2-fit.ipynb
kernel log: .experiments/logs/Heart/2-fit.log
not run: 3-eval.ipynb
rerun: pytest --run-experiments experiments/Heart::notebooks"""
    )


def test_short_style_is_shorter() -> None:
    """``--tb=short`` shows less source, fewer lines of each frame and less output."""
    source = "\n".join(f"step({n})" for n in range(1, 10))
    cell = CellReference(number=5, count=12, source=source, execution_count=3, line=5)
    failure = cell_failure(cell=cell, output="1\n2\n3\n4\n5")
    told = text(result(notebooks=(failed(failure=failure),)), style="short")
    assert told.startswith(
        """\
experiment Heart, notebook 1 of 1: 2-fit.ipynb, cell 5 of 12 (In [3])

      ... 2 more lines above
      3 step(3)
      4 step(4)
----> 5 step(5)
      6 step(6)
      7 step(7)
      ... 2 more lines below

Cell In[3], line 2
----> 2 fit(data)
File ~/repo/fitting.py:11, in fit(data)
---> 11     raise ValueError("bad value")

E   ValueError: bad value

last lines of its output:
    ... 2 more lines
    3
    4
    5
"""
    )


def test_a_deadline_comes_with_its_remedy() -> None:
    """The message names the cell and the limit; the remedy says which key raises it."""
    failure = Failure(
        kind=FailureKind.DEADLINE,
        message="cell 5 of 12 ran into the cell's limit of 10m00s; it was interrupted",
        cell=CellReference(number=5, count=12, source="wait()"),
        remedy="raise it with cell_timeout in experiment.toml",
    )
    told = text(result(notebooks=(failed(failure=failure, executed_path=None, log_path=None),)))
    assert (
        told
        == """\
experiment Heart, notebook 1 of 1: 2-fit.ipynb, cell 5 of 12

      1 wait()

E   cell 5 of 12 ran into the cell's limit of 10m00s; it was interrupted

remedy: raise it with cell_timeout in experiment.toml
rerun: pytest --run-experiments experiments/Heart::notebooks"""
    )


def test_a_dead_kernel_comes_with_its_log() -> None:
    """The last words of a kernel that crashed are often the reason."""
    failure = Failure(
        kind=FailureKind.KERNEL_DIED,
        message="the kernel died in cell 5 of 12: SIGSEGV, a crash in compiled code",
        traceback="Fatal Python error: Segmentation fault",
    )
    assert (
        "\n\nlast lines of the kernel's log:\n    Fatal Python error: Segmentation fault\n\n"
        "E   the kernel died in cell 5 of 12: SIGSEGV, a crash in compiled code\n\n"
    ) in text(result(notebooks=(failed(failure=failure),)))


@pytest.mark.parametrize("kind", [FailureKind.OUT_OF_MEMORY, FailureKind.RAM_LIMIT])
def test_what_was_seen_of_a_death(kind: FailureKind) -> None:
    """It stands below the message, a fact a line; then what to do about it."""
    failure = Failure(
        kind=kind,
        message="the kernel died in cell 5 of 12: out of memory",
        traceback="last words",
        evidence=("1 process was ended", "beside it ran Lung\n(3 GiB)"),
        remedy="declare ram",
    )
    told = text(result(notebooks=(failed(failure=failure),)))
    assert (
        "\n\nlast lines of the kernel's log:\n    last words\n\n"
        "E   the kernel died in cell 5 of 12: out of memory\n\n"
        "evidence:\n    1 process was ended\n    beside it ran Lung (3 GiB)\n\n"
    ) in told
    assert "\nremedy: declare ram\n" in told


def test_a_bad_declaration_has_no_notebook() -> None:
    """Each fault of the file has a line of its own."""
    error = Failure(kind=FailureKind.DECLARATION, message="a.toml: x: bad\na.toml: y: bad")
    assert (
        text(result(notebooks=(), error=error))
        == """\
experiment Heart

E   a.toml: x: bad
E   a.toml: y: bad

rerun: pytest --run-experiments experiments/Heart::notebooks"""
    )


def test_an_error_does_not_hide_a_failed_notebook() -> None:
    """A worker that died after a failure: both are told, the error first."""
    error = Failure(kind=FailureKind.ERROR, message="worker gw1 crashed")
    told = text(result(error=error)).splitlines()
    assert told[:5] == [
        "experiment Heart",
        "",
        "E   worker gw1 crashed",
        "",
        "experiment Heart, notebook 2 of 3: 2-fit.ipynb, cell 5 of 12 (In [3])",
    ]


def test_what_was_interrupted_is_named() -> None:
    """A crash interrupts one notebook, and the later ones were not run."""
    notebooks = (
        passed(),
        NotebookResult(name=NAMES[1], outcome=NotebookOutcome.INTERRUPTED),
        unrun(),
    )
    error = Failure(kind=FailureKind.ERROR, message="worker gw1 crashed")
    told = text(result(notebooks=notebooks, error=error))
    assert "\n\ninterrupted: 2-fit.ipynb\nnot run: 3-eval.ipynb\nrerun: " in told


@pytest.mark.parametrize(
    ("message", "gpus", "said"),
    [
        ("RuntimeError: No CUDA GPUs are available", False, True),
        ("RuntimeError: No CUDA GPUs are available", True, False),
        ("RuntimeError: No CUDA GPUs are available", None, False),
        ("ValueError: bad value", False, False),
    ],
)
def test_a_missing_gpu_is_pointed_out(message: str, gpus: bool | None, said: bool) -> None:  # noqa: FBT001
    """Only where none was visible and the failure is about one."""
    notebooks = (failed(failure=cell_failure(message=message)),)
    told = text(result(notebooks=notebooks), gpus=gpus).splitlines()
    assert ("no GPU was visible to this experiment" in told) is said


NOT_DECLARED = (
    "it declares no GPU, so it saw none; put gpus = 1 into [resources] of "
    "experiments/Heart/experiment.toml"
)


@pytest.mark.parametrize(
    ("changes", "held", "gpus", "said"),
    [
        ({"message": "RuntimeError: No CUDA GPUs are available"}, lease(), True, True),
        ({"traceback": "torch.cuda.init()"}, lease(), True, True),
        ({"output": "no NVIDIA driver"}, lease(), True, True),
        ({}, lease(), True, False),
        ({"message": "RuntimeError: CUDA error"}, lease("GPU-1"), True, False),
        ({"message": "RuntimeError: CUDA error"}, None, True, False),
        ({"message": "RuntimeError: CUDA error"}, lease(), False, False),
        ({"message": "RuntimeError: CUDA error"}, lease(), None, False),
    ],
)
def test_an_undeclared_gpu_is_pointed_out(
    changes: dict[str, str],
    held: Lease | None,
    gpus: bool | None,  # noqa: FBT001
    said: bool,  # noqa: FBT001
) -> None:
    """Only where there are GPUs, it held none of them, and the failure is about one."""
    of = result(notebooks=(failed(failure=cell_failure(**changes)),), lease=held)
    assert (NOT_DECLARED in text(of, gpus=gpus).splitlines()) is said


def test_a_wait_that_was_too_long() -> None:
    """Who held what it lacked, what to do, and no hint on GPUs although the message names one."""
    message = f"no lease within 30m00s: {REASON}"
    error = Failure(kind=FailureKind.LEASE, message=message, remedy="wait longer")
    of = result(error=error, notebooks=(unrun(NAMES[0]), unrun(NAMES[1])), lease=lease())
    assert failure_headline(of) == message
    assert (
        text(of, gpus=True)
        == f"""\
experiment Heart

E   {message}

not run: 1-load.ipynb, 2-fit.ipynb
remedy: wait longer
rerun: pytest --run-experiments experiments/Heart::notebooks"""
    )
    assert text(of, gpus=False) == text(of, gpus=True)


def test_no_command_is_made_up() -> None:
    """Without a command there is no line for it."""
    assert not any(line.startswith("rerun") for line in failure_lines(result(), rerun_command=""))


def headline(failure: Failure) -> str:
    return failure_headline(result(notebooks=(failed(failure=failure),)))


def test_the_headline_of_a_cell() -> None:
    """Where it failed, then why."""
    assert headline(cell_failure()) == "2-fit.ipynb, cell 5: ValueError: bad value"


def test_the_headline_of_a_bare_exception_has_its_line() -> None:
    """A failed assert without a text would say nothing."""
    cell = CellReference(number=5, count=12, source="x = 1\nassert x == 2", line=2)
    failure = cell_failure(message="AssertionError", cell=cell)
    assert headline(failure) == "2-fit.ipynb, cell 5: AssertionError at assert x == 2"


def test_the_headline_of_a_deadline_names_the_cell_once() -> None:
    """The message names it already."""
    failure = cell_failure(kind=FailureKind.DEADLINE, message="cell 5 of 12 ran into its limit")
    assert headline(failure) == "2-fit.ipynb: cell 5 of 12 ran into its limit"


def test_the_headline_of_a_bad_notebook_names_it_once() -> None:
    """The message names it already."""
    failure = Failure(kind=FailureKind.NOTEBOOK, message="2-fit.ipynb is empty")
    assert headline(failure) == "2-fit.ipynb is empty"


@pytest.mark.parametrize(
    ("of", "line"),
    [
        (result("passed"), ""),
        (result("skipped", reason="needs Docker"), "needs Docker"),
        (result("interrupted"), "interrupted"),
        (
            result(
                "interrupted",
                reason="the session ended while it ran",
                notebooks=(NotebookResult(name="a.ipynb", outcome=NotebookOutcome.INTERRUPTED),),
            ),
            "interrupted in a.ipynb: the session ended while it ran",
        ),
        (
            result(error=Failure(kind=FailureKind.ERROR, message="needs 2 GPUs,\nfound none")),
            "needs 2 GPUs, found none",
        ),
    ],
)
def test_the_headline_of_others(of: ExperimentResult, line: str) -> None:
    """The reason in one line, and nothing for what passed."""
    assert failure_headline(of) == line


def test_a_notebook_without_a_failure_is_named() -> None:
    """There is nothing more to say."""
    assert notebook_headline(passed()) == "1-load.ipynb"


@given(results())
def test_any_text_is_rendered_without_control_characters(of: ExperimentResult) -> None:
    """Whatever notebooks print, a report neither fails nor drives the terminal."""
    styles: tuple[TracebackStyle, ...] = ("long", "short")
    for style in styles:
        lines = failure_lines(of, rerun_command=RERUN, gpus_visible=False, tb_style=style)
        for line in [*lines, failure_headline(of)]:
            assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, line))
