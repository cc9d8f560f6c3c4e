"""The other experiments, as their checkpoints show them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.resume.beside import OtherExperiments
from pytest_nbgroups.resume.checkpoint import Checkpoint
from pytest_nbgroups.resume.checkpoint_codec import encode

OLD_NS, NOW_NS = 10**9, 10**18


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(folder=tmp_path / ".experiments")


def record(artifacts: Artifacts, name: str, *names: str, at_ns: int = NOW_NS) -> Path:
    """Write the checkpoint of an experiment that names some paths."""
    path = artifacts.checkpoint(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = f"../experiments/{name}"
    path.write_text(encode(Checkpoint(directory=directory, session="s", names=names)))
    os.utime(path, ns=(at_ns, at_ns))
    return path


def others(artifacts: Artifacts) -> OtherExperiments:
    return OtherExperiments(artifacts, "Heart", str(artifacts.folder.parent))


def test_who_ran_meanwhile(artifacts: Artifacts) -> None:
    """Those whose checkpoint is new, and those that run, however old theirs is; never oneself."""
    record(artifacts, "Heart", "../../data")
    record(artifacts, "Lung", "../../data")
    record(artifacts, "group/Skin", "x")
    record(artifacts, "Brain", "y", at_ns=OLD_NS)
    record(artifacts, "Spine", "z", at_ns=OLD_NS)
    found = others(artifacts).beside(NOW_NS, {"Brain"})
    assert sorted(found) == ["Brain", "Lung", "group/Skin"]
    assert found["Lung"].texts == ("../../data",)
    assert found["Lung"].directory == str(artifacts.folder.parent / "experiments" / "Lung")


def test_damaged_checkpoints_are_passed_over(artifacts: Artifacts) -> None:
    """One of them must not fail the experiment that looks."""
    record(artifacts, "Lung").write_text("{")
    record(artifacts, "Brain").write_bytes(b"\xff")
    record(artifacts, "Spine", "x")
    assert sorted(others(artifacts).beside(0, ())) == ["Spine"]


def test_no_artifacts_at_all(artifacts: Artifacts) -> None:
    """There are no others then."""
    assert others(artifacts).beside(0, {"Lung"}) == {}
    assert others(artifacts).suspect("/x", "/y") == ""


def test_who_may_have_written_a_file(artifacts: Artifacts) -> None:
    """The experiment that names it; within the directory, the one that shares it."""
    root = artifacts.folder.parent
    record(artifacts, "Lung", "../../data/x.csv")
    heart = str(root / "experiments" / "Heart")
    look = others(artifacts)
    assert look.suspect(str(root / "data" / "x.csv"), heart) == "experiment Lung"
    assert look.suspect(str(root / "data" / "y.csv"), heart) == ""
    lung = str(root / "experiments" / "Lung")
    assert look.suspect(f"{lung}/out.csv", lung) == "experiment Lung"
    assert look.suspect(f"{lung}-2/out.csv", f"{lung}-2") == ""
