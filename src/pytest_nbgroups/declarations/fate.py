"""Decision whether an experiment runs, with the reason. Runs, plans and schedulers all ask here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


def fate_of(experiment: Experiment, env: Mapping[str, str], *, refusal: Fate = RUNS) -> Fate:
    """Return what becomes of an experiment whose kernels would get ``env``.

    ``refusal`` is what the machine decides: a resource that can never be granted.
    """
    # A fault in the declaration or in a hook counts before every reason to skip, which would hide it.
    declared = declared_fate(experiment)
    if declared.outcome is ExperimentOutcome.FAILED:
        return declared
    if (fault := fault_of_environment(env)) is not None:
        return fails(fault)
    for fate in (declared, refusal):
        if not fate.runs:
            return fate
    lacking = missing(experiment.requires, env)
    return RUNS if lacking is None else skipped(lacking)


def notebook_skip(notebook: Notebook, env: Mapping[str, str]) -> str | None:
    """Return why a notebook is skipped in this environment; None if it runs."""
    return notebook.skip or missing(notebook.requires, env)
