# ruff: noqa: INP001  Sphinx loads it from this folder
"""Reference pages made from the tables that the plugin itself is made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pytest_nbgroups.core.units import DURATION_EXAMPLES, SIZE_EXAMPLES
from pytest_nbgroups.declarations.keys import KEYS, JsonSchema, Key, json_schema
from pytest_nbgroups.history.tables import SCHEMA_VERSION, TABLES
from pytest_nbgroups.integration.options.resolve import OPTIONS, Option
from pytest_nbgroups.reports.session_schema import session_schema
from pytest_nbgroups.scheduling.threads import THREAD_VARIABLES

SCHEMA_FILE = "experiment.schema.json"


class _Generated(SphinxDirective):
    """Inserts Markdown lines in place of the directive."""

    def lines(self) -> Iterable[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()))


class Options(_Generated):
    """``options`` gives those of the command line with their ini twins, ``ini`` the keys without option."""

    required_arguments = 1
    _shown: ClassVar = {
        "options": lambda option: option.flag and not option.is_switch,
        "ini": lambda option: not option.flag,
    }

    def lines(self) -> Iterator[str]:
        for option in filter(self._shown[self.arguments[0]], OPTIONS):
            yield from (_option_title(option), f": {option.help}", "")
            yield from (f"  Default: {option.default_text}.{_twin(option)}", "")


def _option_title(option: Option) -> str:
    value = option.metavar or "|".join(option.choices)
    return f"`{option.flag} {value}`" if option.flag else f"`{option.name}`"


def _twin(option: Option) -> str:
    return f" Ini key: `{option.name}`." if option.flag and option.has_ini else ""


class Keys(_Generated):
    """The keys of one table of experiment.toml."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        for key in KEYS:
            if key.table == self.arguments[0]:
                yield from (f"`{key.name}`", f": {_type_of(key)}. {key.help}", "")


def _type_of(key: Key) -> str:
    schema = key.kind.schema
    description = schema.get("description", "")
    if description.startswith((SIZE_EXAMPLES, DURATION_EXAMPLES)):
        unit = "Size" if description.startswith(SIZE_EXAMPLES) else "Duration"
        words = [f"`{json.dumps(each['const'])}`" for each in schema["oneOf"] if "const" in each]
        return " or ".join([unit, *words])
    names = {
        "string": "Text",
        "boolean": "True or false",
        "integer": "Whole number",
        "number": "Number",
        "array": "List of texts",
        "object": "Table of texts",
    }
    return names[schema["type"]]


class SessionSchema(_Generated):
    """The record of a session, from its JSON schema: one list of keys for each kind of object."""

    def lines(self) -> Iterator[str]:
        yield from _object("The document", session_schema())


def _object(title: str, schema: JsonSchema) -> Iterator[str]:
    yield from (f"**{title}.** {schema['description']}", "")
    for name, part in schema["properties"].items():
        text = _type_text(part)
        yield from (f"`{name}`", f": {text[0].upper()}{text[1:]}. {part['description']}", "")
    for name, part in schema["properties"].items():
        element = part.get("items", part)
        if "properties" in element:
            yield from _object(f"`{name}`", element)


def _type_text(schema: JsonSchema) -> str:
    """``array of string``, ``integer or null``, ``one of "a", "b"``."""
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = " or ".join(kinds)
    if "enum" in schema:
        text = "one of " + ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "items" in schema:
        text = text.replace("array", f"array of {_type_text(schema['items'])}", 1)
    return text


class ThreadVariables(_Generated):
    """Variables that limit the threads of libraries."""

    def lines(self) -> Iterator[str]:
        for variable in THREAD_VARIABLES:
            others = " or ".join(f"`{name}`" for name in variable.falls_back_on)
            fallback = f" Falls back on {others}." if others else ""
            yield from (
                f"`{variable.name}`",
                f": {variable.library}. {variable.meaning}{fallback}",
                "",
            )


class HistoryTables(_Generated):
    """The tables of the history: what each is for, and a list of its columns."""

    def lines(self) -> Iterator[str]:
        yield from (f"This is version {SCHEMA_VERSION}.", "")
        for table in TABLES:
            yield from (f"**`{table.name}`.** {table.meaning}", "")
            for column in table.columns:
                yield from (f"`{column.name}`", f": {column.type}. {column.meaning}", "")


def write_json_schema(app: Sphinx, failure: Exception | None) -> None:
    """Publish the schema of experiment.toml beside the pages."""
    if failure is None and app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(exist_ok=True)
        text = json.dumps(json_schema(), indent=2) + "\n"
        (folder / SCHEMA_FILE).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("nbgroups-options", Options)
    app.add_directive("nbgroups-keys", Keys)
    app.add_directive("nbgroups-session-schema", SessionSchema)
    app.add_directive("nbgroups-history-tables", HistoryTables)
    app.add_directive("nbgroups-thread-variables", ThreadVariables)
    app.connect("build-finished", write_json_schema)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
