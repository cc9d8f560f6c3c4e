"""What --experiment-plan tells."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, budget, need

from pytest_nbgroups.core.resources import AUTO_SHARE, Estimate, Resources
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.reports.columns import display_width
from pytest_nbgroups.reports.plan import (
    Plan,
    PlannedExperiment,
    cpus_text,
    experiments_lines,
    gpus_text,
    plan_lines,
    ram_text,
    time_text,
)
from pytest_nbgroups.scheduling.backlog import Unit
from pytest_nbgroups.scheduling.outlook import Conditions, Outlook, outlook
from pytest_nbgroups.scheduling.planning import Job, Parallelism

DEFAULT_RAM = Size(2 * GB, "2GB")

HEART = PlannedExperiment(
    name="Heart-GatedCT_To_USD",
    notebooks="7",
    resources=Resources(cpus=2, ram=Size(4 * GB, "4GB"), gpus=1, locks=("slicer-data",)),
    need=need(cpus=2, ram=4, gpus=1, locks=("slicer-data",)),
    estimate=Estimate(runs=4, duration_s=185.0, peak_bytes=3 * GB),
)
LUNG = PlannedExperiment(
    name="Lung",
    notebooks="2 of 3",
    need=need(ram=1.2, source="history"),
    estimate=Estimate(runs=1, duration_s=60.0, peak_bytes=GB),
)
BRAIN = PlannedExperiment(name="Brain", notebooks="2", need=need(source="slow start"))
SPINE = PlannedExperiment(
    name="Spine",
    notebooks="1",
    resources=Resources(gpus=2),
    need=need(source="slow start", gpus=2),
    obstacle="skipped: needs 2 GPUs, found 1",
)


def looking_out(*experiments: PlannedExperiment) -> Outlook:
    """The prediction for those that run, on four CPUs with one GPU."""
    jobs = [
        Job(name=e.name, need=e.need, duration_s=e.estimate.duration_s if e.estimate else None)
        for e in experiments
        if e.need and not e.obstacle
    ]
    units = [Unit(indices=[index], job=job) for index, job in enumerate(jobs)]
    around = Conditions(budget=budget(gpus=(80,)), schedule="longest")
    fits = Parallelism(fit=len(jobs), experiments=len(jobs), limit="")
    return outlook(units, around, fits=fits, asked=2)


def plan_of(*experiments: PlannedExperiment, tests: int = 0, notes: tuple[str, ...] = ()) -> Plan:
    """A plan of these, in this order."""
    return Plan(
        experiments=experiments,
        order="longest first",
        tests=tests,
        outlook=looking_out(*experiments) if experiments else None,
        default_ram=DEFAULT_RAM,
        notes=notes,
    )


def test_the_whole_plan() -> None:
    """What would run, with what, what it would come to, what that rests on, and what to do."""
    plan = plan_of(HEART, BRAIN, LUNG, SPINE, tests=14, notes=("Lung: uses a GPU",))
    assert plan_lines(plan, 110) == [
        "4 experiments, longest first; 1 of them does not run; 14 ordinary tests",
        "",
        "experiment            notebooks  cpus        RAM              GPUs  time",
        "Heart-GatedCT_To_USD          7  2 declared  4GB declared     1     3m05s (4 runs)",
        "    lock slicer-data",
        "Brain                         2  1 default   2GB slow start         unknown",
        "Lung                     2 of 3  1 default   1.1 GiB (1 run)        1m00s (1 run)",
        "Spine                         1  1 default   2GB slow start   2",
        "    skipped: needs 2 GPUs, found 1",
        "",
        "workers  wall time  peak RAM",
        "      1      4m05s   3.7 GiB",
        "      2      3m05s   5.6 GiB  asked for",
        "      3      3m05s   6.7 GiB  recommended",
        "",
        "recommended: -n 3; each experiment has a worker of its own",
        (
            "1 of 3 experiments has never run here: it counts as 0 s, and for the recommended number "
            "as long as the longest"
        ),
        "  that is known",
        ("experiments alone: starting pytest and its workers, and 14 ordinary tests, come on top"),
        "",
        "Lung: uses a GPU",
    ]


def test_the_essentials() -> None:
    """With -q: the table and the number."""
    plan = plan_of(LUNG, replace(LUNG, name="Rib"), tests=14, notes=("Lung: uses a GPU",))
    assert plan_lines(plan, 80, brief=True) == [
        "experiment  notebooks  cpus       RAM              time",
        "Lung           2 of 3  1 default  1.1 GiB (1 run)  1m00s (1 run)",
        "Rib            2 of 3  1 default  1.1 GiB (1 run)  1m00s (1 run)",
        "recommended: -n 2 (1m00s, 2.2 GiB of RAM)",
    ]


def test_many_reused_experiments_are_counted() -> None:
    """With -v each has its row; a few have it always."""
    reused = replace(SPINE, obstacle="reuses its notebook", is_reused=True)
    many = plan_of(LUNG, *(replace(reused, name=f"R{number}") for number in range(6)))
    assert plan_lines(many, 80)[2:6] == [
        "experiment  notebooks  cpus       RAM              time",
        "Lung           2 of 3  1 default  1.1 GiB (1 run)  1m00s (1 run)",
        "6 experiments with all notebooks reused; -v shows each",
        "",
    ]
    assert "R5" in "\n".join(plan_lines(many, 80, verbose=True))
    few = replace(many, experiments=many.experiments[:6])
    assert "R4" in "\n".join(plan_lines(few, 80))


def test_what_has_been_done_is_always_told() -> None:
    """Behind everything else, also with -q."""
    plan = replace(plan_of(LUNG, notes=("Lung: uses a GPU",)), endnotes=("weights written",))
    assert plan_lines(plan, 99)[-3:] == ["", "Lung: uses a GPU", "weights written"]
    assert plan_lines(plan, 99, brief=True)[-1] == "weights written"


def test_remarks_beside_the_rest() -> None:
    """Where there is room for all of them."""
    noted = replace(LUNG, remarks=("not beside others in experiments/Lung",))
    assert experiments_lines(plan_of(HEART, noted, SPINE), 132) == [
        (
            "experiment            notebooks  cpus        RAM              GPUs  time            "
            "remarks"
        ),
        (
            "Heart-GatedCT_To_USD          7  2 declared  4GB declared     1     3m05s (4 runs)  "
            "lock slicer-data"
        ),
        (
            "Lung                     2 of 3  1 default   1.1 GiB (1 run)        1m00s (1 run)   "
            "not beside others in experiments/Lung"
        ),
        (
            "Spine                         1  1 default   2GB slow start   2                     "
            "skipped: needs 2 GPUs, found 1"
        ),
    ]


def test_all_remarks() -> None:
    """Each lock, exclusive, and whatever else there is to say."""
    need_ = need(locks=("a", "b"), exclusive=True)
    alone = PlannedExperiment(name="A", need=need_, remarks=("a test that runs an experiment",))
    assert experiments_lines(plan_of(alone), 40)[2:] == [
        "    lock a; lock b; exclusive; a test",
        "    that runs an experiment",
    ]


def test_what_cannot_be_read_has_no_numbers() -> None:
    """Only its name and the reason."""
    broken = PlannedExperiment(name="Broken", obstacle="fails: cpus = 'x'")
    assert experiments_lines(plan_of(LUNG, broken), 99)[2] == (
        "Broken                                                            fails: cpus = 'x'"
    )


@pytest.mark.parametrize(
    ("width", "header", "row"),
    [
        (
            76,
            "experiment         notebooks  cpus        RAM           GPUs  time",
            "Heart-G..._To_USD          7  2 declared  4GB declared  1     3m05s (4 runs)",
        ),
        (
            60,
            "experiment    cpus        RAM           GPUs  time",
            "Heart..._USD  2 declared  4GB declared  1     3m05s (4 runs)",
        ),
        (
            50,
            "experiment      RAM           GPUs  time",
            "Heart-...o_USD  4GB declared  1     3m05s (4 runs)",
        ),
        (42, "experiment    RAM           time", "Heart..._USD  4GB declared  3m05s (4 runs)"),
        (30, "experiment      time", "Heart-...o_USD  3m05s (4 runs)"),
    ],
)
def test_a_narrow_terminal(width: int, header: str, row: str) -> None:
    """Names are shortened; where little is left of them, columns go instead, time last."""
    assert experiments_lines(plan_of(HEART), width)[:2] == [header, row]


def test_no_experiments() -> None:
    """There may be tests alone, or nothing."""
    assert plan_lines(plan_of(tests=1), 80) == ["no experiments; 1 ordinary test"]
    assert plan_lines(plan_of(), 80, brief=True) == []


def test_none_that_runs() -> None:
    """Then there is nothing to predict."""
    plan = replace(plan_of(SPINE), outlook=None)
    assert plan_lines(plan, 99)[0] == "1 experiment, longest first; 1 of them does not run"
    assert "workers" not in "".join(plan_lines(plan, 99))


@given(st.integers(8, 200), st.sampled_from([(HEART, LUNG), (SPINE, BRAIN, HEART), (SPINE,)]))
def test_no_line_is_too_wide(width: int, experiments: tuple[PlannedExperiment, ...]) -> None:
    """Whatever the terminal."""
    named = [replace(e, name=f"{e.name}-漢字-{'x' * 40}") for e in experiments]
    plan = replace(plan_of(*named, tests=3, notes=("Heart: " + "words " * 40,)), order="漢字" * 50)
    for brief in (False, True):
        assert all(display_width(line) <= width for line in plan_lines(plan, width, brief=brief))


def test_long_lines_go_on_below() -> None:
    """Indented, so that it can be seen where the next one begins."""
    plan = plan_of(notes=("a bc-de fg, hi", "jk"))
    assert plan_lines(plan, 14) == ["no experiments", "", "a bc-de fg, hi", "jk"]
    assert plan_lines(plan, 10)[-3:] == ["a bc-de", "  fg, hi", "jk"]


def test_cpus() -> None:
    """Declared or the default."""
    assert cpus_text(HEART) == "2 declared"
    assert cpus_text(replace(LUNG, need=need(cpus=0.5))) == "0.5 default"


def test_ram() -> None:
    """What is reserved: as it is declared where it is that, and with its source."""
    assert ram_text(HEART, DEFAULT_RAM) == "4GB declared"
    assert ram_text(replace(HEART, need=need(ram=5)), DEFAULT_RAM) == "4.7 GiB declared"
    assert ram_text(LUNG, DEFAULT_RAM) == "1.1 GiB (1 run)"
    assert ram_text(BRAIN, DEFAULT_RAM) == "2GB slow start"
    grown = replace(BRAIN, need=need(ram=3, source="slow start"))
    assert ram_text(grown, DEFAULT_RAM) == "2.8 GiB slow start"


@pytest.mark.parametrize(
    ("declared", "reserved", "text"),
    [
        (Resources(), need(), ""),
        (Resources(gpus=2), need(gpus=2), "2"),
        (Resources(), need(gpus=1), "1 assumed"),
        (Resources(gpu_memory=Size(8 * GB, "8GB")), need(share=8), "8GB of 1"),
        (Resources(gpu_memory=AUTO_SHARE), need(share=8), "7.5 GiB of 1"),
        (Resources(gpu_memory=AUTO_SHARE), need(gpus=1), "1"),
        (Resources(gpu_min_memory=Size(24 * GB, "24GB")), need(gpus=1, least=24), "1 with 24GB"),
    ],
)
def test_gpus(declared: Resources, reserved: object, text: str) -> None:
    """Whole ones, a share of one, or so much memory; or what nobody has declared."""
    planned = replace(LUNG, resources=declared, need=reserved)  # type: ignore[arg-type]
    assert gpus_text(planned) == text


def test_time() -> None:
    """From so many runs, or unknown; of what does not run there is none."""
    assert time_text(HEART) == "3m05s (4 runs)"
    assert time_text(BRAIN) == "unknown"
    assert time_text(replace(BRAIN, estimate=Estimate(runs=2, peak_bytes=5))) == "unknown"
    assert time_text(replace(HEART, obstacle="skipped: x")) == ""
