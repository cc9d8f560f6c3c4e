"""Languages, and the commands that install their kernels."""

from __future__ import annotations

import pytest

from pytest_nbgroups.kernels.languages import (
    installation,
    installation_for,
    language_key,
    language_named_by,
)


@pytest.mark.parametrize(
    ("spoken", "key"),
    [
        ("R", "r"),
        ("C++17", "c++"),
        ("Python 3", "python"),
        ("ipython", "python"),
        ("python3.11", "python"),
        ("", ""),
    ],
)
def test_one_spelling(spoken: str, key: str) -> None:
    """Notebooks and kernelspecs spell one language in several ways."""
    assert language_key(spoken) == key


@pytest.mark.parametrize(
    ("kernel", "language"),
    [("ir", "r"), ("R", "r"), ("julia-1.11", "julia"), ("iris", None), ("python3", None)],
)
def test_the_language_that_a_name_stands_for(kernel: str, language: str | None) -> None:
    """A notebook may name a kernel that is not installed, and no language."""
    assert language_named_by(kernel) == language


@pytest.mark.parametrize(
    ("kernel", "language", "clause"),
    [
        ("bash", None, "install it with: pip install bash_kernel && python -m bash_kernel.install"),
        ("ir", "R", "install it with: R -e 'IRkernel::installspec()'"),
        (
            "r",
            None,
            "install another for r with: R -e 'IRkernel::installspec()', and choose that with --experiment-kernel",
        ),
        (
            "julia-1.9",
            "julia",
            (
                "install another for julia with: julia -e 'using IJulia; installkernel(\"Julia\")', "
                "and choose that with --experiment-kernel"
            ),
        ),
        ("research", None, "install it with: python -m ipykernel install --user --name research"),
        ("iris", "python", "install it with: python -m ipykernel install --user --name iris"),
        ("gophernotes", "go", "install it as its documentation says"),
        ("Python [Root]", "python", ""),
        ("python2", "python", ""),
    ],
)
def test_the_remedy_fits_the_kernel(kernel: str, language: str | None, clause: str) -> None:
    """It makes a kernel of this name and language, or says that it makes another one; "" if there is none."""
    assert installation(kernel, language) == clause


def test_a_remedy_for_what_is_broken() -> None:
    """The kernel is there already."""
    clause = installation("mine", "python", it="it again")
    assert clause == "install it again with: python -m ipykernel install --user --name mine"


def test_a_remedy_for_a_language() -> None:
    """A command if one is known."""
    assert installation_for("R") == "install one with: R -e 'IRkernel::installspec()'"
    assert installation_for("Go") == "install a kernel for Go"
