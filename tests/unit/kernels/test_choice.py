"""Which kernel a notebook runs in."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from nbformat import from_dict  # noqa: TID253

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.kernels.choice import choose_kernel, unused_option

INSTALLED = {"python3": "python", "research": "Python", "ir": "R", "bash": "bash"}
TWO_FOR_R = {"python3": "python", "ir": "R", "ir-4.4": "R"}


@pytest.fixture(autouse=True)
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Installs kernels, name -> language, where only this test finds them; in the beginning INSTALLED."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    def write(kernels: Mapping[str, str]) -> None:
        shutil.rmtree(tmp_path / "kernels", ignore_errors=True)
        for name, language in kernels.items():
            folder = tmp_path / "kernels" / name
            folder.mkdir(parents=True)
            spec = {"argv": [sys.executable], "display_name": name, "language": language}
            (folder / "kernel.json").write_text(json.dumps(spec))

    write(INSTALLED)
    return write


def choose(
    metadata: Mapping[str, Any],
    declared: str | None = None,
    *,
    option: str | None = None,
    ini: str | None = None,
) -> str:
    """Choose for a notebook with these metadata."""
    notebook = from_dict({"metadata": metadata, "cells": []})
    settings = Settings(rootdir=Path(), artifacts=Path(), option_kernel=option, ini_kernel=ini)
    return choose_kernel(notebook, declared, settings)


R = {"kernelspec": {"name": "ir", "language": "R"}}
PYTHON = {"kernelspec": {"name": "python3", "language": "python"}}


@pytest.mark.parametrize(
    ("declared", "option", "ini", "kernel"),
    [
        (None, None, None, "python3"),
        (None, None, "research", "research"),
        ("bash", None, "research", "bash"),
        ("bash", "research", None, "research"),
        ("bash", "ir", None, "bash"),
        (None, "ir", "bash", "python3"),
    ],
)
def test_precedence(declared: str | None, option: str | None, ini: str | None, kernel: str) -> None:
    """Command line, declaration, ini file, notebook; the general ones for their language alone."""
    assert choose(PYTHON, declared, option=option, ini=ini) == kernel


@pytest.mark.parametrize(
    ("metadata", "kernel"),
    [
        ({}, "research"),
        (PYTHON, "research"),
        (R, "ir"),
        ({"kernelspec": {"name": "ir"}}, "ir"),
        ({"kernelspec": {"name": "gone"}}, "research"),
        ({"kernelspec": {"name": "gone", "language": "Python"}}, "research"),
        ({"kernelspec": {"name": "gone"}, "language_info": {"name": "ipython"}}, "research"),
        ({"language_info": {"name": "bash"}}, "bash"),
    ],
)
def test_a_general_kernel_is_for_its_language(metadata: Mapping[str, Any], kernel: str) -> None:
    """It is told from what the notebook says, else from its kernel, else it is Python."""
    assert choose(metadata, option="research") == kernel


def test_a_general_kernel_must_be_installed() -> None:
    """Else its absence would go unnoticed."""
    with pytest.raises(KernelStartError, match="no kernel named 'typo' is installed"):
        choose(R, option="typo")


@pytest.mark.parametrize(
    "metadata",
    [
        {"language_info": {"name": "R"}},
        {"kernelspec": {"language": "R", "display_name": "R"}},
        {"kernelspec": {"name": "", "language": "R"}},
    ],
)
def test_a_language_without_a_kernel(
    install: Callable[[Mapping[str, str]], None], metadata: Mapping[str, Any]
) -> None:
    """Gets the one kernel for it; several, or none, are an error with the remedy. It never runs as Python."""
    assert choose(metadata) == "ir"
    assert choose(metadata, "bash") == "bash"
    install(TWO_FOR_R)
    assert choose(metadata, option="ir-4.4") == "ir-4.4"
    assert choose(metadata, ini="ir") == "ir"
    with pytest.raises(KernelStartError) as caught:
        choose(metadata)
    assert str(caught.value).endswith(
        "names no kernel, and several for R are installed; "
        "choose one of ir, ir-4.4 with --experiment-kernel, or with kernel in experiment.toml"
    )
    install({"python3": "python"})
    with pytest.raises(KernelStartError) as caught:
        choose(metadata, option="python3")
    assert str(caught.value).startswith(
        "the notebook is in R and names no kernel, and no kernel for R is installed (installed: python3); "
        "install one with: R -e 'IRkernel::installspec()'; --experiment-kernel python3 is for python, "
    )


def test_a_missing_kernel_of_another_language() -> None:
    """Says that the kernel of the command line was not used, and names what can be chosen."""
    gone = {"kernelspec": {"name": "ir-3.6", "language": "R"}}
    with pytest.raises(KernelStartError) as caught:
        choose(gone, option="research")
    assert str(caught.value) == (
        "no kernel named 'ir-3.6' is installed (installed: bash, ir, python3, research); "
        "choose ir with --experiment-kernel, or install another for R with: R -e 'IRkernel::installspec()', "
        "and choose that with --experiment-kernel; "
        "--experiment-kernel research is for Python, so notebooks in R do not use it"
    )


def test_an_option_that_is_not_used() -> None:
    """Is told of, in one text for all notebooks of a language."""
    settings = Settings(rootdir=Path(), artifacts=Path(), option_kernel="research")
    told = unused_option(from_dict({"metadata": R, "cells": []}), settings)
    assert told == "--experiment-kernel research is for Python, so notebooks in R do not use it"
    assert unused_option(from_dict({"metadata": PYTHON, "cells": []}), settings) is None
    without = Settings(rootdir=Path(), artifacts=Path())
    assert unused_option(from_dict({"metadata": R, "cells": []}), without) is None


def test_the_alias_of_the_native_kernel() -> None:
    """Wherever it is written."""
    assert choose({"kernelspec": {"name": "python"}}) == "python3"
    assert choose(PYTHON, "python") == choose(PYTHON, option="Python") == "python3"
