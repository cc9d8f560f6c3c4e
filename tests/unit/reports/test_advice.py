from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from report_samples import (
    GIB,
    ROOT,
    cell_failure,
    failed,
    lease,
    passed,
    recorded,
    result,
    results,
    usage,
)

from pytest_nbgroups.core.model import ExperimentResult, FailureKind
from pytest_nbgroups.core.units import parse_size
from pytest_nbgroups.reports.advice import advice, session_advice, warnings_of

GB = 10**9
RAM = (
    "Heart: used 6.7GB of RAM, reserved 4GB; "
    'put ram = "7.4GB" into [resources] of experiments/Heart/experiment.toml'
)


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def ran(used: dict[str, Any], need: dict[str, Any], **changes: Any) -> ExperimentResult:
    """An experiment of 100 s that has used and reserved this."""
    notebooks = (passed(usage=usage(**{"peak_bytes": 1, **used})),)
    values: dict[str, Any] = {"notebooks": notebooks, "lease": lease(need=need)}
    return result("passed", **{"duration_s": 100.0, **values, **changes})


@pytest.mark.parametrize(
    ("used", "need", "lines"),
    [
        ({"peak_bytes": int(6.2 * GIB)}, {}, (RAM,)),
        ({"peak_bytes": 4 * GB}, {}, ()),
        ({"peak_bytes": 6 * GIB, "is_upper_bound": True}, {}, ()),
        ({"peak_bytes": 6 * GIB}, {"ram_source": "history"}, ()),
        ({"peak_bytes": 6 * GIB}, {"ram_source": "slow start"}, ()),
        (
            {"peak_bytes": 300 * 10**6},
            {"ram_bytes": 250 * 10**6},
            (
                (
                    "Heart: used 300MB of RAM, reserved 250MB; "
                    'put ram = "330MB" into [resources] of experiments/Heart/experiment.toml'
                ),
            ),
        ),
        (
            {"gpu_bytes": 9 * GIB},
            {"gpu_share_bytes": 8 * GIB},
            (
                (
                    "Heart: used 9 GiB of GPU memory, reserved 8 GiB; "
                    'put gpu_memory = "10GiB" into [resources] of experiments/Heart/experiment.toml'
                ),
            ),
        ),
        ({"gpu_bytes": 8 * GIB}, {"gpu_share_bytes": 8 * GIB}, ()),
        ({"gpu_bytes": 9 * GIB}, {"gpus": 1, "gpu_min_bytes": 8 * GIB}, ()),
        (
            {"cpu_s": 370.0},
            {"cpus": 1.0},
            (
                (
                    "Heart: kept 3.7 cpus busy, reserved 1; "
                    "put cpus = 4 into [resources] of experiments/Heart/experiment.toml"
                ),
            ),
        ),
        ({"cpu_s": 150.0}, {"cpus": 1.0}, ()),
        ({"cpu_s": 300.0}, {"cpus": 2.0}, ()),
        ({"cpu_s": 75.0}, {"cpus": 0.25}, ()),
    ],
)
def test_what_used_more_than_it_reserves(
    used: dict[str, Any], need: dict[str, Any], lines: tuple[str, ...]
) -> None:
    """What was used, what was reserved, and what to declare where: one line for each resource."""
    assert advice(ran(used, need), shown=shown) == lines


@pytest.mark.parametrize("kind", ["ram_limit", "out_of_memory", "kernel_died"])
def test_a_run_that_was_killed_is_no_measure_of_memory(kind: str) -> None:
    """It was on its way to more. What it used of other things still counts."""
    used = usage(peak_bytes=6 * GIB, cpu_s=370.0)
    killed = failed(failure=cell_failure(kind=FailureKind(kind)), usage=used)
    of = ran({}, {"cpus": 1.0}, notebooks=(killed,))
    (line,) = advice(of, shown=shown)
    assert line.startswith("Heart: kept 3.7 cpus busy")
    of = ran({}, {"cpus": 1.0}, notebooks=(failed(usage=used),))
    assert len(advice(of, shown=shown)) == 2


def test_a_short_run_is_no_measure_of_cores() -> None:
    """Its imports and compilations are what keeps them busy."""
    used = {"cpu_s": 90.0}
    assert advice(ran(used, {"cpus": 1.0}, duration_s=9.9)) == ()
    assert len(advice(ran(used, {"cpus": 1.0}, duration_s=10.0))) == 1


@pytest.mark.parametrize("missing", [{"lease": None}, {"notebooks": ()}])
def test_without_lease_or_measurement_there_is_no_advice(missing: dict[str, Any]) -> None:
    """There is nothing to compare."""
    assert advice(ran({"peak_bytes": 6 * GIB}, {}, **missing)) == ()


def test_many_lines_of_advice_become_few() -> None:
    """The first ones, and how many more there are: the last attempt of each experiment counts."""
    several = recorded(*(ran({"peak_bytes": 6 * GIB}, {}, name=f"E{n}") for n in range(7)))
    told = session_advice(several, shown=shown)
    assert [line.partition(":")[0] for line in told[:5]] == ["E0", "E1", "E2", "E3", "E4"]
    assert told[5:] == ("and 2 more that used more than they reserved: see session.json",)
    assert len(session_advice(several[:5])) == 5
    assert session_advice(recorded(result())) == ()


def test_notes_on_a_lease_are_warnings() -> None:
    """With the experiment that they are about, after its own."""
    noted = lease(notes=("no lock is kept in /dev/shm",))
    assert warnings_of(result(warnings=("a.ipynb: not saved",), lease=noted)) == (
        "a.ipynb: not saved",
        "Heart: no lock is kept in /dev/shm",
    )
    assert warnings_of(result()) == ()


@given(results())
def test_advice_is_enough_and_printable(of: ExperimentResult) -> None:
    """What it says to declare is a size that can be read and holds what was used."""
    for line in [*advice(of), *warnings_of(of)]:
        assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, line))
    assert of.usage is not None or advice(of) == ()
    for line in advice(of):
        if "; put ram = " in line and of.usage is not None:
            declared = line.rpartition('put ram = "')[2].partition('"')[0]
            assert parse_size(declared).bytes > of.usage.peak_bytes
