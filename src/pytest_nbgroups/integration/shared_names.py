"""Experiments and notebooks that would overwrite each other's artifacts, or run in one directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_nbgroups.core.model import Experiment


def shared_names(
    experiments: Mapping[str, Experiment], *, ignores_case: bool
) -> Iterator[tuple[str, str]]:
    """Yield node id and problem of each experiment that shares its name or place with an earlier one.

    So do notebooks of one experiment. ``experiments`` are by node id. ``ignores_case`` is True if the filesystem of the artifacts does.
    """
    owners: dict[str, tuple[str, str]] = {}
    places: dict[str, str] = {}
    for nodeid, experiment in experiments.items():
        if (twin := places.setdefault(experiment.place, nodeid)) != nodeid:
            yield nodeid, f"its directory is that of {twin}, by a link; a directory is run once"
        name = experiment.name
        owner, owned = owners.setdefault(_key(name, ignores_case=ignores_case), (nodeid, name))
        if owner != nodeid:
            same = f"its name {name!r} is also that of {owner}"
            alike = f"its name {name!r} and that of {owner}, {owned!r}, {_ALIKE}"
            yield nodeid, f"{same if owned == name else alike}, {_OVERWRITE}"
        if twins := _twins(experiment, ignores_case=ignores_case):
            yield nodeid, f"its notebooks {twins[0]} and {twins[1]} {_ALIKE}, {_OVERWRITE}"


_ALIKE = "differ in case only, which the filesystem of the artifacts ignores"
_OVERWRITE = "so their artifacts would overwrite each other; rename one of the two"


def _key(name: str, *, ignores_case: bool) -> str:
    return name.casefold() if ignores_case else name


def _twins(experiment: Experiment, *, ignores_case: bool) -> tuple[str, str] | None:
    first: dict[str, str] = {}
    for notebook in experiment.notebooks:
        other = first.setdefault(_key(notebook.name, ignores_case=ignores_case), notebook.name)
        if other != notebook.name:
            return other, notebook.name
    return None


def find_ignores_case(folder: Path) -> bool:
    """Return whether the filesystem of a folder, which need not exist, ignores case."""
    for place in (folder, *folder.parents):
        other = place.with_name(place.name.swapcase()) if place.name else place
        try:
            if other != place and place.exists():
                return place.samefile(other)
        except OSError:
            return False
    return False
