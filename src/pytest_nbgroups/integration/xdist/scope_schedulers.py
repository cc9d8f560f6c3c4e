"""xdist's own schedulers for the grouping modes, fixed for experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_nbgroups.scheduling.families import experiment_directories, family_of

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController


def fixed_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401  xdist is not annotated
    """Return xdist's scheduler of a grouping mode, fixed; None for the other modes.

    It makes one unit of all items in or below an experiment's directory. So tests run after the notebooks
    beside them, and a nested experiment never at the same time as its ancestor. It neither loses nor
    repeats items when a worker dies.
    """
    from xdist.scheduler import LoadFileScheduling, LoadGroupScheduling, LoadScopeScheduling

    bases: dict[str, type[Any]] = {
        "loadscope": LoadScopeScheduling,
        "loadfile": LoadFileScheduling,
        "loadgroup": LoadGroupScheduling,
    }
    mode = config.getoption("dist")
    if mode not in bases:
        return None
    return type("ExperimentScheduling", (_Units, _OnceOnly, bases[mode]), {})(config, log)


class _OnceOnly:
    """Keeps xdist's scope schedulers from repeating or losing items when a worker dies."""

    def remove_node(self: Any, node: WorkerController) -> str | None:
        workload = self.assigned_work.pop(node)
        pending = [item for unit in workload.values() for item in unit if not unit[item]]
        if not pending:
            return None
        crashed: str = pending[0]
        # xdist leaves it in the queue, and so sends it to the next worker as well.
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
        nodeid = self.registered_collections[node][item_index]
        scope = self._split_scope(nodeid)
        unit = self.assigned_work[node][scope]
        unit[nodeid] = True
        # xdist keeps finished units, and counts through all of them after every item.
        if all(unit.values()):
            del self.assigned_work[node][scope]
        self._reschedule(node)

    def _reschedule(self: Any, node: WorkerController) -> None:
        # A worker starts an item only when it knows the next one. xdist gives a worker that replaces
        # another a single unit, which can be a single item.
        super()._reschedule(node)  # type: ignore[misc]
        if self._pending_of(self.assigned_work[node]) == 1:
            super()._reschedule(node)  # type: ignore[misc]


class _Units:
    """Makes one unit of all items in or below an experiment's directory."""

    _directories: frozenset[str] | None = None

    def schedule(self: Any) -> None:
        if self._directories is None and self.registered_collections:
            collection = next(iter(self.registered_collections.values()))
            self._directories = experiment_directories(collection)
        super().schedule()  # type: ignore[misc]

    def _split_scope(self: Any, nodeid: str) -> str:
        family = family_of(nodeid, self._directories or frozenset())
        return family or super()._split_scope(nodeid)  # type: ignore[misc]
