"""Decision whether an experiment runs, with the reason. Runs, plans and schedulers all ask here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.core.model import Experiment, ExperimentOutcome, Notebook
from pytest_nbgroups.declarations.environment import fault_of_environment
from pytest_nbgroups.declarations.requirements import missing


@dataclass(frozen=True, kw_only=True)
class Fate:
    """An experiment runs, or it fails or is skipped for a reason that is known before it begins."""

    outcome: ExperimentOutcome | None = None
    """FAILED or SKIPPED; None if the experiment runs."""
    reason: str = ""

    @property
    def runs(self) -> bool:
        return self.outcome is None

    @property
    def text(self) -> str:
        """``skipped: needs the command convert``; empty if the experiment runs."""
        verb = "fails" if self.outcome is ExperimentOutcome.FAILED else "skipped"
        return "" if self.runs else f"{verb}: {self.reason}"


RUNS = Fate()


def fails(reason: str) -> Fate:
    return Fate(outcome=ExperimentOutcome.FAILED, reason=reason)


def skipped(reason: str) -> Fate:
    return Fate(outcome=ExperimentOutcome.SKIPPED, reason=reason)


def declared_fate(experiment: Experiment) -> Fate:
    """Return what the declaration alone decides, without a look at the machine."""
    if experiment.problem is not None:
        return fails(experiment.problem)
    return RUNS if experiment.skip is None else skipped(experiment.skip)


def fate_of(
    experiment: Experiment, env: Mapping[str, str], *, artifacts: Path, refusal: Fate = RUNS
) -> Fate:
    """Return what becomes of an experiment whose kernels would get ``env``.

    ``artifacts`` is the folder for the files of a run. ``refusal`` is what the machine decides: a resource that can
    never be granted.
    """
    # A fault in the declaration or in a hook counts before every reason to skip, which would hide it.
    declared = declared_fate(experiment)
    if declared.outcome is ExperimentOutcome.FAILED:
        return declared
    for fault in (fault_of_environment(env), _among_artifacts(experiment, artifacts)):
        if fault is not None:
            return fails(fault)
    for fate in (declared, refusal):
        if not fate.runs:
            return fate
    lacking = missing(experiment.requires, env)
    return RUNS if lacking is None else skipped(lacking)


def _among_artifacts(experiment: Experiment, artifacts: Path) -> str | None:
    """Return the fault of notebooks that links put among the artifacts."""
    # Here and not at collection, which would take a tenth longer.
    links = (each.path for each in experiment.notebooks if each.path.is_symlink())
    for path in (experiment.directory, *links):
        if Artifacts(folder=artifacts).holds(path):
            return (
                f"{path}: a link leads into the artifacts folder {artifacts}, where a run replaces "
                "notebooks; move them, or name another folder with experiment_artifacts"
            )
    return None


def notebook_skip(notebook: Notebook, env: Mapping[str, str]) -> str | None:
    """Return why a notebook is skipped in this environment; None if it runs."""
    return notebook.skip or missing(notebook.requires, env)
