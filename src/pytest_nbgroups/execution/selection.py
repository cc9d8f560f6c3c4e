"""Which kernel a notebook runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_nbgroups.errors import KernelStartError
from pytest_nbgroups.execution.kernelspecs import find_kernel_spec
from pytest_nbgroups.settings import Settings

if TYPE_CHECKING:
    from nbformat import NotebookNode

DEFAULT_KERNEL = "python3"


def choose_kernel(notebook: NotebookNode, declared: str | None, settings: Settings) -> str:
    """Name the kernel: the command line's, the declared one, the ini file's, the notebook's own.

    The command line's and the ini file's are for the notebooks of their language only. Raises
    KernelStartError, with the installed ones, where a kernel that is asked for is not installed.
    """
    language = _language(notebook)
    return (
        _for_language(settings.option_kernel, language)
        or declared
        or _for_language(settings.ini_kernel, language)
        or notebook.metadata.get("kernelspec", {}).get("name")
        or DEFAULT_KERNEL
    )


def _for_language(kernel: str | None, language: str) -> str | None:
    if kernel is None:
        return None
    spec = find_kernel_spec(kernel)
    return kernel if spec.language.lower() == language else None


def _language(notebook: NotebookNode) -> str:
    metadata = notebook.metadata
    spoken = (
        metadata.get("kernelspec", {}).get("language")
        or metadata.get("language_info", {}).get("name")
        or _language_of_kernel(metadata.get("kernelspec", {}).get("name"))
    )
    return str(spoken).lower()


def _language_of_kernel(kernel: str | None) -> str:
    try:
        return str(find_kernel_spec(kernel).language) if kernel else "python"
    except KernelStartError:
        return "python"
