"""Declarations for experiments: read, checked and combined. Pure: parsed TOML in, values out."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.declarations.keys import KEYS, TABLES, Table
from pytest_nbgroups.declarations.rules import contradictions

_WHOLE_GPUS = {"gpus", "gpu_min_memory"}
_GPU_SHARE = {"gpu_memory"}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The ``[run]`` table; ``None`` means undeclared, times are in seconds."""

    order: tuple[str, ...] | None = None
    exclude: Mapping[str, str] = field(default_factory=dict)
    independent: bool = False
    kernel: str | None = None
    timeout: float | None = None
    notebook_timeout: float | None = None
    cell_timeout: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    outputs: tuple[str, ...] | None = None
    requires: tuple[str, ...] = ()
    skip: str | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NotebookOptions:
    """One ``[notebooks."<file>"]`` table; ``None`` means undeclared, times are in seconds."""

    skip: str | None = None
    kernel: str | None = None
    timeout: float | None = None
    cell_timeout: float | None = None
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """Declared values, read and checked: absent keys are not in the mappings."""

    resources_table: Mapping[str, Any] = field(default_factory=dict)
    run_table: Mapping[str, Any] = field(default_factory=dict)
    notebook_tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def resources(self) -> Resources:
        return Resources(**self.resources_table)

    @property
    def run(self) -> RunOptions:
        return RunOptions(**self.run_table)

    def notebook(self, name: str) -> NotebookOptions:
        """Options of the notebook with this file name."""
        return NotebookOptions(**self.notebook_tables.get(name, {}))

    def over(self, lower: Declaration) -> Declaration:
        """Combine with a declaration of lower precedence; ``exclude`` and ``env`` are joined."""
        names = dict.fromkeys([*lower.notebook_tables, *self.notebook_tables])
        return Declaration(
            resources_table=_over(
                self.resources_table,
                _without_other_gpus(lower.resources_table, self.resources_table),
            ),
            run_table=_over(self.run_table, lower.run_table),
            notebook_tables={
                n: _over(self.notebook_tables.get(n, {}), lower.notebook_tables.get(n, {}))
                for n in names
            },
        )


