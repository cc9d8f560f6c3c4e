"""What the fuzzing targets are fed with: good inputs, and the same ones broken in every place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import strategies as st

from pytest_nbgroups.core.resources import Budget

Place: TypeAlias = tuple[Any, ...]

NASTY = "\x00\x1b\x07\x85\x9b\u2028\u202e\u2066\ud800漢é\u0301 ~$#\"'`<>&|\\*[]%:,=/.\n\r\t"
"""Characters that have a meaning somewhere: to a terminal, TOML, Markdown, a shell, GitHub."""

texts = (
    st.text(max_size=30)
    | st.text(alphabet="a1" + NASTY, max_size=30)
    | st.sampled_from(
        ["", "..", "/", "../x", "/etc/passwd", "::error::x", "a" * 300, "9" * 5000, "1e999", "-1"]
    )
)
"""Any text, also one that no file can hold."""

paths = texts.map(lambda text: text.replace("\x00", "").replace("/", "_")[:80])

numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 5e-324, 1.7e308])
)
scalars = st.none() | st.booleans() | numbers | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
"""Whatever JSON can hold, with Infinity and numbers that no float can."""


BUDGET = Budget(
    cpus=2.0, cpus_source="affinity", ram_bytes=2**33, ram_capacity_bytes=2**34, ram_source="x"
)


def written(path: Path, content: bytes) -> Path:
    """The path of a file that has this content now."""
    path.write_bytes(content)
    return path


def places(value: Any, path: Place = ()) -> list[Place]:
    """Paths to everything within a document."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def _put(data: Any, place: Place, change: Callable[[Any, Any], None]) -> None:
    """Change what stands at a place, where an earlier change has left it."""
    *above, last = place
    for key in above:
        try:
            data = data[key]
        except (LookupError, TypeError):
            return
    if isinstance(data, dict) or (
        isinstance(data, list) and isinstance(last, int) and last < len(data)
    ):
        change(data, last)


def _remove(data: Any, last: Any) -> None:
    if isinstance(data, list):
        del data[last]
    else:
        data.pop(last, None)


@st.composite
def mutated(draw: st.DrawFn, documents: Sequence[Any]) -> Any:
    """One of the documents with up to three of its values replaced or removed, or with one more."""
    data = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(places(data)))
        if not place:
            if draw(st.integers(0, 19)) == 0:
                return draw(json_values)
            continue
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "remove":
            _put(data, place, _remove)
            continue
        value = draw(json_values)
        last = draw(texts) if kind == "add" and isinstance(place[-1], str) else place[-1]
        _put(data, (*place[:-1], last), lambda at, key, value=value: at.__setitem__(key, value))  # type: ignore[misc]
    return data


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that are cut, or of which a few are flipped, put in or left out."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
        new = draw(st.binary(min_size=1, max_size=4))
        match kind:
            case "flip":
                content = content[:at] + new + content[at + len(new) :]
            case "cut":
                content = content[:at]
            case "insert":
                content = content[:at] + new + content[at:]
            case _:
                content = content[:at] + content[at + len(new) :]
    return content


@st.composite
def json_files(draw: st.DrawFn, documents: Sequence[Any]) -> bytes:
    """Files of JSON, and such as were: mutated, damaged, in another encoding, as deep as a pit."""
    text = json.dumps(draw(mutated(documents)), ensure_ascii=draw(st.booleans()))
    kind = draw(st.integers(0, 19))
    if kind == 0:
        depth = draw(st.sampled_from([500, 5_000, 100_000]))
        return b'{"nbformat": 4, "cells": ' + b"[" * depth + b"]" * depth + b"}"
    if kind == 1:
        return text.encode("utf-16", "surrogatepass")
    content = text.encode("utf-8", "surrogatepass")
    return draw(damaged(content)) if kind < 8 else content


def _cell(**changes: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "outputs": []}
    return {**cell, "source": "a = 1", **changes}


_OUTPUTS = [
    {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]},
    {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["x"]},
    {
        "output_type": "display_data",
        "data": {"text/plain": "x", "image/png": "aGk="},
        "metadata": {},
    },
    {"output_type": "execute_result", "execution_count": 1, "data": {}, "metadata": {}},
]

