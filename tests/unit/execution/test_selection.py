"""Which kernel a notebook runs in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nbformat import from_dict  # noqa: TID253

from pytest_nbgroups.errors import KernelStartError
from pytest_nbgroups.execution import selection
from pytest_nbgroups.execution.selection import choose_kernel
from pytest_nbgroups.settings import Settings

INSTALLED = {"python3": "python", "research": "Python", "ir": "R", "bash": "bash"}


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> SimpleNamespace:
        if name not in INSTALLED:
            raise KernelStartError(f"no kernel named {name!r} is installed")
        return SimpleNamespace(language=INSTALLED[name])

    monkeypatch.setattr(selection, "find_kernel_spec", find)


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
        ("declared", None, "research", "declared"),
        ("declared", "research", None, "research"),
        ("declared", "ir", None, "declared"),
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
        ({"kernelspec": {"name": "gone"}, "language_info": {"name": "R"}}, "gone"),
        ({"kernelspec": {"name": "gone", "language": "Python"}}, "research"),
        ({"language_info": {"name": "bash"}}, "python3"),
    ],
)
def test_a_general_kernel_is_for_its_language(metadata: Mapping[str, Any], kernel: str) -> None:
    """It is told from what the notebook says, else from its kernel, else it is Python."""
    assert choose(metadata, option="research") == kernel


def test_a_general_kernel_must_be_installed() -> None:
    """Else its absence would go unnoticed."""
    with pytest.raises(KernelStartError, match="no kernel named 'typo' is installed"):
        choose(R, option="typo")
