"""Explanation why a notebook's kernel or its child died, from the evidence. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pytest_nbgroups.core.model import CellReference, Failure, FailureKind
from pytest_nbgroups.core.shortage import (
    KillCounts,
    MemoryPlace,
    Shortage,
    are_counted,
    machine_kills,
    shortage,
)
from pytest_nbgroups.core.units import excess_texts, format_size, unit_of
from pytest_nbgroups.kernel_host.exits import SENT, exit_status, signal_of
from pytest_nbgroups.kernels.holding import Neighbour
from pytest_nbgroups.monitoring.own_calls import exit_calls, limit_calls, signal_calls
from pytest_nbgroups.monitoring.watch import Excess

_NEARLY_FULL = 0.8
_KILL = 9  # signal.SIGKILL, which Windows does not name
_SAME = 1.05
_NAMED = 5

_KILLER = "the OOM killer of the operating system"


@dataclass(frozen=True, kw_only=True)
class LostChild:
    """During a cell, processes were ended for lack of memory, and a child of the living kernel ended."""

    cell: int
    """Its position, from 1."""
    shortage: Shortage
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Evidence from a notebook's run, beside the failure itself."""

    returncode: int | None = None
    """Of a kernel that ended."""
    before: KillCounts = field(default_factory=KillCounts)
    """When the cell began in which it died."""
    after: KillCounts = field(default_factory=KillCounts)
    recent_bytes: int = 0
    """Peak of its tree in the last second that was seen."""
    peak_bytes: int = 0
    neighbours: tuple[Neighbour, ...] = ()
    lost_children: tuple[LostChild, ...] = ()
    excess: Excess | None = None
    """The reason why its tree was killed."""
    cpu_limit_s: float | None = None
    """Limit that the kernel had used up when it was killed."""
    sources: Sequence[str] = ()
    """Of the cells, up to the one in which it died; empty for text."""

    @property
    def shortage(self) -> Shortage | None:
        return shortage(self.before, self.after)


def death_message(cell: CellReference | None, cause: str) -> str:
    """``the kernel died in cell 4 of 9: exit code 3``."""
    where = f" in cell {cell.number} of {cell.count}" if cell else ""
    return f"the kernel died{where}: {cause}"


def explained(failure: Failure | None, seen: Evidence) -> Failure | None:
    """The failure with its cause, as far as it is known, and the evidence for it.

    None stays None, unless the tree was killed for what it had.
    """
    if seen.excess is not None:
        return _over_limit(failure, seen.excess)
    if failure is None:
        return None
    if failure.kind is FailureKind.KERNEL_DIED:
        failure = _ended(failure, seen)
    return replace(failure, evidence=(*failure.evidence, *_lost(seen)))


def _ended(failure: Failure, seen: Evidence) -> Failure:
    """By an exit, by SIGKILL, by another signal."""
    signum = signal_of(seen.returncode)
    if signum is None:
        return replace(failure, evidence=tuple(exit_calls(seen.sources)))
    if signum != _KILL:
        return replace(failure, evidence=tuple(signal_calls(seen.sources, signum)))
    if seen.cpu_limit_s is not None:
        return _over_cpu_limit(failure, seen, seen.cpu_limit_s)
    found = seen.shortage
    return _killed(failure, seen) if found is None else _out_of_memory(failure, seen, found)


def lost_child_warnings(seen: Evidence) -> tuple[str, ...]:
    """Return remarks on a notebook that passed although a child of its kernel may have been killed."""
    return tuple(
        f"cell {lost.cell} passed, but check its results: {'; '.join(_child_lines(lost))}"
        for lost in seen.lost_children
    )


def _over_limit(failure: Failure | None, excess: Excess) -> Failure:
    cell = failure.cell if failure else None
    who = f"cell {cell.number} of {cell.count}" if cell else "the notebook"
    used, declared = excess_texts(excess.used_bytes, excess.limit)
    largest = unit_of(excess.limit).text(excess.largest_bytes)
    shared = f"it had {excess.processes} processes, the largest with {largest}"
    return Failure(
        kind=FailureKind.RAM_LIMIT,
        message=f"{who} used {used}, more than its declared ram of {declared}; "
        "it was killed (ram_limit)",
        cell=cell,
        output=failure.output if failure else "",
        traceback=failure.traceback if failure else "",
        evidence=(shared,) if excess.processes > 1 else (),
        remedy="let the notebook use less memory, or declare a larger ram in [resources] of "
        "experiment.toml",
    )


def _out_of_memory(failure: Failure, seen: Evidence, found: Shortage) -> Failure:
    sharing = _sharing(seen.neighbours, found.ran_out)
    if found.is_ours and not sharing:
        cause = f"out of memory, it was ended by {_KILLER}"
    else:  # its own end by SIGKILL and a kill of some other process might coincide
        cause = f"very likely out of memory, {_KILLER} was active"
    return replace(
        failure,
        kind=FailureKind.OUT_OF_MEMORY,
        message=death_message(failure.cell, cause),
        evidence=(
            f"{_kills(found)} while it ran",
            _what_ran_out(found.ran_out),
            *_use(seen),
            *_beside(seen.neighbours, found.ran_out),
            *_culprit(seen, found.ran_out),
        ),
        remedy=_remedy(sharing, found.ran_out),
    )