NOTEBOOKS: tuple[Any, ...] = (
    {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "language": "python", "display_name": "P"},
            "language_info": {"name": "python", "version": "3"},
        },
        "cells": [
            _cell(metadata={"tags": ["skip-execution"]}, outputs=_OUTPUTS),
            _cell(source=["%time x\n", "import torch"], metadata={"tags": ["raises-exception"]}),
            {"cell_type": "markdown", "id": "b", "metadata": {}, "source": "# x"},
            _cell(source=" \n", id="c"),
            {"cell_type": "raw", "id": "d", "metadata": {"format": "x"}, "source": "raw"},
        ],
    },
    {
        "nbformat": 4,
        "nbformat_minor": 0,
        "metadata": {"widgets": {"application/x": {"state": {}}}},
        "cells": [_cell(outputs=_OUTPUTS), {"cell_type": "markdown", "metadata": {}, "source": []}],
    },
    {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "n"},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 1, "metadata": {}, "source": ["h"]},
                    {
                        "cell_type": "code",
                        "collapsed": False,
                        "input": ["a = 1"],
                        "language": "python",
                        "metadata": {},
                        "prompt_number": 1,
                        "outputs": [
                            {"output_type": "pyout", "prompt_number": 1, "text": ["1"]},
                            {"output_type": "stream", "stream": "stdout", "text": ["x"]},
                            {"output_type": "pyerr", "ename": "E", "evalue": "v", "traceback": []},
                        ],
                    },
                ],
            }
        ],
    },
    {
        "nbformat": 4,
        "nbformat_minor": 2,
        "metadata": {},
        "cells": [],
        "worksheets": [{"cells": [{"cell_type": "code", "input": "1 / 0"}]}],
    },
    {"nbformat": 1, "cells": [{"cell_type": "code", "code": "a = 1", "prompt_number": 1}]},
    {
        "nbformat": 2,
        "nbformat_minor": 0,
        "metadata": {"name": "n"},
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "code", "input": "a = 1", "language": "python", "outputs": []}
                ]
            }
        ],
    },
)


def toml_value(value: Any) -> str:
    """A value as TOML writes it; what TOML does not know becomes something that is no TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, int) and abs(value) > 10**4000:
        return "9" * 5000
    return "1979-05-27" if value is None else json.dumps(value, ensure_ascii=False)


def _key(key: object) -> str:
    return json.dumps(str(key), ensure_ascii=False)


def toml_text(document: Any, prefix: str = "") -> str:
    """A document of tables, and of tables in them, as a TOML file."""
    if not isinstance(document, dict):
        return toml_value(document)
    lines = [f"[{prefix}]"] if prefix else []
    lines += [f"{_key(k)} = {toml_value(v)}" for k, v in document.items() if not _is_table(v)]
    for key, value in document.items():
        if _is_table(value):
            lines.append(toml_text(value, f"{prefix}.{_key(key)}".lstrip(".")))
    return "\n".join(lines)


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, dict) for inner in [value, *value])


DECLARATIONS: tuple[Any, ...] = (
    {
        "resources": {
            "cpus": 2,
            "ram": "4GB",
            "gpus": 1,
            "gpu_min_memory": "24GB",
            "locks": ["slicer"],
            "exclusive": False,
        },
        "run": {
            "exclude": {"scratch*.ipynb": "work in progress"},
            "kernel": "python3",
            "timeout": "2h",
            "notebook_timeout": "30min",
            "cell_timeout": 10.5,
            "env": {"OMP_PLACES": "cores"},
            "requires": ["module:json", "command:sh", "env:HOME"],
            "marks": ["slow"],
        },
        "notebooks": {"2-fit.ipynb": {"timeout": "1m", "skip": "no", "requires": ["env:X"]}},
    },
    {
        "resources": {"gpu_memory": "auto"},
        "run": {"order": ["2-fit.ipynb", "10-eval.ipynb", "1-load.ipynb", "scratch.ipynb"]},
    },
    {"run": {"independent": True, "skip": "needs Docker"}},
)
LISTED = ("1-load.ipynb", "2-fit.ipynb", "10-eval.ipynb", "scratch.ipynb")
"""The notebooks of the directory that the declarations are of."""


@st.composite
def toml_files(draw: st.DrawFn, documents: Sequence[Any]) -> bytes:
    """Files of TOML, and such as were."""
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return b"a = " + b"[" * 100_000
    if kind == 1:
        return draw(st.binary(max_size=40))
    content = toml_text(draw(mutated(documents))).encode("utf-8", "surrogatepass")
    return draw(damaged(content)) if kind < 8 else content
