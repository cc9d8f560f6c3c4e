"""What the tests of every folder share."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Imported once, not anew in every run of pytest in pytest.
import pytest_nbgroups.integration.session  # noqa: F401
from pytest_nbgroups.machine.gpu import find_gpus

pytest_plugins = ["pytester"]

_FAKE_NVML = Path(__file__).parent / "fake_nvml" / "build.py"
HAS_XDIST = importlib.util.find_spec("xdist") is not None

# Few examples for whoever runs tests/unit after each change, many where nobody waits.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=15)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=100, derandomize=True)
hypothesis.settings.load_profile("thorough" if "CI" in os.environ else "quick")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests that share a run of experiments in one process, else each process runs it.

    ``--dist loadgroup`` would do if it worked: it sets a private attribute that pytest 9.2 lacks.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it is Any: xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            path, _, _ = nodeid.partition("::")
            return path if _shares_a_run(config.rootpath / path) else nodeid

    return Scheduling(config, log)


@functools.cache
def _shares_a_run(path: Path) -> bool:
    return '\n@pytest.fixture(scope="module")' in path.read_text("utf-8")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("xdist") and not HAS_XDIST:
        pytest.skip("needs pytest-xdist")
    if item.get_closest_marker("real_gpu") and (reason := _why_no_real_gpu()):
        pytest.skip(reason)


@functools.cache
def _why_no_real_gpu() -> str:
    """Why no test of a real GPU can run here; empty where it can. NVML first: it is quick."""
    if not (found := find_gpus(os.environ)).gpus:
        return f"needs a GPU: {found.reason}"
    if importlib.util.find_spec("torch") is None:
        return "needs PyTorch"
    return "" if importlib.import_module("torch").version.cuda else "needs PyTorch with CUDA"


# What CI, a shell or an outer pytest-xdist may set, and pytest or the plugin would read.
_FOREIGN = (
    "CI",
    "COLUMNS",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
    "NO_COLOR",
    "NVIDIA_VISIBLE_DEVICES",
    "PYTEST_PLUGINS",
    "PYTEST_XDIST_AUTO_NUM_WORKERS",
    "PYTEST_XDIST_TESTRUNUID",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "PYTHONDONTWRITEBYTECODE",
    "SLURM_JOB_ID",
)


@pytest.fixture(autouse=True)
def _clean_environment(request: pytest.FixtureRequest) -> None:
    """Shield runs of pytest in pytest from the environment and the plugins of the outer one."""
    if "pytester" in request.fixturenames:
        request.getfixturevalue("pytester")  # which clears PYTEST_ADDOPTS
        monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        for name in _FOREIGN:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NBGROUPS_POOL", f"{request.getfixturevalue('pytester').path}-pool")
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.setenv("PYTEST_ADDOPTS", "-p nbgroups -p xdist" if HAS_XDIST else "-p nbgroups")


@pytest.fixture
def chance() -> random.Random:
    """Randomness whose seed is printed, so that NBGROUPS_TEST_SEED can repeat what failed."""
    seed = os.environ.get("NBGROUPS_TEST_SEED") or str(random.SystemRandom().randrange(2**32))
    print(f"NBGROUPS_TEST_SEED={seed}")  # noqa: T201  pytest shows it if the test fails
    return random.Random(seed)  # noqa: S311  no secret


@pytest.fixture
def experiment(pytester: pytest.Pytester) -> Callable[..., Path]:
    """Write a directory of notebooks, given by their stems, and its experiment.toml."""

    def write(directory: str, *stems: str, toml: str = "", code: str = "pass") -> Path:
        folder = pytester.path / directory
        folder.mkdir(parents=True, exist_ok=True)
        cell: dict[str, object] = {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "metadata": {},
            "outputs": [],
            "source": code,
        }
        notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        for stem in stems or ("1-load", "2-fit"):
            (folder / f"{stem}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        if toml:
            (folder / "experiment.toml").write_text(toml, encoding="utf-8")
        return folder

    return write


@pytest.fixture
def skipped(experiment: Callable[..., Path]) -> Callable[..., Path]:
    """Write an experiment that goes through the whole of a session without a kernel."""

    def write(directory: str, *stems: str, reason: str = "needs Docker", toml: str = "") -> Path:
        # The [run] table comes first and stays open, so that `toml` may go on with its keys.
        return experiment(directory, *stems, toml=f'[run]\nskip = "{reason}"\n{toml}')

    return write


@pytest.fixture
def collected(pytester: pytest.Pytester) -> Callable[..., list[str]]:
    """Collect, and give the node ids in their order."""

    def node_ids(*arguments: str) -> list[str]:
        result = pytester.runpytest_inprocess("--run-experiments", "--co", "-q", *arguments)
        assert result.ret in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
        return [line for line in result.outlines if "::" in line]

    return node_ids


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], dict[str, str]]:
    """Build the fake NVML; give the environment in which a described set of GPUs is found."""
    builder = _load(_FAKE_NVML)
    if reason := builder.why_not():
        pytest.skip(reason)
    library = builder.build(tmp_path_factory.mktemp("fake_nvml"))
    return lambda description: dict(builder.environment(library, description))


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("fake_nvml_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
