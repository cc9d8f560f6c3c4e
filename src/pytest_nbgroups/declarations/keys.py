"""The one table of keys that an experiment may declare.

From it come the validation, its messages, the JSON schema and the reference page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, cast

from pytest_nbgroups.core.resources import AUTO_SHARE
from pytest_nbgroups.core.units import (
    DURATION_EXAMPLES,
    DURATION_LIMIT,
    SIZE_EXAMPLES,
    SIZE_LIMIT,
    Size,
    parse_duration,
    parse_size,
)

Table: TypeAlias = Literal["resources", "run", "notebooks"]
JsonSchema: TypeAlias = dict[str, Any]

_REQUIREMENT = re.compile(r"(module|command|env):\S+")
_MARK = re.compile(r"[A-Za-z_]\w*")
_FILES = re.compile(r"[^\u0000]*[^\s\u0000][^\u0000]*")

# Used with `search`, because patterns in JSON schemas are not anchored.
_TEXT = re.compile(r"\S")
_VARIABLE = re.compile(r"^[^=\u0000]+$")
_VALUE = re.compile(r"^[^\u0000]*$")

_NUMBER_LIMIT = 2**31


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of value: its reader (ValueError states the accepted values) and its JSON schema."""

    read: Callable[[object], Any]
    schema: JsonSchema


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of one table."""

    table: Table
    name: str
    kind: Kind
    help: str


def _positive_number(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value < _NUMBER_LIMIT
    ):
        raise ValueError("expected a number above zero, such as 2 or 0.5")
    return float(value)


def _count(value: object) -> int:
    # A boolean is an int for Python.
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("expected a whole number, 0 or more")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _text(value: object, *, meaning: str) -> str:
    if not isinstance(value, str) or not _TEXT.search(value):
        raise ValueError(f"expected {meaning}")
    return value


def _texts(
    value: object, *, meaning: str, pattern: re.Pattern[str] | None = None
) -> tuple[str, ...]:
    good = isinstance(value, list) and all(
        isinstance(item, str) and (pattern.fullmatch(item) if pattern else _TEXT.search(item))
        for item in value
    )
    if not good:
        raise ValueError(f"expected {meaning}")
    return tuple(cast("list[str]", value))


def _mapping(
    value: object, *, meaning: str, names: re.Pattern[str], texts: re.Pattern[str]
) -> dict[str, str]:
    good = isinstance(value, dict) and all(
        names.search(name) and isinstance(text, str) and texts.search(text)
        for name, text in value.items()
    )
    if not good:
        raise ValueError(f"expected {meaning}")
    return dict(cast("dict[str, str]", value))


_SIZE = Kind(
    read=parse_size,
    schema={
        "description": SIZE_EXAMPLES,
        "oneOf": [
            {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": SIZE_LIMIT},
            {
                "type": "string",
                "pattern": r"^\s*(?=[^1-9]*[1-9])[0-9]+(\.[0-9]+)?\s*(([kKmMgGtT][iI]?)?[bB])?\s*$",
            },
        ],
    },
)
_DURATION = Kind(
    read=parse_duration,
    schema={
        "description": DURATION_EXAMPLES,
        "oneOf": [
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": DURATION_LIMIT},
            {
                "type": "string",
                "pattern": r"^\s*(?=[^1-9]*[1-9])([0-9]+(\.[0-9]+)?\s*|([0-9]+(\.[0-9]+)?\s*(ms|sec|s|min|m|h|d)\s*)+)$",
            },
        ],
    },
)


def _share(value: object) -> Size:
    if value == AUTO_SHARE.declared:
        return AUTO_SHARE
    try:
        return parse_size(value)
    except ValueError as exc:
        raise ValueError(f'{exc}; or "{AUTO_SHARE}", for what history shows') from exc


_SHARE = Kind(
    read=_share,
    schema={
        "description": f'{SIZE_EXAMPLES}; or "{AUTO_SHARE}", for what history shows',
        "oneOf": [*_SIZE.schema["oneOf"], {"const": AUTO_SHARE.declared}],
    },
)
_FLAG = Kind(read=_flag, schema={"type": "boolean"})
_NUMBER = Kind(
    read=_positive_number,
    schema={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": _NUMBER_LIMIT},
)
_COUNT = Kind(read=_count, schema={"type": "integer", "minimum": 0})


def _text_kind(meaning: str) -> Kind:
    return Kind(
        read=partial(_text, meaning=meaning), schema={"type": "string", "pattern": _TEXT.pattern}
    )


def _texts_kind(meaning: str, pattern: re.Pattern[str] | None = None) -> Kind:
    searched = f"^{pattern.pattern}$" if pattern else _TEXT.pattern
    return Kind(
        read=partial(_texts, meaning=meaning, pattern=pattern),
        schema={"type": "array", "items": {"type": "string", "pattern": searched}},
    )


def _mapping_kind(meaning: str, *, names: re.Pattern[str], texts: re.Pattern[str]) -> Kind:
    return Kind(
        read=partial(_mapping, meaning=meaning, names=names, texts=texts),
        schema={
            "type": "object",
            "propertyNames": {"pattern": names.pattern},
            "additionalProperties": {"type": "string", "pattern": texts.pattern},
        },
    )


_REASON = _text_kind('the reason as text, such as "needs Docker"')
_KERNEL = _text_kind('a kernel\'s name as `jupyter kernelspec list` shows it, such as "python3"')
_REQUIRES = _texts_kind(
    'a list such as ["module:torch", "command:ffmpeg", "env:HF_TOKEN"]', _REQUIREMENT
)

KEYS: tuple[Key, ...] = (
    Key(table="resources", name="cpus", kind=_NUMBER, help="CPUs it keeps busy. Default 1; more than there are is clamped with a note."),
    Key(table="resources", name="ram", kind=_SIZE, help="Peak memory of its largest notebook, child processes included. Default: what history shows, else slow start."),
    Key(table="resources", name="ram_limit", kind=_FLAG, help="Kill a notebook that takes more than the declared ram. Default false."),
    Key(table="resources", name="gpus", kind=_COUNT, help="Whole GPUs."),
    Key(table="resources", name="gpu_min_memory", kind=_SIZE, help="Memory that each of its GPUs must have free; implies gpus = 1."),
    Key(table="resources", name="gpu_memory", kind=_SHARE, help="A share of one GPU instead of a whole one; implies gpus = 1."),
    Key(table="resources", name="locks", kind=_texts_kind('a list of names, such as ["slicer-data"]'), help="Experiments that name one lock never overlap, across sessions and users too."),
    Key(table="resources", name="exclusive", kind=_FLAG, help="No other experiment on the machine runs beside it."),
    Key(table="run", name="order", kind=_texts_kind('a list of file names, such as ["load.ipynb", "fit.ipynb"]'), help="Every notebook that is not excluded, in the order to run. Default: natural order of *.ipynb."),
    Key(table="run", name="exclude", kind=_mapping_kind('a table of file pattern = reason, such as { "scratch*.ipynb" = "work in progress" }', names=_TEXT, texts=_TEXT), help="Notebooks to leave out: pattern = reason."),
    Key(table="run", name="independent", kind=_FLAG, help="The notebooks are unrelated: each is an experiment of its own, in no order."),
    Key(table="run", name="kernel", kind=_KERNEL, help="Kernel for its notebooks. Default: the one that each notebook names."),
    Key(table="run", name="timeout", kind=_DURATION, help="Deadline of the whole experiment."),
    Key(table="run", name="notebook_timeout", kind=_DURATION, help="Deadline of each notebook."),
    Key(table="run", name="cell_timeout", kind=_DURATION, help="Deadline of each cell."),
    Key(table="run", name="env", kind=_mapping_kind('a table of NAME = "text", such as { OMP_PLACES = "cores" }', names=_VARIABLE, texts=_VALUE), help="Environment variables for its kernels."),
    Key(table="run", name="data", kind=_texts_kind('a list of file patterns, such as ["../../data/Heart/**"]', _FILES), help="Files outside of the directory that its notebooks read, relative to it: `--experiment-resume` reuses nothing once they have changed."),
    Key(table="run", name="outputs", kind=_texts_kind('a list of file patterns, such as ["../data/**"]', _FILES), help="Files outside of the directory that its notebooks write, relative to it: `--experiment-resume` counts them as it counts those in the directory. Default: those that it finds."),
    Key(table="run", name="requires", kind=_REQUIRES, help="What must be there (module:, command:, env:); else it is skipped, naming what is missing."),
    Key(table="run", name="skip", kind=_REASON, help="Skip it, for this reason."),
    Key(table="run", name="marks", kind=_texts_kind('a list of marker names, such as ["slow"]', _MARK), help="pytest markers for its item."),
    Key(table="notebooks", name="skip", kind=_REASON, help="Skip this notebook, for this reason; the later ones still run."),
    Key(table="notebooks", name="kernel", kind=_KERNEL, help="Kernel for this notebook."),
    Key(table="notebooks", name="timeout", kind=_DURATION, help="Deadline of this notebook."),
    Key(table="notebooks", name="cell_timeout", kind=_DURATION, help="Deadline of each of its cells."),
    Key(table="notebooks", name="requires", kind=_REQUIRES, help="As in [run]; else this notebook is skipped."),
)  # fmt: skip

TABLES: tuple[Table, ...] = ("resources", "run", "notebooks")

_SHARE_OF_ONE_GPU: JsonSchema = {
    "gpu_memory": {"properties": {"gpus": {"const": 1}, "gpu_min_memory": False}}
}


def json_schema() -> JsonSchema:
    """Return the JSON schema of experiment.toml, for editors."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "experiment.toml of pytest-nbgroups",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "resources": {**_table_schema("resources"), "dependencies": _SHARE_OF_ONE_GPU},
            "run": _table_schema("run"),
            "notebooks": {"type": "object", "additionalProperties": _table_schema("notebooks")},
        },
    }


def _table_schema(table: Table) -> JsonSchema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            key.name: {
                **key.kind.schema,
                "description": " ".join(
                    filter(None, [key.help, _sentence(key.kind.schema.get("description"))])
                ),
            }
            for key in KEYS
            if key.table == table
        },
    }


def _sentence(text: str | None) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
