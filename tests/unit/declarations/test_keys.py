from __future__ import annotations

import re

import jsonschema
import pytest

from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.declarations.declaration import NotebookOptions, RunOptions
from pytest_nbgroups.declarations.keys import KEYS, TABLES, json_schema


def read(table: str, name: str, value: object) -> object:
    """Read a value as that key's."""
    return next(k for k in KEYS if (k.table, k.name) == (table, name)).kind.read(value)


@pytest.mark.parametrize(
    ("table", "values"),
    [("resources", Resources), ("run", RunOptions), ("notebooks", NotebookOptions)],
)
def test_every_key_has_a_field(table: str, values: type) -> None:
    """What can be declared ends up in a value, and nothing else does."""
    assert {k.name for k in KEYS if k.table == table} == set(values.__dataclass_fields__)  # type: ignore[attr-defined]


def test_keys_are_told_apart() -> None:
    """No key stands twice in a table, and each is explained."""
    assert len({(k.table, k.name) for k in KEYS}) == len(KEYS)
    assert {k.table for k in KEYS} == set(TABLES)
    assert all(k.help.endswith(".") for k in KEYS)


def test_the_schema_is_a_schema() -> None:
    """Editors can load it."""
    jsonschema.Draft7Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    ("table", "name", "value", "expected"),
    [
        ("resources", "cpus", 2, 2.0),
        ("resources", "cpus", 0.5, 0.5),
        ("resources", "gpus", 0, 0),
        ("resources", "exclusive", True, True),
        ("resources", "locks", ["a", "b c"], ("a", "b c")),
        ("run", "order", [], ()),
        ("run", "exclude", {"*": "why"}, {"*": "why"}),
        ("run", "env", {"A": "", "b.c": "x=y"}, {"A": "", "b.c": "x=y"}),
        ("run", "marks", ["slow", "_x1"], ("slow", "_x1")),
        ("run", "data", [" a b/**", "\n."], (" a b/**", "\n.")),
        ("run", "requires", ["module:a.b", "env:X"], ("module:a.b", "env:X")),
        ("notebooks", "skip", " why ", " why "),
        ("notebooks", "timeout", "1h30m", 5400.0),
    ],
)
def test_values_are_read(table: str, name: str, value: object, expected: object) -> None:
    """Lists become tuples, numbers of CPUs floats, durations seconds."""
    assert read(table, name, value) == expected


@pytest.mark.parametrize(
    ("table", "name", "values", "message"),
    [
        (
            "resources", "cpus",
            [0, -1, "2", True, float("nan"), float("inf"), 2**31, 10**400, None, [2]],
            "expected a number above zero, such as 2 or 0.5",
        ),
        ("resources", "gpus", [1.5, 1.0, -1, "1", True], "expected a whole number, 0 or more"),
        ("resources", "exclusive", [1, 0, "true", []], "expected true or false"),
        (
            "resources", "locks", ["a", ["", "a"], [" "], [1], {"a": "b"}, True],
            'expected a list of names, such as ["slicer-data"]',
        ),
        (
            "run", "order", ["a.ipynb", [1], [[]]],
            'expected a list of file names, such as ["load.ipynb", "fit.ipynb"]',
        ),
        (
            "run", "exclude", [["a"], "a", {"a": ""}, {"a": " "}, {"": "why"}, {"a": 1}],
            'expected a table of file pattern = reason, such as { "scratch*.ipynb" = "work in progress" }',
        ),
        (
            "run", "env", [{"A": 1}, {"A": True}, {"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "\0"}, ["A=1"]],
            'expected a table of NAME = "text", such as { OMP_PLACES = "cores" }',
        ),
        (
            "run",
            "data",
            ["a.csv", [""], [" "], ["nul\0"], ["\0"]],
            'expected a list of file patterns, such as ["../../data/Heart/**"]',
        ),
        (
            "run", "marks", ["slow", ["not slow"], ["timeout(5)"], ["1st"], [""]],
            'expected a list of marker names, such as ["slow"]',
        ),
        (
            "run", "requires", ["module:a", ["torch"], ["pip:torch"], ["module:"], ["env:A B"]],
            'expected a list such as ["module:torch", "command:ffmpeg", "env:HF_TOKEN"]',
        ),
        ("run", "skip", [True, "", " ", 1], 'expected the reason as text, such as "needs Docker"'),
        (
            "run", "kernel", ["", 3, ["python3"]],
            'expected a kernel\'s name as `jupyter kernelspec list` shows it, such as "python3"',
        ),
    ],
)  # fmt: skip
def test_bad_values_are_told_what_is_accepted(
    table: str, name: str, values: list[object], message: str
) -> None:
    """Each kind of value says what it takes, with an example."""
    for value in values:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            read(table, name, value)
