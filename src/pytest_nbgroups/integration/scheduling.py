"""xdist: what it may be asked for, and which item goes to which worker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nbgroups.model import WHOLE_DIRECTORY

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

AUTO = "PYTEST_XDIST_AUTO_NUM_WORKERS"


def refuse_unsupported(config: pytest.Config) -> None:
    """Raise pytest.UsageError for what would run an experiment twice, or out of reach."""
    if config.getoption("dist", "no") == "each":
        raise pytest.UsageError(
            "--run-experiments with --dist each: every worker would run every experiment in the "
            "same directories at once; use --dist load"
        )
    for spec in config.getoption("tx", None) or ():
        if "popen" not in spec or "chdir=" in spec or "via=" in spec:
            raise pytest.UsageError(
                f"--run-experiments with --tx {spec}: experiments run on this machine, in the "
                "directories of this checkout; use -n"
            )


def user_decides(config: pytest.Config) -> bool:
    """Whether the user has taken ``-n auto`` in hand: by xdist's variable or in a conftest.py."""
    if os.environ.get(AUTO):
        return True
    implementations = config.hook.pytest_xdist_auto_num_workers.get_hookimpls()
    conftests = config.pluginmanager._conftest_plugins  # noqa: SLF001  pluggy knows no kinds
    return any(implementation.plugin in conftests for implementation in implementations)


def make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401  xdist is not annotated
    """A scheduler for the modes that hand out units of items; None for the others.

    It keeps together what lies in or below an experiment's directory: the tests beside the notebooks
    run after them, and a nested experiment never beside its ancestor, since a unit runs on one
    worker in the order of collection. And it neither loses nor repeats items when a worker dies.
    """
    from xdist.scheduler import LoadFileScheduling, LoadGroupScheduling, LoadScopeScheduling

    bases: dict[str, type[Any]] = {
        "load": LoadScopeScheduling,
        "loadscope": LoadScopeScheduling,
        "loadfile": LoadFileScheduling,
        "loadgroup": LoadGroupScheduling,
    }
    mode = config.getoption("dist")
    if mode not in bases:
        return None
    return type("ExperimentScheduling", (_Units, _OnceOnly, bases[mode]), {})(config, log)


class _OnceOnly:
    """Mends what xdist's scope schedulers do when a worker dies."""

    def remove_node(self: Any, node: WorkerController) -> str | None:
        """As xdist's, which would hand the item that took its worker down to the next one."""
        workload = self.assigned_work.pop(node)
        pending = [item for unit in workload.values() for item in unit if not unit[item]]
        if not pending:
            return None
        crashed: str = pending[0]
        workload[self._split_scope(crashed)][crashed] = True
        left = {scope: unit for scope, unit in workload.items() if not all(unit.values())}
        self.workqueue.update(left)
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    def mark_test_complete(
        self: Any,
        node: WorkerController,
        item_index: int,
        duration: float = 0,  # noqa: ARG002  given by xdist
    ) -> None:
        """As xdist's, but a unit that is done is forgotten: xdist counts through all of them."""
        nodeid = self.registered_collections[node][item_index]
        scope = self._split_scope(nodeid)
        unit = self.assigned_work[node][scope]
        unit[nodeid] = True
        if all(unit.values()):
            del self.assigned_work[node][scope]
        self._reschedule(node)

    def _reschedule(self: Any, node: WorkerController) -> None:
        """Never leave a worker a single item: it would wait for the next before it starts it.

        xdist does so to a worker that takes the place of one that has crashed.
        """
        super()._reschedule(node)  # type: ignore[misc]
        if self._pending_of(self.assigned_work[node]) == 1:
            super()._reschedule(node)  # type: ignore[misc]


class _Units:
    """Makes one unit of what lies in or below an experiment's directory."""

    _directories: frozenset[str] | None = None

    def schedule(self: Any) -> None:
        if self._directories is None and self.registered_collections:
            collection = next(iter(self.registered_collections.values()))
            self._directories = _experiment_directories(collection)
        super().schedule()  # type: ignore[misc]

    def _split_scope(self: Any, nodeid: str) -> str:
        unit = unit_of(nodeid, self._directories or frozenset())
        if unit is None and self.config.getoption("dist") != "load":
            unit = super()._split_scope(nodeid)  # type: ignore[misc]
        return unit or nodeid


def _experiment_directories(nodeids: list[str]) -> frozenset[str]:
    found = (nodeid.partition("::") for nodeid in nodeids)
    return frozenset(
        directory for directory, _, item in found if item.partition("@")[0] == WHOLE_DIRECTORY
    )


def unit_of(nodeid: str, directories: frozenset[str]) -> str | None:
    """The outermost experiment's directory that the item lies in or below; None outside of them."""
    if "." in directories:  # the rootdir itself
        return "."
    parts = nodeid.partition("::")[0].split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((directory for directory in above if directory in directories), None)
