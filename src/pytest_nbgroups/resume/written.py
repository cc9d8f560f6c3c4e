"""Files that the notebooks of one attempt write outside of their directory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.hints.paths import path_texts
from pytest_nbgroups.notebooks.scanning import code_sources
from pytest_nbgroups.resume.beside import OtherExperiments
from pytest_nbgroups.resume.checkpoint import FileState, Step
from pytest_nbgroups.resume.directory_state import DirectoryState
from pytest_nbgroups.resume.file_contents import FileContents, absolute
from pytest_nbgroups.resume.naming import UNNAMED, Names
from pytest_nbgroups.resume.open_files import open_for_writing
from pytest_nbgroups.resume.outside import Outside, Snapshot

_CLOCK_NS = 2 * 10**9
"""Times of files can be that far behind: some file systems count in steps of two seconds."""


class WrittenFiles:
    """Compares the files outside before and after each notebook, and keeps the experiment's own.

    A changed file belongs to the experiment that names it most precisely, of those that ran at the
    same time. If two name it alike, or no experiment names it, its owner is in doubt for all later
    notebooks.
    """

    def __init__(self, experiment: Experiment, settings: Settings, contents: FileContents) -> None:
        self.running: Callable[[], Collection[str]] = lambda: ()
        """Return the names of the experiments that run on this machine now."""
        self._experiment = experiment
        self._directory = os.path.normpath(experiment.directory)
        self._root = os.path.normpath(settings.rootdir)
        self._contents = contents
        self._settings = settings
        artifacts = Artifacts(folder=settings.artifacts)
        self.others = OtherExperiments(artifacts, experiment.name, self._root)
        self._paths: set[str] = set()
        self._earlier: Mapping[str, frozenset[str]] = {}
        self._seen: Snapshot | None = None
        self._since_ns = 0
        self._beside: set[str] = set()
        self._doubt = ""

    @cached_property
    def names(self) -> Names:
        """The paths that the experiment's sources and outputs name; reads the notebooks."""
        outputs = [repr(pattern) for pattern in self._experiment.outputs or ()]
        texts = path_texts([*outputs, *code_sources(self._experiment)])
        return Names(directory=self._directory, root=self._root, texts=texts)

    @cached_property
    def _outside(self) -> Outside:
        return Outside(self._experiment, self._settings, self.names, look=self._contents.look)

    def take_over(self, recorded: Iterable[Step], reused: Sequence[Step]) -> None:
        """Go on from the reused notebooks.

        A file that a notebook wrote in the recorded attempt stays its file, even if it is unchanged.
        """
        self._earlier = {step.name: frozenset(_outside_of(step)) for step in recorded}
        self._paths = set(_outside_of(reused[-1])) if reused else set()

    def before(self) -> None:
        """Check the files before a notebook runs, unless that was done after the last one."""
        if self._seen is None:
            self._look(None)

    def after(self, notebook: str) -> DirectoryState:
        """Return all files that this and earlier notebooks wrote, as they are now."""
        seen, since_ns, beside = self._seen or Snapshot(), self._since_ns, self._beside
        now = self._look(seen)
        others = self.others.beside(since_ns, beside | self._beside)
        own = self._own(now.changed_since(seen), others)
        self._paths |= self._earlier.get(notebook, frozenset()) | {self._relative(p) for p in own}
        self._doubt = self._doubt or seen.doubt or now.doubt
        return self._states(self._paths | {self._relative(p) for p in now.declared})

    def _look(self, since: Snapshot | None) -> Snapshot:
        self._since_ns = time.time_ns() - _CLOCK_NS
        self._beside = set(self.running()) - {self._experiment.name}
        self._seen = self._outside.snapshot(since)
        return self._seen

    def _own(self, changed: Sequence[str], others: Mapping[str, Names]) -> list[str]:
        unnamed = [p for p in changed if self.names.precision(p) == UNNAMED]
        # A file that is still open belongs to another process, for example a log: the kernel is gone.
        strange = {*unnamed} if self._experiment.outputs is not None else open_for_writing(unnamed)
        return [p for p in changed if p not in strange and self._is_own(p, others)]

    def _is_own(self, path: str, others: Mapping[str, Names]) -> bool:
        mine = self.names.precision(path)
        theirs = {name: names.precision(path) for name, names in others.items()}
        most = max(theirs.values(), default=UNNAMED)
        if theirs and most == mine:
            other = next(name for name, precision in theirs.items() if precision == most)
            self._doubt = self._doubt or self._doubt_of(path, other, is_named=mine > UNNAMED)
        return most <= mine

    def _doubt_of(self, path: str, other: str, *, is_named: bool) -> str:
        why = f"{other} names it too" if is_named else f"neither it nor {other} names it"
        return (
            f"{self._relative(path)} was written while {other} ran beside it, and {why}; "
            "declare outputs in experiment.toml"
        )

    def _states(self, paths: Collection[str]) -> DirectoryState:
        files: dict[str, FileState] = {}
        doubt = self._doubt
        for path in sorted(paths):
            try:
                files[path] = self._contents.state(absolute(self._directory, path))
            except (FileNotFoundError, NotADirectoryError):
                self._paths.discard(path)  # the notebook has removed it
            except OSError as exc:
                doubt = doubt or f"{path} cannot be read: {exc.strerror or 'it is no file'}"
        return DirectoryState(files=files, doubt=doubt)

    def suspect(self, path: str) -> str:
        """Return the other experiment that may have written a file; empty if there is no candidate."""
        return self.others.suspect(absolute(self._directory, path), self._directory)

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._directory).replace(os.sep, "/")


def _outside_of(step: Step) -> Iterable[str]:
    return (path for path in step.files if path.startswith("../") or os.path.isabs(path))  # noqa: PTH117
