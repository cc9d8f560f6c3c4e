"""The one runner of the checks. Bare ``nox`` is the gate: lint, types, tests and docs."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
SCHEMA = Path("src/pytest_nbgroups/experiment.schema.json")
WORKFLOWS = [
    str(path)
    for folder in (".github/workflows", "examples/github")
    for path in sorted(Path(folder).glob("*.yml"))
]
PRINT_SCHEMA = """
import json
from pytest_nbgroups.declarations.keys import json_schema
print(json.dumps(json_schema(), indent=2))
"""
PYTEST_MAIN = "pytest @ git+https://github.com/pytest-dev/pytest.git@main"


def group(name: str) -> list[str]:
    """The requirements of a dependency group, so that any pip can install them."""
    return nox.project.dependency_groups(PROJECT, name)


def package() -> list[str]:
    """What to install and test: the wheel that NBGROUPS_WHEEL names, else the working tree."""
    wheel = os.environ.get("NBGROUPS_WHEEL")
    return [wheel] if wheel else ["-e", "."]


@nox.session
def lint(session: nox.Session) -> None:
    """Check rules, format, import contracts and workflows."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", env={"PYTHONPATH": "src"})
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".", *group("types"))
    session.run("mypy", *session.posargs)
    # By itself: some of its programs are named as one in tests/system is.
    session.run("mypy", "benchmarks", env={"MYPYPATH": "benchmarks"})


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after ``--`` go to pytest."""
    session.install(*package(), *group("tests"))
    session.run("pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; every warning and dangling reference is an error."""
    session.install("-e", ".", *group("docs"))
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "-q", "docs", "docs/_build/html")


@nox.session(default=False)
def outputs(session: nox.Session) -> None:
    """Run the commands in README and docs and compare; ``nox -s outputs -- --write`` updates them."""
    session.install(*package(), *group("examples"))
    session.run("python", "tests/documents/documents.py", *session.posargs)


@nox.session(default=False)
def large_tree(session: nox.Session) -> None:
    """Run thirty experiments of up to twelve notebooks in six ways, and check the order of all."""
    session.install("-e", ".", *group("tests"))
    session.run("pytest", "-v", "tests/system/large_tree.py", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Feed what is read from outside with many inputs; ``nox -s fuzz -- --help`` shows how to use fewer."""
    session.install("-e", ".", *group("tests"))
    session.run("python", "tests/fuzz/fuzz.py", *session.posargs)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Change the packages that only decide, one place at a time, and list the changes no test sees.

    Twenty to sixty minutes on one core. ``nox -s mutation -- 'pytest_nbgroups.scheduling.families*'``
    takes one module; ``mutmut show NAME`` shows a change.
    """
    session.install("-e", ".", *group("tests"), "mutmut>=3.8")
    session.run("mutmut", "run", "--max-children", "1", *session.posargs)
    session.run("mutmut", "results")


@nox.session(default=False)
def compatibility(session: nox.Session) -> None:
    """Run experiments beside other plugins, with the lowest and the newest pytest; print a table."""
    session.install("uv")
    folder = Path(session.create_tmp()).parent / "worlds"
    program = ("tests/compatibility/compatibility.py", "--folder", str(folder))
    session.run("python", *program, *session.posargs)


@nox.session(default=False)
def speed(session: nox.Session) -> None:
    """Measure what this plugin and others take; ``nox -s speed -- --write`` puts it into the docs."""
    session.install(".", "-r", "benchmarks/requirements.txt")
    session.run("python", "benchmarks/speed.py", *session.posargs)


@nox.session(default=False)
def large_outputs(session: nox.Session) -> None:
    """Run cells that print 200 MB, and one that prints for a minute."""
    session.install("-e", ".", *group("tests"))
    session.run("pytest", "-v", "tests/system/large_outputs.py", *session.posargs)


@nox.session(default=False)
def kill_matrix(session: nox.Session) -> None:
    """End sessions in every way beside every state of a kernel, and print what is left of them."""
    session.install(*package(), *group("tests"))
    session.run("pytest", "-v", "tests/system/kill_matrix.py", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run the tests and list the lines and branches they miss."""
    session.install("-e", ".", *group("tests"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(default=False, venv_backend="uv")
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml declares."""
    session.install("--resolution", "lowest-direct", *package(), *group("tests"))
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def tests_pytest_main(session: nox.Session) -> None:
    """Run the tests with pytest's main branch."""
    session.install(*package(), *group("tests"))
    session.install("--upgrade", PYTEST_MAIN)
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def tests_without_xdist(session: nox.Session) -> None:
    """Run the tests where pytest-xdist is not installed; those that need it skip themselves."""
    session.install(*package(), *group("tests"))
    session.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", "pytest-xdist")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def schema(session: nox.Session) -> None:
    """Write the JSON schema of experiment.toml that the package ships."""
    session.install("-e", ".")
    text = session.run("python", "-c", PRINT_SCHEMA, silent=True)
    SCHEMA.write_text("\n".join([*text.splitlines(), ""]), encoding="utf-8", newline="\n")


@nox.session(default=False)
def changelog(session: nox.Session) -> None:
    """Show the next release's notes; ``nox -s changelog -- 1.2.0`` moves them to CHANGELOG.md."""
    session.install("towncrier>=24.8")
    which = (
        ["--yes", "--version", *session.posargs]
        if session.posargs
        else ["--draft", "--version", "next"]
    )
    session.run("towncrier", "build", *which)
