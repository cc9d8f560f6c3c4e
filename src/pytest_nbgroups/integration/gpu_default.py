"""``experiment_gpu_default``: a GPU for an experiment that declares none and shows that it uses one."""

from __future__ import annotations

import pytest

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.declarations.fate import declared_fate
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.integration.collection import ExperimentItem
from pytest_nbgroups.integration.facts import SessionFacts


class GpuDefault:
    """Declares a GPU for each experiment that uses one, before the collection is reported."""

    def __init__(self, facts: SessionFacts) -> None:
        self._facts = facts

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read notebooks, but only if there are GPUs to give."""
        experiments = [item for item in items if isinstance(item, ExperimentItem)]
        if not experiments:
            return
        planner = self._facts.planner
        if planner.settings.gpu_default != "auto" or not planner.budget.gpus:
            return
        for item in experiments:
            if _uses_gpu(item.experiment, planner):
                item.declare_gpu()


def _uses_gpu(experiment: Experiment, planner: Planner) -> bool:
    """Decide by the GPU memory that history has measured, else by the source of the notebooks."""
    resources = experiment.resources
    if resources.gpus is not None or resources.gpu_count or not declared_fate(experiment).runs:
        return False
    estimate = planner.estimate(experiment.name)
    if estimate is not None and estimate.gpu_bytes is not None:
        return estimate.gpu_bytes > 0
    # Imports what parses Python, which experiments with a declaration or a history do without.
    from pytest_nbgroups.notebooks.scanning import scan

    return scan(experiment).may_use_gpu
