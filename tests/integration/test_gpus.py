"""Experiments that declare GPUs, on machines that the fake NVML makes up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]
Equip: TypeAlias = Callable[..., None]

A100 = "gpu uuid=GPU-{} name=NVIDIA_A100 total=40960 used=0\n"


@pytest.fixture
def equip(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    fake_nvml: Callable[[Path], Mapping[str, str]],
) -> Equip:
    """Give the machine GPUs, for runs of pytest in subprocesses."""

    def describe(text: str) -> None:
        description = pytester.path / "gpus.txt"
        description.write_text(text)
        for name, value in fake_nvml(description).items():
            monkeypatch.setenv(name, value)

    return describe


def declare(experiment: Write, **declared: str) -> None:
    """Write experiments that a requirement keeps from running, once their GPUs are granted."""
    for name, resources in declared.items():
        toml = f'[resources]\ncpus = 0.1\nram = "1MB"\n{resources}\n[run]\nrequires = ["env:NOWHERE"]\n'
        experiment(f"experiments/{name}", toml=toml)


@pytest.mark.xdist
def test_as_many_workers_as_gpus(
    pytester: pytest.Pytester, experiment: Write, equip: Equip
) -> None:
    """Two GPUs hold two of three experiments; the header names the limit."""
    equip(A100.format("a") + A100.format("b"))
    declare(experiment, One="gpus = 1", Two="gpus = 1", Three="gpus = 1")
    result = pytester.runpytest_subprocess("--run-experiments", "-n", "auto")
    result.stdout.fnmatch_lines(
        ["experiments: 2 workers: * cpu*, 2 gpus; at most 2 of 3 experiments fit at once (2 gpus)"]
    )


@pytest.mark.xdist
def test_shares_of_one_gpu(pytester: pytest.Pytester, experiment: Write, equip: Equip) -> None:
    """Three shares of 12 GB fit on a GPU of 40 GiB, four do not."""
    equip(A100.format("a"))
    declare(experiment, **dict.fromkeys("ABCD", 'gpu_memory = "12GB"'))
    result = pytester.runpytest_subprocess("--run-experiments", "-n", "auto")
    result.stdout.fnmatch_lines(["experiments: 3 workers: *1 gpu; at most 3 of 4 * (1 gpu)"])


def test_more_gpus_than_there_are(
    pytester: pytest.Pytester, experiment: Write, equip: Equip
) -> None:
    """What the machine can never grant is skipped with the reason; the others go on."""
    equip(A100.format("a"))
    declare(experiment, Few="gpus = 1", Many="gpus = 2", Large='gpu_min_memory = "80GB"')
    result = pytester.runpytest_subprocess("--run-experiments", "-rs")
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED * experiments/Few: needs the environment variable NOWHERE",
            "SKIPPED * experiments/Many: needs 2 GPUs, found 1",
            "SKIPPED * experiments/Large: needs 1 GPU with 80GB of memory, the largest has 40 GiB",
        ]
    )


@pytest.mark.parametrize(
    ("visible", "reason"),
    [
        ("", "needs 1 GPU, found none (CUDA_VISIBLE_DEVICES='')"),
        ("7", "needs 1 GPU, found none (CUDA_VISIBLE_DEVICES=*7*)"),
    ],
)
def test_gpus_that_are_hidden(
    visible: str,
    reason: str,
    pytester: pytest.Pytester,
    experiment: Write,
    equip: Equip,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA_VISIBLE_DEVICES counts as it does for CUDA, and is named."""
    equip(A100.format("a"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    declare(experiment, Few="gpus = 1")
    result = pytester.runpytest_subprocess("--run-experiments", "-rs")
    result.stdout.fnmatch_lines([f"SKIPPED * experiments/Few: {reason}"])


def test_a_driver_that_fails(pytester: pytest.Pytester, experiment: Write, equip: Equip) -> None:
    """NVML's error is the reason, and no crash."""
    equip("fail nvmlInit 18\n")
    declare(experiment, Few="gpus = 1")
    result = pytester.runpytest_subprocess("--run-experiments", "-rs")
    result.stdout.fnmatch_lines(
        ["SKIPPED * experiments/Few: needs 1 GPU, found none (NVML: *version*)"]
    )


@pytest.mark.parametrize(
    ("selection", "uuids"),
    [
        ("auto", ["GPU-a", "GPU-b", "GPU-c"]),
        ("none", []),
        ("1", ["GPU-c"]),
        ("1,", ["GPU-b"]),
        ("GPU-a", ["GPU-a"]),
    ],
)
def test_gpus_that_a_session_may_use(
    selection: str, uuids: list[str], pytester: pytest.Pytester, experiment: Write, equip: Equip
) -> None:
    """A count takes the roomiest, what ends in a comma is a list of NVML's indices."""
    used = {"a": 3000, "b": 2000, "c": 1000}
    equip("".join(A100.format(name).replace("used=0", f"used={n}") for name, n in used.items()))
    declare(experiment, Few="gpus = 1")
    result = pytester.runpytest_subprocess(
        "--run-experiments", "-rs", "--experiment-gpus", selection
    )
    session = json.loads((pytester.path / ".experiments/session.json").read_text("utf-8"))
    assert [gpu["uuid"] for gpu in session["budget"]["gpus"]] == uuids
    few = (
        "the environment variable NOWHERE"
        if uuids
        else "1 GPU, found none (--experiment-gpus none)"
    )
    result.stdout.fnmatch_lines([f"SKIPPED * experiments/Few: needs {few}"])


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("3", "--experiment-gpus 3: found 2: 0 (GPU-a), 1 (GPU-b)"),
        ("2,", "--experiment-gpus: there is no GPU '2'; found 2: 0 (GPU-a), 1 (GPU-b)"),
        ("GPU-", "--experiment-gpus: 'GPU-' fits several GPUs; give more of the UUID"),
    ],
)
def test_gpus_that_are_not_there(
    selection: str, message: str, pytester: pytest.Pytester, experiment: Write, equip: Equip
) -> None:
    """To run with fewer than were asked for is not meant: a usage error."""
    equip(A100.format("a") + A100.format("b"))
    declare(experiment, Few="gpus = 1")
    result = pytester.runpytest_subprocess("--run-experiments", "--experiment-gpus", selection)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


@pytest.mark.parametrize(
    ("default", "expression", "names"),
    [
        ("auto", "gpu", ["Declares", "Uses"]),
        ("auto", "not gpu", ["Plain"]),
        ("none", "gpu", ["Declares"]),
    ],
)
def test_the_marker_of_those_with_a_gpu(
    default: str,
    expression: str,
    names: list[str],
    *,
    pytester: pytest.Pytester,
    experiment: Write,
    equip: Equip,
) -> None:
    """-m gpu selects what declares a GPU and what is leased one undeclared."""
    equip(A100.format("a"))
    declare(experiment, Declares="gpus = 1")
    experiment("experiments/Plain")
    experiment("experiments/Uses", code='device = "cuda"\nmodel.to(device)')
    result = pytester.runpytest_subprocess(
        *("--run-experiments", "--co", "-q", "-m", expression),
        *("-o", f"experiment_gpu_default={default}"),
    )
    found = [line for line in result.outlines if "::" in line]
    assert found == [f"experiments/{name}::notebooks" for name in names]