def _without_other_gpus(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Mapping[str, Any]:
    # Whole GPUs and a share exclude each other: the upper declaration decides for the lower one.
    dropped: set[str] = set()
    if _GPU_SHARE & upper.keys():
        dropped = _WHOLE_GPUS
    elif _WHOLE_GPUS & upper.keys():
        dropped = _GPU_SHARE
    return {key: value for key, value in lower.items() if key not in dropped}


def _over(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    joined = {
        key: {**lower[key], **value}
        for key, value in upper.items()
        if isinstance(value, dict) and key in lower
    }
    return {**lower, **upper, **joined}


def read_declaration(data: Mapping[str, object], *, source: str, prefix: str = "") -> Declaration:
    """Check parsed TOML against the table.

    ``source`` names the file and ``prefix`` the enclosing table, written as in TOML, in messages.
    Raises DeclarationError that lists every fault with its place, the value and the accepted values.
    """
    faults: list[str] = []
    tables = {name: _table(data, name, prefix, faults) for name in TABLES}
    faults += _unknown(data, TABLES, _join(prefix), what="table")
    resources = _keys("resources", tables["resources"], _join(prefix, "resources"), faults)
    run = _keys("run", tables["run"], _join(prefix, "run"), faults)
    notebooks = {
        name: _keys("notebooks", table, _join(prefix, "notebooks", name), faults)
        for name, table in _notebook_tables(tables["notebooks"], prefix, faults)
    }
    where = _join(prefix, "resources")
    faults += (f"[{where}] {text}" for text in contradictions(resources))
    if faults:
        raise DeclarationError("\n".join(f"{source}: {fault}" for fault in faults))
    return Declaration(resources_table=resources, run_table=run, notebook_tables=notebooks)


def changed_resources(declared: Resources, changed: Resources, *, source: str) -> Resources:
    """Check values that code has changed as if a file above the declared ones had them.

    Sizes may be texts. ``source`` names the code. Raises DeclarationError.
    """
    now = declaration_of(changed).resources_table
    # By identity, as below.
    new = {key: _as_toml(v) for key, v in now.items() if v is not getattr(declared, key)}
    kept = Declaration(resources_table={key: v for key, v in now.items() if key not in new})
    return read_declaration({"resources": new}, source=source).over(kept).resources


def declaration_of(resources: Resources) -> Declaration:
    """Return the declaration that gives these resources: without values that are the default."""
    unset = Resources()
    values = {each.name: getattr(resources, each.name) for each in fields(Resources)}
    # By identity: a hook can return anything, also what cannot be compared.
    set_values = {key: value for key, value in values.items() if value is not getattr(unset, key)}
    return Declaration(resources_table=set_values)


def _as_toml(value: object) -> object:
    if isinstance(value, Size):
        return value.declared or value.bytes
    return list(value) if isinstance(value, tuple) else value


def _table(
    data: Mapping[str, object], name: str, prefix: str, faults: list[str]
) -> Mapping[str, object]:
    value = data.get(name, {})
    if isinstance(value, Mapping):
        return value
    faults.append(f"{name} = {_echo(value)}: expected a table, written [{_join(prefix, name)}]")
    return {}


def _notebook_tables(
    tables: Mapping[str, object], prefix: str, faults: list[str]
) -> Iterable[tuple[str, Mapping[str, object]]]:
    for name, table in tables.items():
        if isinstance(table, Mapping):
            yield name, table
        else:
            faults.append(
                f"[{_join(prefix, 'notebooks')}] {_quoted(name)} = {_echo(table)}: expected a table for each "
                f'notebook, written [{_join(prefix, "notebooks")}."<file name>"]'
            )


def _keys(
    table: Table, data: Mapping[str, object], where: str, faults: list[str]
) -> dict[str, Any]:
    known = {key.name: key for key in KEYS if key.table == table}
    faults += _unknown(data, known, where, what="key")
    read: dict[str, Any] = {}
    for name, value in data.items():
        if name in known:
            try:
                read[name] = known[name].kind.read(value)
            except ValueError as exc:
                faults.append(f"[{where}] {name} = {_echo(value)}: {exc}")
    return read


def _unknown(
    data: Mapping[str, object], known: Iterable[str], where: str, *, what: str
) -> Iterable[str]:
    accepted = sorted(known)
    for name in data:
        if name not in accepted:
            close = difflib.get_close_matches(name, accepted, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            place = f"[{where}] " if where else ""
            yield f"{place}{_quoted(name)}: unknown {what}; {hint}accepted are {', '.join(accepted)}"


def _join(prefix: str, *names: str) -> str:
    return ".".join([*filter(None, [prefix]), *map(_quoted, names)])


def _quoted(name: str) -> str:
    """Return a key as TOML writes it."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", name)
    return name if bare else json.dumps(name, ensure_ascii=False)


def _echo(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # thousands of digits or of brackets
        return "..."
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  one line of a message


def read_patterns(tool_table: object, *, source: str) -> dict[str, Declaration]:
    """Read ``[tool.nbgroups]`` of pyproject.toml: name pattern -> declaration.

    Raises DeclarationError as `read_declaration` does.
    """
    if not isinstance(tool_table, Mapping):
        raise DeclarationError(f"{source}: tool.nbgroups = {_echo(tool_table)}: expected a table")
    faults = list(_unknown(tool_table, ["experiments"], "tool.nbgroups", what="key"))
    if faults:
        raise DeclarationError("\n".join(f"{source}: {fault}" for fault in faults))
    patterns = tool_table.get("experiments", {})
    if not isinstance(patterns, Mapping) or not all(
        isinstance(t, Mapping) for t in patterns.values()
    ):
        raise DeclarationError(
            f'{source}: [tool.nbgroups.experiments]: expected tables written [tool.nbgroups.experiments."<pattern>".run]'
        )
    return {
        pattern: read_declaration(
            table,
            source=source,
            prefix=f"tool.nbgroups.experiments.{json.dumps(pattern, ensure_ascii=False)}",
        )
        for pattern, table in patterns.items()
    }


def specificity(pattern: str) -> tuple[bool, int]:
    """Return the sort key of a pattern: by the number of fixed characters, exact names last."""
    return not re.search(r"[*?\[]", pattern), len(re.sub(r"\[[^\]]*\]|[*?]", "", pattern))
