"""Which CPUs a kernel runs on: for code that asks how many there are, and so that experiments keep apart."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pytest_nbgroups.machine.cgroup import read_text
from pytest_nbgroups.machine.counts import parse_count


class Place(NamedTuple):
    """Where a CPU is: those of one core share its units, those of one node its memory."""

    node: int
    core: int
    """The lowest number among the CPUs of the core."""


_UNKNOWN: Mapping[int, Place] = MappingProxyType({})


def available_cpus() -> tuple[int, ...]:
    """The CPUs that this process may use; none where the system cannot bind processes to CPUs."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def read_places(cpus: Iterable[int], *, root: Path = Path("/")) -> Mapping[int, Place]:
    """Look up CPUs below ``/sys``; what it does not tell of is a core of its own, on node 0."""
    folder = root / "sys/devices/system/cpu"
    return {cpu: Place(_node(folder / f"cpu{cpu}"), _core(folder, cpu)) for cpu in cpus}


def _node(folder: Path) -> int:
    try:
        names = [path.name.removeprefix("node") for path in folder.glob("node[0-9]*")]
    except OSError:
        names = []
    return next(filter(None, map(parse_count, names)), 0)


def _core(folder: Path, cpu: int) -> int:
    for name in ("core_cpus_list", "thread_siblings_list"):  # before Linux 5.3
        siblings = read_text(folder / f"cpu{cpu}/topology/{name}")
        first = parse_count(siblings.replace("-", ",").partition(",")[0])  # "0,64", "0-1"
        if first is not None:
            return first
    return cpu


def choose_cpus(
    count: int,
    available: Sequence[int],
    taken: Sequence[Sequence[int]],
    places: Mapping[int, Place] = _UNKNOWN,
) -> tuple[int, ...]:
    """Choose at least one CPU and at most all: free ones, else those that the fewest others have.

    Among equals: on as few nodes as they fit on, the emptiest first, where there is most bandwidth to
    be had; of a node whole cores, and what is left over on the idlest ones.
    """
    load = Counter(cpu for cpus in taken for cpu in cpus)
    missing = min(max(1, count), len(available))
    chosen: list[int] = []
    for level in sorted({load[cpu] for cpu in available}):
        equals = sorted(cpu for cpu in available if load[cpu] == level)
        for group in _by_node(equals, chosen, places):
            chosen += _pick(group, missing - len(chosen), load, places)
    return tuple(sorted(chosen))


def _by_node(
    cpus: Sequence[int], chosen: Sequence[int], places: Mapping[int, Place]
) -> list[list[int]]:
    """The CPUs of each node; first where some are chosen already, then where there are most."""
    nodes: dict[int, list[int]] = defaultdict(list)
    for cpu in cpus:
        nodes[_place(cpu, places).node].append(cpu)
    begun = {_place(cpu, places).node for cpu in chosen}
    order = sorted(nodes, key=lambda node: (node not in begun, -len(nodes[node]), node))
    return [nodes[node] for node in order]


def _pick(
    cpus: Sequence[int], count: int, load: Mapping[int, int], places: Mapping[int, Place]
) -> list[int]:
    picked: list[int] = []
    for threads in _whole_cores(cpus, places):
        if len(picked) + len(threads) <= count:
            picked += threads
    rest = [cpu for cpu in cpus if cpu not in picked]
    rest.sort(key=lambda cpu: (_core_load(cpu, load, places), cpu))
    return picked + rest[: max(0, count - len(picked))]


def _whole_cores(cpus: Sequence[int], places: Mapping[int, Place]) -> Iterator[list[int]]:
    """The CPUs of each core of which all are there."""
    cores: dict[Place, list[int]] = defaultdict(list)
    for cpu in cpus:
        cores[_place(cpu, places)].append(cpu)
    sizes = Counter(places.values())
    return (threads for place, threads in cores.items() if len(threads) >= sizes[place])


def _core_load(cpu: int, load: Mapping[int, int], places: Mapping[int, Place]) -> int:
    core = _place(cpu, places)
    siblings = [other for other, place in places.items() if place == core] or [cpu]
    return sum(load[other] for other in siblings)


def _place(cpu: int, places: Mapping[int, Place]) -> Place:
    return places.get(cpu, Place(0, cpu))


def apply(pid: int, cpus: Iterable[int], *, proc: Path = Path("/proc")) -> str | None:
    """Bind all threads of a process, and so what it starts from then on; else say why not.

    Called in the process that runs the experiment as soon as its kernel is started.
    """
    wanted, bound = set(cpus), set[int]()
    try:
        # A thread that was not bound yet may have started another while the list was read.
        while new := {int(path.name) for path in (proc / str(pid) / "task").iterdir()} - bound:
            for thread in new:
                _bind_thread(thread, wanted)
            bound |= new
    except OSError as exc:
        return f"not bound to CPUs {_ranges(wanted)}: {exc.strerror or exc}"
    return None


def _bind_thread(thread: int, cpus: set[int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.sched_setaffinity(thread, cpus)


def _ranges(cpus: Iterable[int]) -> str:
    """As ``taskset`` and ``/proc`` write them: ``0-3,8``."""
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and spans[-1][-1] == cpu - 1:
            spans[-1][1:] = [cpu]
        else:
            spans.append([cpu])
    return ",".join("-".join(map(str, span)) for span in spans)
