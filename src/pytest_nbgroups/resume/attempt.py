"""One attempt of an experiment: it reuses notebooks of the last one, and records for the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, partial

from pytest_nbgroups.core.artifacts import Artifacts, has_content
from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.errors import CheckpointError, NbgroupsError
from pytest_nbgroups.core.model import Experiment, Notebook, NotebookOutcome, NotebookResult
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.fate import notebook_skip
from pytest_nbgroups.resume.aside import aside_blocking
from pytest_nbgroups.resume.bounds import ReadingBounds, ReadingCutError, ReadingStoppedError
from pytest_nbgroups.resume.checkpoint import (
    NO_CHECKPOINT,
    Checkpoint,
    FileState,
    Planned,
    Reuse,
    Step,
    reusable,
)
from pytest_nbgroups.resume.checkpoint_file import CheckpointFile
from pytest_nbgroups.resume.directory_state import DirectoryState, read_directory
from pytest_nbgroups.resume.file_contents import FileContents, absolute
from pytest_nbgroups.resume.fingerprint import read_data, read_fingerprint
from pytest_nbgroups.resume.interpreter import Interpreters
from pytest_nbgroups.resume.written import WrittenFiles

SAME_SESSION = "it has already run in this session"

_INTERPRETERS = Interpreters()
"""Shared by all attempts in this process."""


class Attempt:
    """Reads the checkpoint of the last attempt and writes that of this one.

    The notebooks' requirements are looked up in ``env``. The methods block while they read the
    experiment's files: call them through `aside`, with ``bounds``. No method raises if a file
    cannot be read or written: that costs a warning, or a notebook that runs once more. Methods
    that read files raise ReadingStoppedError once the run is being cancelled.
    """

    def __init__(
        self,
        experiment: Experiment,
        settings: Settings,
        *,
        session: str,
        env: Mapping[str, str],
        cancellation: Cancellation | None = None,
    ) -> None:
        self.reuse: Reuse | None = None
        self._warnings: list[str] = []
        self._experiment = experiment
        self._settings = settings
        self._env = env
        self._artifacts = Artifacts(folder=settings.artifacts)
        self._file = CheckpointFile(self._artifacts, experiment)
        self._session = session
        self._steps: tuple[Step, ...] = ()
        self._known: Mapping[str, FileState] = {}
        self._data: Mapping[str, FileState] = {}
        self._unreadable = ""
        self._is_written = False
        self.bounds = ReadingBounds(
            folder=str(experiment.directory),
            limit=settings.checkpoint_limit,
            is_stopped=lambda: cancellation is not None and cancellation.reason is not None,
        )
        self.begin_deadline(time.monotonic())
        self._contents = FileContents(self.bounds)
        self._recorded_steps: tuple[Step, ...] = ()
        self.written = WrittenFiles(experiment, settings, self._contents)

    def begin_deadline(self, now: float) -> None:
        """Count the experiment's deadline from now, on the monotonic clock."""
        if self._experiment.timeout_s is not None:
            self.bounds.ends_at = now + self._experiment.timeout_s

    @property
    def warnings(self) -> list[str]:
        """Problems so far, including reading that was cut."""
        if not self.bounds.reason:
            return [*self._warnings]
        cut = (
            f"{self._experiment.name}: not all files were recorded, so --experiment-resume cannot "
            f"reuse all notebooks: {self.bounds.reason}"
        )
        return [*self._warnings, cut]

    @property
    def count(self) -> int:
        """Number of notebooks recorded."""
        return len(self._steps)

    @property
    def is_whole(self) -> bool:
        """True if the last `look` left no notebook to run."""
        return self.reuse is not None and self.reuse.is_whole(len(self._experiment.notebooks))

    def look(self) -> Reuse | None:
        """Find the notebooks that can be reused now; None if ``--experiment-resume`` is off.

        The record of an attempt in the same session is for the next session.
        """
        self._warnings.clear()
        self._unreadable = ""
        recorded = self._recorded()
        if self._settings.resume:
            try:
                self.reuse = self._reusable(recorded)
            except ReadingCutError:
                return self.unlooked()
        return self.reuse

    def unlooked(self) -> Reuse | None:
        """Return the result of `look` for files that could not be read."""
        if self._settings.resume:
            self.reuse = Reuse(reason=self.bounds.reason)
        return self.reuse

    def _recorded(self) -> Checkpoint | None:
        """Return the last attempt. Its digests save reading even if no notebook is reused."""
        try:
            recorded = self._file.read()
        except CheckpointError as exc:
            self._unreadable = f"its checkpoint cannot be read: {exc}"
            if self._settings.resume:
                text = f"{self._file.path}: cannot be read, so nothing is reused: {exc}"
                self._warnings.append(text)
            return None
        if recorded is None:
            return None
        files = {path: state for step in recorded.steps for path, state in step.files.items()}
        self._known = {**files, **recorded.known}
        self._contents.know(str(self._experiment.directory), self._known)
        self._recorded_steps = recorded.steps
        return recorded

    def _reusable(self, recorded: Checkpoint | None) -> Reuse:
        if recorded is None:
            return Reuse(reason=self._unreadable or NO_CHECKPOINT)
        if recorded.session == self._session:
            return Reuse(reason=SAME_SESSION)
        return self._choose(recorded)

    def _choose(self, recorded: Checkpoint) -> Reuse:
        folder = str(self._experiment.directory)

        @cache
        def content_of(path: str) -> str | None:
            return self._contents.content(absolute(folder, path))

        return reusable(recorded, self._planned(), content_of, suspect=self.written.suspect)

    def _planned(self) -> Iterator[Planned]:
        fault = self._read_data()
        for notebook in self._experiment.notebooks:
            yield self._plan(notebook, fault)

    def _plan(self, notebook: Notebook, fault: str) -> Planned:
        skip = notebook_skip(notebook, self._env)
        if skip is not None:
            return Planned(name=notebook.name, skip=skip)
        if fault:
            return Planned(name=notebook.name, doubt=fault)
        try:
            fingerprint = read_fingerprint(
                notebook,
                self._experiment,
                self._settings,
                installation=partial(_INTERPRETERS.installation, check=self.bounds.check),
                data=self._data,
            )
        except NbgroupsError as exc:
            return Planned(name=notebook.name, doubt=str(exc))
        return Planned(name=notebook.name, fingerprint=fingerprint)

    def _read_data(self) -> str:
        """Read the files of ``[run] data`` as they are now; return the error, or an empty text."""
        try:
            left_out = [self._settings.artifacts]
            self._data = read_data(self._experiment, self._contents, left_out=left_out)
        except CheckpointError as exc:
            return str(exc)
        return ""

    # What this attempt leaves

    def begin(self, steps: tuple[Step, ...]) -> None:
        """Forget the steps of the last attempt that are not reused, before a file changes.

        The attempt and the paths that it names are recorded before its first notebook runs.
        """
        self._steps = steps
        self.written.take_over(self._recorded_steps, steps)
        self._write()

    def before(self, notebook: Notebook) -> Planned:
        """Note the dependencies of a notebook that is about to run or to be skipped."""
        known = self._data
        fault = self._read_data()
        if self._data != known:
            self._write()  # keep the digests even if the notebook fails: reading can take long
        planned = self._plan(notebook, fault)
        with suppress(ReadingCutError):  # `after` records it as a doubt
            self.written.before()
        return planned

    def after(self, result: NotebookResult, planned: Planned) -> None:
        """Record that a notebook has passed or was skipped; ``planned`` is the result of `before`.

        If not all files can be read, the step records a doubt.
        """
        state = self._state(result.name)
        step = Step(
            name=result.name,
            outcome=result.outcome,
            reason=result.reason,
            kernel=result.kernel,
            cells_total=result.cells_total,
            fingerprint=planned.fingerprint,
            files=state.files,
            doubt=state.doubt or planned.doubt,
        )
        # The step has the digests of all files now, so those of the last attempt can go.
        self._steps, self._known = (*self._steps, step), {}
        self._write()

    def _state(self, notebook: str) -> DirectoryState:
        experiment = self._experiment
        left_out = [self._settings.artifacts, *experiment.nested]
        try:
            inside = read_directory(experiment.directory, self._contents, left_out=left_out)
            outside = self.written.after(notebook)
            self.bounds.check()  # an abandoned thread must not record the step a second time
        except ReadingCutError as exc:
            return DirectoryState(doubt=str(exc))
        return DirectoryState(
            files={**inside.files, **outside.files}, doubt=inside.doubt or outside.doubt
        )

    def _write(self) -> None:
        reason = self._file.write(self._checkpoint())
        self._is_written = not reason
        warning = (
            f"{self._file.path}: cannot be written, so --experiment-resume can reuse less: {reason}"
        )
        if reason and warning not in self._warnings:
            self._warnings.append(warning)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            directory=self._file.directory,
            session=self._session,
            steps=self._steps,
            known={**self._known, **self._data},
            names=self.written.names.texts,
        )

    def left(self) -> int:
        """Return the number of notebooks that the next attempt would reuse now."""
        if not self._is_written:
            return 0
        try:
            return self._choose(self._checkpoint()).reused
        except (ReadingCutError, ReadingStoppedError):
            return 0

    # Reused notebooks

    def result(self, step: Step) -> NotebookResult:
        """Return the result of a notebook that does not run again."""
        is_skipped = step.outcome is NotebookOutcome.SKIPPED
        executed = self._artifacts.executed(self._experiment.name, step.name)
        log = self._artifacts.log(self._experiment.name, step.name)
        return NotebookResult(
            name=step.name,
            outcome=NotebookOutcome.SKIPPED if is_skipped else NotebookOutcome.REUSED,
            reason=step.reason,
            kernel=step.kernel,
            cells_total=step.cells_total,
            executed_path=executed if executed.is_file() else None,
            log_path=log if has_content(log) else None,
        )


def looked(attempt: Attempt) -> Reuse | None:
    """Call `Attempt.look` without an event loop; it can be interrupted."""
    try:
        return aside_blocking(attempt.look, attempt.bounds)
    except ReadingCutError:
        return attempt.unlooked()
