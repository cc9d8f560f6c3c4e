"""Choice of the kernel for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.kernels.kernelspecs import (
    canonical_name,
    find_kernel_spec,
    installed_kernels,
    kernels_for,
    language_of,
)
from pytest_nbgroups.kernels.languages import (
    PYTHON,
    installation_for,
    language_key,
    language_named_by,
    listed,
)

if TYPE_CHECKING:
    from nbformat import NotebookNode

DEFAULT_KERNEL = "python3"


def choose_kernel(notebook: NotebookNode, declared: str | None, settings: Settings) -> str:
    """Name the kernel: the command line's, the declared one, the ini file's, the notebook's own.

    The command line's and the ini file's are for the notebooks of their language only. A notebook that states its
    language but no kernel gets the only installed kernel for that language. Raises KernelStartError, with the
    installed ones, if the kernel is not installed.
    """
    language = _language(notebook)
    chosen = (
        _for_language(settings.option_kernel, language)
        or declared
        or _for_language(settings.ini_kernel, language)
        or _own_kernel(notebook)
    )
    try:
        kernel = chosen or _kernel_for(language)
        find_kernel_spec(kernel, language)
    except KernelStartError as exc:
        unused = unused_option(notebook, settings)
        raise KernelStartError("; ".join(filter(None, [str(exc), unused]))) from exc
    return canonical_name(kernel)


def unused_option(notebook: NotebookNode, settings: Settings) -> str | None:
    """Return why the kernel of the command line is not for this notebook; None if it is, or if none was given."""
    option, language = settings.option_kernel, _language(notebook)
    if option is None or _for_language(option, language):
        return None
    its = find_kernel_spec(option).language or "an unknown language"
    return f"--experiment-kernel {option} is for {its}, so notebooks in {language} do not use it"


def _for_language(kernel: str | None, language: str) -> str | None:
    if kernel is None:
        return None
    spec = find_kernel_spec(kernel)
    return kernel if language_of(spec) == language_key(language) else None


def _kernel_for(language: str) -> str:
    """The kernel for a notebook that names none. Raises KernelStartError."""
    if language_key(language) == PYTHON:
        return DEFAULT_KERNEL
    match kernels_for(language):
        case [only]:
            return only
        case []:
            raise KernelStartError(
                f"the notebook is in {language} and names no kernel, and no kernel for {language} is installed "
                f"(installed: {listed(installed_kernels())}); {installation_for(language)}"
            )
        case several:
            raise KernelStartError(
                f"the notebook is in {language} and names no kernel, and several for {language} are installed; "
                f"choose one of {listed(several)} with --experiment-kernel, or with kernel in experiment.toml"
            )


def _own_kernel(notebook: NotebookNode) -> str | None:
    return notebook.metadata.get("kernelspec", {}).get("name") or None


def _language(notebook: NotebookNode) -> str:
    """The language as the notebook spells it, else that of its kernel, else Python."""
    metadata = notebook.metadata
    spoken = (
        metadata.get("kernelspec", {}).get("language")
        or metadata.get("language_info", {}).get("name")
        or _language_of_kernel(_own_kernel(notebook))
    )
    return str(spoken)


def _language_of_kernel(kernel: str | None) -> str:
    if kernel is None:
        return PYTHON
    try:
        return language_of(find_kernel_spec(kernel)) or PYTHON
    except KernelStartError:
        return language_named_by(kernel) or PYTHON
