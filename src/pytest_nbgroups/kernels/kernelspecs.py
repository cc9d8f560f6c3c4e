"""Installed kernels, and remedies for missing ones."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence

from jupyter_client.kernelspec import (
    NATIVE_KERNEL_NAME,
    KernelSpec,
    KernelSpecManager,
    NoSuchKernel,
)
from traitlets import TraitError

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.kernel_host.commands import runs_ipykernel
from pytest_nbgroups.kernels.jupyter_folders import kernel_folders
from pytest_nbgroups.kernels.languages import PYTHON, installation, language_key, listed

_LOCAL = "local-provisioner"
_ALIASES = {"python": NATIVE_KERNEL_NAME}
"""Names that jupyter_client's KernelManager replaces, even if a kernelspec has them."""
_SILENT = logging.Logger(__name__)  # noqa: LOG001  outside the tree of loggers, so that nothing shows it
_UNUSABLE = (OSError, ValueError, TypeError, TraitError)


def canonical_name(name: str) -> str:
    """The name under which Jupyter starts a kernel: ``python`` is ``python3``, capitals do not count."""
    key = name.lower()
    return _ALIASES.get(key, key)


def find_kernel_spec(name: str, language: str | None = None) -> KernelSpec:
    """Look a kernel up as Jupyter does.

    ``language`` is that of the notebook, for which the remedy is; None if any kernel would do. Raises
    KernelStartError, with the installed ones and the remedy, if the kernel is missing, unreadable, cannot be
    started on this machine or asks to be started in another way than locally.
    """
    specs = spec_manager()
    try:
        spec = _found(specs, canonical_name(name))
    except NoSuchKernel as exc:
        raise KernelStartError(_missing(name, specs, language)) from exc
    except _UNUSABLE as exc:
        raise KernelStartError(_unreadable(name, str(exc), language)) from exc
    if fault := _fault(spec):
        raise KernelStartError(_unreadable(name, f"{fault} ({spec.resource_dir})", language))
    _check(name, spec)
    return spec


def kernels_for(language: str) -> list[str]:
    """Names of the installed kernels for a language that can be started."""
    return _startable(spec_manager(), language)


def installed_kernels() -> list[str]:
    """Names of all installed kernels."""
    return sorted(_folders(spec_manager()))


def language_of(spec: KernelSpec) -> str:
    """The language of a kernel, by `language_key`; kernelspecs of Python written by hand often lack it."""
    return language_key(spec.language) or (PYTHON if runs_ipykernel(spec.argv) else "")


def _found(specs: KernelSpecManager, name: str) -> KernelSpec:
    # It warns of kernelspecs with unknown keys. Under filterwarnings = error that would fail the notebook.
    with warnings.catch_warnings(action="ignore"):
        return specs.get_kernel_spec(name)


def _folders(specs: KernelSpecManager) -> Mapping[str, str]:
    """Folders of the kernelspecs by name."""
    with warnings.catch_warnings(action="ignore"):
        folders: Mapping[str, str] = specs.find_kernel_specs()
        return folders


def _startable(specs: KernelSpecManager, language: str | None) -> list[str]:
    """Names of the kernels for a language that can be started; of all such kernels if it is None."""
    return sorted(name for name in _folders(specs) if _fits(specs, name, language))


def _fits(specs: KernelSpecManager, name: str, language: str | None) -> bool:
    try:
        spec = _found(specs, name)
        if _fault(spec):
            return False
        _check(name, spec)
    except (NoSuchKernel, KernelStartError, *_UNUSABLE):
        return False
    return language is None or language_of(spec) == language_key(language)


def spec_manager() -> KernelSpecManager:
    """jupyter_client's search in folders that can be read. Raises KernelStartError."""
    with warnings.catch_warnings(action="ignore"):
        return KernelSpecManager(log=_SILENT, kernel_dirs=kernel_folders())


def _unreadable(name: str, why: str, language: str | None) -> str:
    return _sentence(
        f"the kernelspec of {name!r} cannot be read: {why}",
        installation(name, language, it="it again"),
    )


def _sentence(*clauses: str) -> str:
    return "; ".join(filter(None, clauses))


def _fault(spec: KernelSpec) -> str | None:
    """Check the parts that Jupyter itself does not check."""
    if not all(isinstance(word, str) for word in spec.argv):
        return "argv is not a list of strings"
    if not all(isinstance(text, str) for text in spec.env.values()):
        return "env has values that are not strings"
    if not isinstance(spec.metadata.get("kernel_provisioner", {}), dict):
        return "metadata.kernel_provisioner is not an object"
    return None


def _check(name: str, spec: KernelSpec) -> None:
    provisioner = spec.metadata.get("kernel_provisioner", {}).get("provisioner_name", _LOCAL)
    if provisioner != _LOCAL:
        raise KernelStartError(_elsewhere(name, f"the provisioner {provisioner!r}"))
    if not spec.argv:
        raise KernelStartError(
            f"the kernelspec of {name!r} in {spec.resource_dir} has an empty argv"
        )
    if executable_of(spec.argv[0]) is None:
        raise KernelStartError(
            _sentence(
                f"kernel {name!r} ({spec.resource_dir}) starts {spec.argv[0]!r}, which is missing or not executable",
                installation(name, spec.language, it="it again"),
            )
        )


def executable_of(command: str) -> str | None:
    """The program that a kernelspec's first word starts; None if there is none."""
    if command in {
        "python",
        f"python{sys.version_info[0]}",
        "python{}.{}".format(*sys.version_info),
    }:
        return sys.executable  # as jupyter_client does
    if "{" in command:
        return command  # a template that only the start can fill in
    return shutil.which(os.path.expanduser(command))  # noqa: PTH111  as a string: "x" is not "./x"


def _missing(name: str, specs: KernelSpecManager, language: str | None) -> str:
    installed = _folders(specs)
    if canonical_name(name) in installed:  # Jupyter passes over kernels whose provisioner it lacks
        return _elsewhere(name, "a provisioner that is not installed")
    fitting = _startable(specs, language)
    return _sentence(
        f"no kernel named {name!r} is installed (installed: {listed(installed)})",
        ", or ".join(filter(None, [_choice(fitting, installed), installation(name, language)])),
    )


def _choice(fitting: Sequence[str], installed: Mapping[str, str]) -> str:
    if not fitting:
        return ""
    if len(fitting) == 1:
        return f"choose {fitting[0]} with --experiment-kernel"
    which = "them" if len(fitting) == len(installed) else listed(fitting)
    return f"choose one of {which} with --experiment-kernel"


def _elsewhere(name: str, provisioner: str) -> str:
    return (
        f"kernel {name!r} asks for {provisioner}, but experiments start kernels only on this machine; "
        "choose another with --experiment-kernel"
    )
