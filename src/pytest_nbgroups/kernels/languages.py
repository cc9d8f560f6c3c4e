"""Languages of notebooks and kernels, and the commands that install their kernels. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

PYTHON = "python"

# Jupyter refuses to install kernels with other names, such as "Python [Root]".
_NAMES_THAT_JUPYTER_TAKES = re.compile(r"[a-z0-9._-]+", re.IGNORECASE)
_PYTHON_2 = re.compile(r"python-?2")
_VERSION = re.compile(r"[\s\d.]+$")


@dataclass(frozen=True, kw_only=True)
class _Language:
    """A language whose kernel has a usual name and a usual way to install it."""

    names: tuple[str, ...]
    kernels: tuple[str, ...]
    """Usual names of its kernels, without a version."""
    installs: str
    """The kernel that the command installs; "" if its name depends on a version."""
    command: str


_LANGUAGES = (
    _Language(
        names=("bash",),
        kernels=("bash",),
        installs="bash",
        command="pip install bash_kernel && python -m bash_kernel.install",
    ),
    _Language(
        names=("r",), kernels=("ir", "r"), installs="ir", command="R -e 'IRkernel::installspec()'"
    ),
    _Language(
        names=("julia",),
        kernels=("julia",),
        installs="",
        command="julia -e 'using IJulia; installkernel(\"Julia\")'",
    ),
    _Language(
        names=("typescript", "javascript"),
        kernels=("deno",),
        installs="deno",
        command="deno jupyter --install",
    ),
    _Language(
        names=("octave",),
        kernels=("octave",),
        installs="octave",
        command="pip install octave_kernel",
    ),
)


def language_key(spoken: str) -> str:
    """Give one spelling to ``R`` and ``r``, ``C++`` and ``C++17``, ``Python 3`` and ``ipython``."""
    key = _VERSION.sub("", spoken.strip().lower())
    return PYTHON if key in {"ipython", "py"} else key


def language_named_by(kernel: str) -> str | None:
    """The language for which a kernel of this name usually is: ``ir`` is for R; None if unknown."""
    stem = kernel.lower().partition("-")[0]  # "julia-1.11"
    return next((each.names[0] for each in _LANGUAGES if stem in each.kernels), None)


def installation(kernel: str, language: str | None, *, it: str = "it") -> str:
    """Return how to install a kernel of this name for a language, as a clause; "" if it could not have that name."""
    spoken = language_key(language) if language else language_named_by(kernel) or PYTHON
    if spoken == PYTHON:
        return _of_python(kernel, it)
    known = _known(spoken)
    if known is None:
        return f"install {it} as its documentation says"
    if known.installs == kernel.lower():
        return f"install {it} with: {known.command}"
    return f"install another for {language or spoken} with: {known.command}, and choose that with --experiment-kernel"


def _of_python(kernel: str, it: str) -> str:
    if not _NAMES_THAT_JUPYTER_TAKES.fullmatch(kernel) or _PYTHON_2.match(kernel.lower()):
        return ""
    return f"install {it} with: python -m ipykernel install --user --name {shlex.quote(kernel)}"


def installation_for(language: str) -> str:
    """Return how to install some kernel for a language, as a clause; a general one if no command is known."""
    known = _known(language_key(language))
    return f"install one with: {known.command}" if known else f"install a kernel for {language}"


def _known(key: str) -> _Language | None:
    return next((each for each in _LANGUAGES if key in each.names), None)


def listed(kernels: Iterable[str]) -> str:
    """Names of kernels as a message shows them."""
    return ", ".join(sorted(kernels)) or "none"
