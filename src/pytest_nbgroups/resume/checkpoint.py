"""The record of an experiment's attempt, and the part that a later one can reuse. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pytest_nbgroups.core.model import NotebookOutcome

NO_CHECKPOINT = "no earlier attempt is recorded"
_NAMED = 3
"""Number of changes that a sentence names; it only counts the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileState:
    """A file's digest, and the values that show without reading that it is unchanged."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str
    settled: bool
    """True if the file was old enough when it was read for any later change to show in its times."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The dependencies of a notebook's result, except the files of its experiment's directory."""

    code: str
    """Digest of the sources of its code cells."""
    tags: str
    """Digest of the tags of its code cells."""
    kernel: str
    """Name of the kernel."""
    kernelspec: str
    """Digest of the command, variables and folder that start the kernel."""
    resources: Mapping[str, str] = field(default_factory=dict)
    """The declared resources that its kernels notice."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Digest of each declared variable."""
    interpreter: str = ""
    """Python version and prefix. Empty, like the distributions, if the kernel is not a Python kernel."""
    distributions: Mapping[str, str] = field(default_factory=dict)
    """Version of each installed distribution."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Digest of each file that ``[run] data`` names."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The patterns of ``[run] outputs``: they decide which files outside count."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A notebook that passed or was skipped, and the files that were there after it."""

    name: str
    outcome: NotebookOutcome
    reason: str | None = None
    kernel: str | None = None
    cells_total: int = 0
    fingerprint: Fingerprint | None = None
    """None if the notebook was skipped or there is a doubt."""
    files: Mapping[str, FileState] = field(default_factory=dict)
    """Files of the directory, and those outside that this or an earlier notebook was seen to write.

    By path relative to the directory, with forward slashes."""
    doubt: str = ""
    """Reason why the notebook cannot be reused safely; empty if it can."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The last recorded attempt of an experiment, up to the first notebook that did not pass."""

    directory: str
    """Relative to the artifacts folder."""
    session: str
    """Id of the session of the attempt."""
    steps: tuple[Step, ...] = ()
    known: Mapping[str, FileState] = field(default_factory=dict)
    """More files that need not be read again, with the same kind of path as in the steps."""
    names: tuple[str, ...] = ()
    """The texts of the experiment's sources and outputs that may be paths, as `path_texts` gives them."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A notebook that is to run, or to be skipped, now."""

    name: str
    skip: str | None = None
    fingerprint: Fingerprint | None = None
    doubt: str = ""
    """Reason for a missing fingerprint."""


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """The longest prefix of an experiment's notebooks that need not run again."""

    steps: tuple[Step, ...] = ()
    reason: str = ""
    """Reason why the prefix is not longer; empty if no notebook is left to run."""

    @property
    def reused(self) -> int:
        """Number of steps that passed; the others are skipped again."""
        return sum(step.outcome is NotebookOutcome.PASSED for step in self.steps)

    def is_whole(self, count: int) -> bool:
        """Return True if no notebook of ``count`` is left to run, and at least one is reused."""
        return self.reused > 0 and len(self.steps) == count

    def text(self, count: int, verb: str) -> str:
        """Return ``reuses 2 of 5 notebooks (3-fit.ipynb: its code has changed)``; ``verb`` is ``reuses``."""
        if self.is_whole(count):
            return f"{verb} all its notebooks" if count > 1 else f"{verb} its notebook"
        reused = f"{self.reused} of {count} notebooks" if self.reused else "nothing"
        return f"{verb} {reused} ({self.reason})"


ContentOf: TypeAlias = Callable[[str], str | None]
"""Return the digest of a file now, by path: None if it is missing, empty if it cannot be read."""


def reusable(
    recorded: Checkpoint,
    planned: Iterable[Planned],
    content_of: ContentOf,
    *,
    suspect: Callable[[str], str] = lambda _path: "",
) -> Reuse:
    """Choose the longest prefix whose notebooks and files are as they were recorded.

    A prefix is reusable if every file that existed after its last notebook still has the same
    content. Later files do not count. ``planned`` is read no further than needed. ``suspect``
    gives the other experiment that may have written a file, empty if there is no other.
    """
    matching, reason = _matching(recorded.steps, planned)
    for count in range(len(matching), 0, -1):
        if not (fault := _fault(matching[count - 1], content_of, suspect)):
            return Reuse(steps=matching[:count], reason=reason)
        reason = fault  # the last one kept is that of the shortest prefix that fails
    return Reuse(reason=reason)