def _over_cpu_limit(failure: Failure, seen: Evidence, limit_s: float) -> Failure:
    cause = f"{exit_status(seen.returncode)}, it ran into the operating system's limit on CPU time"
    return replace(
        failure,
        message=death_message(failure.cell, f"{cause} (ulimit -t {limit_s:g})"),
        evidence=(
            f"it had used up its hard limit of {limit_s:g} s of CPU time when it was killed",
            *limit_calls(seen.sources),
        ),
        remedy="raise the limit at its source: the shell (ulimit -t), a job scheduler, the notebook itself",
    )


def _killed(failure: Failure, seen: Evidence) -> Failure:
    """SIGKILL, and no sign of the OOM killer."""
    counted = are_counted(seen.before) and are_counted(seen.after)
    nearly_full = _is_nearly_full(seen)
    cause = exit_status(seen.returncode)
    if counted:
        cause += SENT
        cause += ", possibly by a program that guards memory" if nearly_full else ""
    else:
        cause += ", possibly out of memory" if nearly_full else SENT
    return replace(
        failure,
        message=death_message(failure.cell, cause),
        evidence=(
            *_not_the_killer(seen, counted=counted),
            *_use(seen),
            *(_beside(seen.neighbours, seen.after.tightest) if nearly_full else ()),
            *signal_calls(seen.sources, _KILL),
        ),
        remedy="find out who sent it: a person, a job scheduler, a guard such as systemd-oomd or "
        "earlyoom, or the notebook itself",
    )


def _not_the_killer(seen: Evidence, *, counted: bool) -> Iterator[str]:
    if not counted:
        yield "this system does not count the processes that it ends for lack of memory"
        return
    where = seen.after.cgroups[0].name if seen.after.own_kills is not None else "the machine"
    yield f"{_KILLER} ended no process of {where} while it ran"
    if elsewhere := machine_kills(seen.before, seen.after):
        yield f"elsewhere on the machine it ended {_processes(elsewhere)}"


def _is_nearly_full(seen: Evidence) -> bool:
    place = seen.after.tightest
    if place is None or place.limit_bytes is None:
        return False
    others = sum(each.used_bytes for each in _sharing(seen.neighbours, place))
    return seen.recent_bytes + others >= _NEARLY_FULL * place.limit_bytes


def _kills(found: Shortage) -> str:
    return f"{_KILLER} ended {_processes(found.kills)} of {found.where.name}"


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _what_ran_out(place: MemoryPlace) -> str:
    size = "" if place.limit_bytes is None else f", {format_size(place.limit_bytes)}"
    files = place.file_bytes or 0
    held = (
        f"; files in memory, as in /dev/shm, hold {format_size(files)} of it"
        if files > (place.limit_bytes or 0) / 10
        else ""
    )
    return f"exhausted: {place.limit_name} of {place.name}{size}{held}"


def _use(seen: Evidence) -> Iterator[str]:
    if not seen.recent_bytes:
        return
    more = seen.peak_bytes > _SAME * seen.recent_bytes
    peak = f", peak {format_size(seen.peak_bytes)}" if more else ""
    yield f"its processes: last sample {format_size(seen.recent_bytes)}{peak}"


def _beside(neighbours: Sequence[Neighbour], place: MemoryPlace | None) -> Iterator[str]:
    sharing = _sharing(neighbours, place)
    if not sharing:
        yield "no other experiment ran beside it"
        return
    named = [f"{each.experiment} ({format_size(each.used_bytes)})" for each in sharing[:_NAMED]]
    more = len(sharing) - _NAMED
    rest = f" and {more} more" if more > 0 else ""
    yield f"beside it ran {', '.join(named)}{rest}"


def _sharing(neighbours: Sequence[Neighbour], place: MemoryPlace | None) -> list[Neighbour]:
    """Return the experiments that use the same memory, the largest first."""
    whole_machine = place is None or place.name == MemoryPlace().name
    sharing = [each for each in neighbours if whole_machine or each.shares_limit]
    return sorted(sharing, key=lambda each: -each.used_bytes)


def _culprit(seen: Evidence, place: MemoryPlace) -> Iterator[str]:
    """The OOM killer may pick another process than the one that took the memory."""
    own_bytes = max(seen.recent_bytes, seen.peak_bytes)
    sharing = _sharing(seen.neighbours, place)
    all_bytes = own_bytes + sum(each.used_bytes for each in sharing)
    if sharing and sharing[0].used_bytes > own_bytes:
        yield f"{sharing[0].experiment} used more: this experiment may be the victim, not the cause"
    elif place.limit_bytes and 2 * all_bytes < place.limit_bytes:
        yield (
            f"that is {format_size(all_bytes)} of {format_size(place.limit_bytes)}: the rest was used "
            "later, or by other programs"
        )


def _remedy(sharing: Sequence[Neighbour], place: MemoryPlace) -> str:
    if sharing:
        return (
            "declare ram in [resources] of each of them, so that fewer run at once, or lower the budget "
            "with --experiment-ram"
        )
    return f"let the notebook use less memory, or raise {place.limit_name} of {place.name}"


def _lost(seen: Evidence) -> Iterator[str]:
    for lost in seen.lost_children:
        first, *rest = _child_lines(lost)
        yield f"while cell {lost.cell} ran, {first}"
        yield from rest


def _child_lines(lost: LostChild) -> Iterator[str]:
    """No surer than possibly: what ran beside it and was killed may have left before the cell ended."""
    place = lost.shortage.ran_out
    yield f"{_kills(lost.shortage)}, possibly a child of this kernel"
    yield _what_ran_out(place)
    yield from (f"when the cell ended {line}" for line in _beside(lost.neighbours, place))
