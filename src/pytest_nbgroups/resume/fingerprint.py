"""Dependencies of a notebook's result, read from its file, its kernel and its experiment."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from glob import iglob
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.model import Experiment, Notebook
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.kernel_host.commands import runs_ipykernel
from pytest_nbgroups.kernels.choice import choose_kernel
from pytest_nbgroups.kernels.kernelspecs import executable_of, find_kernel_spec, language_of
from pytest_nbgroups.kernels.languages import PYTHON
from pytest_nbgroups.notebooks.reading import read_notebook
from pytest_nbgroups.resume.checkpoint import FileState, Fingerprint
from pytest_nbgroups.resume.directory_state import Walk
from pytest_nbgroups.resume.file_contents import FileContents, absolute
from pytest_nbgroups.resume.interpreter import Installation, InstallationOf

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec
    from nbformat import NotebookNode

_NO_PYTHON = Installation(interpreter="")
_NO_FILE = FileState(size=0, mtime_ns=0, ctime_ns=0, inode=0, sha256="none", settled=False)
"""State of a pattern without a matching file."""


def read_fingerprint(
    notebook: Notebook,
    experiment: Experiment,
    settings: Settings,
    *,
    installation: InstallationOf,
    data: Mapping[str, FileState],
) -> Fingerprint:
    """Read a notebook's fingerprint as it is now; ``data`` is the result of `read_data`.

    Raises NbgroupsError if a part cannot be found out.
    """
    content = read_notebook(notebook.path)
    kernel = choose_kernel(content, notebook.kernel, settings)
    spec = find_kernel_spec(kernel)
    installed = _installation(kernel, spec, installation)
    cells = [cell for cell in content.cells if cell.cell_type == "code"]
    return Fingerprint(
        code=_digest([cell.source for cell in cells]),
        tags=_digest([_tags(cell) for cell in cells]),
        kernel=kernel,
        kernelspec=_digest([spec.argv, spec.env, _folder(spec)]),
        resources=_noticed(experiment),
        env={name: _digest(text) for name, text in experiment.env.items()},
        interpreter=installed.interpreter,
        distributions=installed.distributions,
        data={path: state.sha256 for path, state in data.items()},
        outputs=dict.fromkeys(experiment.outputs or (), ""),
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _tags(cell: NotebookNode) -> list[str]:
    return sorted(map(str, cell.metadata.get("tags", [])))


def _folder(spec: KernelSpec) -> str | None:
    """Return the kernelspec's folder if the command or variables of the kernel mention it."""
    texts = [*spec.argv, *spec.env.values()]
    return spec.resource_dir if any("{resource_dir}" in str(text) for text in texts) else None


def _installation(name: str, spec: KernelSpec, installation: InstallationOf) -> Installation:
    if language_of(spec) != PYTHON:
        return _NO_PYTHON
    executable = executable_of(spec.argv[0])
    if executable is None or "{" in executable or not runs_ipykernel(spec.argv):
        raise CheckpointError(f"what the kernel {name} has installed is not known")
    return installation(executable)


def _noticed(experiment: Experiment) -> dict[str, str]:
    """Return the resources that kernels notice: CPUs set the threads, and GPUs are visible.

    An assumed GPU does not count: it depends on the machine.
    """
    resources = experiment.resources
    gpus = 0 if experiment.has_assumed_gpu else resources.gpu_count
    cpus = {} if resources.cpus is None else {"cpus": f"{resources.cpus:g}"}
    return {**cpus, **({"gpus": str(gpus)} if gpus else {})}


def read_data(
    experiment: Experiment, contents: FileContents, *, left_out: Collection[Path] = ()
) -> dict[str, FileState]:
    """Read the files that ``[run] data`` names, by path relative to the experiment's directory.

    A matching folder counts with all its files, except the folders in ``left_out`` and the files
    of tools. A pattern without a match has an entry, too: a file that appears later is a change.
    Raises CheckpointError if a file cannot be read.
    """
    found: dict[str, FileState] = {}
    folder = str(experiment.directory)
    for pattern in experiment.data:
        paths = sorted(set(_matches(pattern, folder, Walk(left_out, look=contents.look))))
        found |= {Path(path).as_posix(): _state(folder, path, contents) for path in paths}
        if not paths:
            found[pattern] = _NO_FILE
    return found


def _matches(pattern: str, folder: str, walk: Walk) -> Iterator[str]:
    # The walk below finds all files of ``a/**``, and knows links that lead back to their folder.
    named = os.path.dirname(pattern) or "." if Path(pattern).name == "**" else pattern  # noqa: PTH120
    for path in iglob(named, root_dir=folder, recursive=True, include_hidden=True):  # noqa: PTH207
        full = os.path.join(folder, path)  # noqa: PTH118  the matched path may be absolute
        walk.look(full)
        if os.path.isdir(full):  # noqa: PTH112
            yield from (shown for _, shown in walk.files(full, path.rstrip("/")))
        else:
            yield path
    if walk.doubts:
        raise CheckpointError(f"data: {walk.doubts[0]}")


def _state(folder: str, path: str, contents: FileContents) -> FileState:
    try:
        return contents.state(absolute(folder, path))
    except OSError as exc:
        raise CheckpointError(f"data: {path} cannot be read: {exc.strerror or exc}") from exc
