"""Installed kernels, and what to do about those that are not."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import PurePath

from jupyter_client.kernelspec import (
    KernelSpec,
    KernelSpecManager,
    NoSuchKernel,
)
from traitlets import TraitError

from pytest_nbgroups.errors import KernelStartError

_LOCAL = "local-provisioner"
_IPYKERNEL_MODULES = ("ipykernel", "ipykernel_launcher")
_INSTALLATIONS = {
    "bash": "pip install bash_kernel && python -m bash_kernel.install",
    "ir": "R -e 'IRkernel::installspec()'",
    "julia": "julia -e 'using IJulia; installkernel(\"Julia\")'",
    "deno": "deno jupyter --install",
}


def find_kernel_spec(name: str) -> KernelSpec:
    """Look a kernel up as Jupyter does.

    Raises KernelStartError, with the installed ones and the remedy, where it is missing, unreadable, cannot be
    started on this machine or asks to be started in another way than locally.
    """
    specs = KernelSpecManager()
    try:
        spec = specs.get_kernel_spec(name)
    except NoSuchKernel as exc:
        raise KernelStartError(_missing(name, specs.find_kernel_specs())) from exc
    except (OSError, ValueError, TypeError, TraitError) as exc:
        raise KernelStartError(_unreadable(name, str(exc))) from exc
    if fault := _fault(spec):
        raise KernelStartError(_unreadable(name, f"{fault} ({spec.resource_dir})"))
    _check(name, spec)
    return spec


def _unreadable(name: str, why: str) -> str:
    return f"the kernelspec of {name!r} cannot be read: {why}; install it again with: {installation(name)}"


def _fault(spec: KernelSpec) -> str | None:
    """What Jupyter itself does not check."""
    if not all(isinstance(word, str) for word in spec.argv):
        return "argv is no list of texts"
    if not all(isinstance(text, str) for text in spec.env.values()):
        return "env has values that are no texts"
    if not isinstance(spec.metadata.get("kernel_provisioner", {}), dict):
        return "metadata.kernel_provisioner is no object"
    return None


def installation(name: str) -> str:
    """The command that usually installs a kernel of this name."""
    usual = f"python -m ipykernel install --user --name {shlex.quote(name)}"
    return _INSTALLATIONS.get(name.lower().partition("-")[0], usual)  # "julia-1.11"


def runs_ipykernel(argv: Sequence[str]) -> bool:
    """Whether a Python on this machine runs ipykernel; not so under docker, ssh and their like."""
    return runs_python(argv) and any(
        flag == "-m" and module in _IPYKERNEL_MODULES for flag, module in pairwise(argv)
    )


def runs_python(argv: Sequence[str]) -> bool:
    """Whether it is a program in Python: kernels in it, of whatever language, are built on ipykernel."""
    return bool(argv) and PurePath(argv[0]).name.lower().startswith(("python", "pypy"))


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
            f"kernel {name!r} ({spec.resource_dir}) starts {spec.argv[0]!r}, which is not there or not executable; "
            f"install it again with: {installation(name)}"
        )


def executable_of(command: str) -> str | None:
    """The program that a kernelspec's first word starts; None where there is none."""
    if command in {
        "python",
        f"python{sys.version_info[0]}",
        "python{}.{}".format(*sys.version_info),
    }:
        return sys.executable  # as jupyter_client does
    if "{" in command:
        return command  # a template that only the start can fill in
    return shutil.which(os.path.expanduser(command))  # noqa: PTH111  as a string: "x" is not "./x"


def _missing(name: str, folders: Mapping[str, str]) -> str:
    if name.lower() in folders:  # Jupyter passes over what it has no provisioner for
        return _elsewhere(name, "a provisioner that is not installed")
    installed = ", ".join(sorted(folders)) or "none"
    return (
        f"no kernel named {name!r} is installed (installed: {installed}); "
        f"choose one of them with --experiment-kernel, or install it with: {installation(name)}"
    )


def _elsewhere(name: str, provisioner: str) -> str:
    return (
        f"kernel {name!r} asks for {provisioner}, but kernels are started on this machine; "
        "choose another with --experiment-kernel"
    )