def _matching(steps: Sequence[Step], planned: Iterable[Planned]) -> tuple[tuple[Step, ...], str]:
    """Return the first steps that are unchanged now, and the reason why the next has changed."""
    matching: list[Step] = []
    for now in planned:
        if len(matching) == len(steps):
            return tuple(matching), f"{now.name}: it did not pass in the last attempt"
        step = steps[len(matching)]
        if difference := _difference(step, now):
            return tuple(matching), f"{now.name}: {difference}"
        matching.append(step)
    return tuple(matching), ""


def _difference(step: Step, now: Planned) -> str:
    if step.name != now.name:
        return f"in the last attempt {step.name} was in its place"
    if step.outcome is NotebookOutcome.SKIPPED or now.skip is not None:
        return _other_skip(step, now)
    if step.fingerprint is None or now.fingerprint is None:
        return now.doubt or step.doubt or "its dependencies are not known"
    return next(changes(step.fingerprint, now.fingerprint), "")


def _other_skip(step: Step, now: Planned) -> str:
    if now.skip is None:
        return "it was skipped in the last attempt"
    if step.outcome is not NotebookOutcome.SKIPPED:
        return "it passed in the last attempt and is skipped now"
    same = step.reason == now.skip
    return "" if same else "the reason for skipping it has changed"


def _fault(step: Step, content_of: ContentOf, suspect: Callable[[str], str]) -> str:
    """Return how the files differ from those after a step; empty if they are the same."""
    if step.doubt:
        return f"{step.name}: {step.doubt}"
    for path, state in step.files.items():
        content = content_of(path)
        if content is None:
            return f"{path} is gone since {step.name} {step.outcome}"
        if not content:
            return f"{path} cannot be read"
        if content != state.sha256:
            other = suspect(path)
            may = f"; {other} may have written it" if other else ""
            return f"{path} has changed since {step.name} {step.outcome}{may}"
    return ""


# What has changed between two fingerprints


def changes(then: Fingerprint, now: Fingerprint) -> Iterator[str]:
    """Yield each change as part of a sentence, the most important first."""
    if then.code != now.code:
        yield "its code has changed"
    if then.tags != now.tags:
        yield "the tags of its cells have changed"
    if then.kernel != now.kernel:
        yield f"its kernel was {then.kernel} and is now {now.kernel}"
    elif then.kernelspec != now.kernelspec:
        yield f"the kernelspec of {now.kernel} has changed"
    yield from _changes("[resources] {}", then.resources, now.resources)
    yield from _changes("the variable {}", then.env, now.env)
    if then.interpreter != now.interpreter:
        yield f"its interpreter was {then.interpreter or 'none'} and is now {now.interpreter or 'none'}"
    yield from _versions(then.distributions, now.distributions)
    yield from _changes("data: {}", then.data, now.data)
    yield from _changes("[run] outputs {}", then.outputs, now.outputs)


def _changes(what: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    def change(name: str) -> str:
        became = "is new" if name not in then else "is gone" if name not in now else "has changed"
        return f"{what.format(name)} {became}"

    return _listed(change, then, now)


def _versions(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    def change(name: str) -> str:
        # A version can have the digest of its origin behind a blank.
        old, new = (versions.get(name, "").partition(" ")[0] for versions in (then, now))
        if name not in then:
            return f"{name} {new} has been installed"
        if name not in now:
            return f"{name} is no longer installed"
        if old == new:
            return f"{name} {new} has been installed from elsewhere"
        return f"{name} was {old} and is now {new}"

    return _listed(change, then, now)


def _listed(
    change: Callable[[str], str], then: Mapping[str, str], now: Mapping[str, str]
) -> Iterator[str]:
    """Yield the differences between two tables as one text; nothing if there are none."""
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if names:
        more = len(names) - _NAMED
        rest = f" and {more} more" if more > 0 else ""
        yield ", ".join(map(change, names[:_NAMED])) + rest
