"""JSON schemas of what `plain` makes of dataclasses, described by the docstrings of their fields.

One text then serves the reader of the source, of the API's page and of the schema's page.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pytest_nbgroups.core.codec import JSON_TYPES, Bounds

JsonSchema: TypeAlias = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Without:
    """In ``Annotated``, the fields of a dataclass that a document leaves out."""

    names: tuple[str, ...]


def json_schema(cls: type, without: Collection[str] = ()) -> JsonSchema:
    """Return the schema of a dataclass, all of whose fields are written and so required."""
    hints = typing.get_type_hints(cls, include_extras=True)
    texts = _field_texts(cls)
    properties = {
        field.name: {**_schema(hints[field.name]), **texts.get(field.name, {})}
        for field in dataclasses.fields(cls)
        if field.name not in without
    }
    about = _as_json(inspect.getdoc(cls) or "")
    return {
        "description": about,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _schema(hint: Any) -> JsonSchema:  # noqa: ANN401  an annotation
    if dataclasses.is_dataclass(hint):
        return json_schema(typing.cast("type", hint))
    if make := _COMPOSED.get(typing.get_origin(hint)):
        return make(*typing.get_args(hint))
    if issubclass(hint, Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    return {"type": JSON_TYPES[hint]}


def _annotated(hint: Any, note: Bounds | Without) -> JsonSchema:  # noqa: ANN401
    if isinstance(note, Without):
        return json_schema(hint, note.names)
    schema = _schema(hint)
    return {**schema, "minimum": note.least, "exclusiveMaximum": note.below}


def _literal(*choices: str | int) -> JsonSchema:
    choice = {"enum": list(choices)} if choices[1:] else {"const": choices[0]}
    return {"type": JSON_TYPES[type(choices[0])], **choice}


def _array(item: object, _ellipsis: object) -> JsonSchema:
    return {"type": "array", "items": _schema(item)}


def _or_null(kind: object, _none: object) -> JsonSchema:
    schema = _schema(kind)
    return {**schema, "type": [schema["type"], "null"]}


_COMPOSED: Mapping[Any, Callable[..., JsonSchema]] = {
    Annotated: _annotated,
    Literal: _literal,
    tuple: _array,
    types.UnionType: _or_null,
    typing.Union: _or_null,
}


@cache
def _field_texts(cls: type) -> dict[str, JsonSchema]:
    """Return the description of each field with a docstring, of the class itself and not of its bases."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError):  # a packed application may lack the source
        return {}
    texts: dict[str, JsonSchema] = {}
    for field, text in pairwise(typing.cast("ast.ClassDef", tree).body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(docstring))),
            ):
                texts[name] = {"description": _as_json(docstring)}
    return texts


def _as_json(text: str) -> str:
    """Render a docstring in one line, with ``null`` for None and Markdown's quotes."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split())).replace("``", "`")
