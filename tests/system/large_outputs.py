"""Outputs that take long to make: run by ``nox -s large_outputs``."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbench import INI, Tree

pytestmark = [pytest.mark.timeout(600)]

SIZE = 200 * 10**6


@pytest.mark.parametrize(
    "source",
    [f"print('x' * {SIZE - 1})", f"for _ in range({SIZE // 1000}): print('x' * 999)"],
    ids=["at-once", "in-lines"],
)
def test_a_large_output_survives_whole(tmp_path: Path, source: str) -> None:
    """Where the limit is raised above it."""
    tree = Tree(tmp_path, ini=f"{INI}experiment_output_limit = 300MB\n")
    tree.notebook("large", "1-run.ipynb", source)
    run = tree.pytest()
    assert run.returncode == pytest.ExitCode.OK, run.text
    assert "left out" not in run.text
    (output,) = run.executed("large", "1-run.ipynb").cells[0].outputs
    assert len(output.text) == SIZE
    assert set(output.text) == {"x", "\n"}


COMM = "from comm import create_comm\ncomm = create_comm(target_name='t')\n"
DISPLAY = "from IPython.display import clear_output, display\n"


@pytest.mark.parametrize(
    "source",
    [
        f"{COMM}while True: comm.send({{'x': 'x' * 1000}})",
        f"{COMM}while True: create_comm(target_name='t', data={{'state': {{'_model_name': 'x'}}}})",
        f"{DISPLAY}while True: display(1)",
        f"{DISPLAY}while True:\n    clear_output(wait=True)\n    display('x' * 1000)",
        "while True:\n    try:\n        print('x' * 1000)\n    except BaseException: pass",
    ],
    ids=["messages", "comms", "display", "clear", "stubborn"],
)
def test_a_flood_of_any_kind_ends_at_its_deadline(tmp_path: Path, source: str) -> None:
    """Whatever it floods with, and also where it takes no notice of the interrupt."""
    tree = Tree(tmp_path)
    tree.notebook("flood", "1-run.ipynb", source)
    tree.toml("flood", "[run]\ncell_timeout = 3\n")
    run = tree.pytest()
    assert run.failure("flood")["kind"] == "deadline"
    (attempt,) = run.experiment("flood")["attempts"]
    assert attempt["duration_s"] < 3 + 5 + 4


def test_a_flood_of_minutes(tmp_path: Path) -> None:
    """What it shows in a minute is bounded as what it shows in a second; the raw log is bounded too."""
    tree = Tree(tmp_path, ini=f"{INI}experiment_output_limit = 20MB\n")
    flood = "import os\nwhile True: os.write(1, b'x' * 999 + b'\\n'); print('y' * 999)"
    tree.notebook("flood", "1-run.ipynb", flood)
    tree.toml("flood", "[run]\ncell_timeout = 60\n")
    run = tree.pytest()
    assert run.failure("flood")["kind"] == "deadline"
    (attempt,) = run.experiment("flood")["attempts"]
    assert attempt["duration_s"] < 70
    sizes = {p.name: p.stat().st_size for p in (run.root / ".experiments").rglob("1-run.*")}
    assert sizes["1-run.ipynb"] < 30 * 10**6
    assert sizes["1-run.log"] < 51 * 10**6
