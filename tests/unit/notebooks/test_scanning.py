from __future__ import annotations

import contextlib
import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_nbgroups.core.model import Experiment, Notebook
from pytest_nbgroups.notebooks import scanning
from pytest_nbgroups.notebooks.scanning import scan, to_python

Write = Callable[..., Path]


def cell(source: Any, kind: str = "code", **metadata: Any) -> dict[str, Any]:
    """A cell as JSON holds it."""
    return {"cell_type": kind, "metadata": metadata, "source": source}


def document(*cells: Any, **metadata: Any) -> dict[str, Any]:
    """A notebook as JSON holds it."""
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write bytes or JSON to a file of this name."""

    def to_file(content: object, name: str = "1-a.ipynb") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return to_file


def experiment(*paths: Path, **fields: Any) -> Experiment:
    """Of these notebooks."""
    notebooks = tuple(Notebook(path=path, **fields) for path in paths)
    return Experiment(name="A", directory=Path("A"), notebooks=notebooks)


def signs(path: Path) -> list[tuple[int, str]]:
    """Cell and text of each."""
    return [(hint.cell, hint.sign) for hint in scan(experiment(path)).found]


def test_code_cells_are_read(write: Write) -> None:
    """Counted among all cells, as people count; other cells are text."""
    path = write(
        document(
            cell("use `n_jobs=-1`", "markdown"),
            cell(["x = 1\n", "f(n_jobs=-1)"]),
            cell("g(n_jobs=-2)", "raw"),
            cell("m.cuda()"),
        )
    )
    assert signs(path) == [(2, "n_jobs=-1"), (4, ".cuda()")]


def test_notebooks_follow_each_other(write: Write) -> None:
    """In the order of the experiment; what one defines, the next does not see."""
    first = write(document(cell("d = 'cuda'\nx.to(d)")), "1.ipynb")
    second = write(document(cell("x.to(d)\nf(n_jobs=2)")), "2.ipynb")
    hints = scan(experiment(first, second))
    assert [(hint.notebook, hint.sign) for hint in hints.found] == [
        ("1.ipynb", 'd="cuda"'),
        ("2.ipynb", "n_jobs=2"),
    ]


def test_what_is_not_run_is_not_read(write: Write) -> None:
    """Skipped notebooks and cells tell nothing."""
    path = write(document(cell("m.cuda()", tags=["x", "skip-execution"])))
    assert signs(path) == []
    path = write(document(cell("m.cuda()", tags=["gpu"])))
    assert signs(path) == [(1, ".cuda()")]
    assert scan(experiment(path, skip="later")).found == ()


@pytest.mark.parametrize(
    ("metadata", "read"),
    [
        ({}, True),
        ({"kernelspec": {"name": "python3", "language": "python"}}, True),
        ({"language_info": {"name": "ipython"}}, True),
        ({"kernelspec": {"language": "Python"}, "language_info": {"name": "python"}}, True),
        ({"kernelspec": None, "language_info": [], "x": 1}, True),
        ({"kernelspec": {"name": "ir", "language": "R"}}, False),
        ({"kernelspec": {"name": "julia"}, "language_info": {"name": "julia"}}, False),
        ({"language_info": {"name": "bash"}}, False),
    ],
)
def test_only_python_is_read(write: Write, metadata: dict[str, Any], *, read: bool) -> None:
    """Other languages have other signs."""
    assert bool(signs(write(document(cell("m.cuda()"), **metadata)))) is read


def test_format_3_is_read(write: Write) -> None:
    """It is run, too."""
    old = {"cell_type": "code", "language": "python", "input": ["f(n_jobs=3)"]}
    worksheets = [{"cells": [{"cell_type": "heading", "source": "A"}, old]}]
    path = write({"nbformat": 3, "metadata": {"name": ""}, "worksheets": worksheets})
    assert signs(path) == [(2, "n_jobs=3")]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"[" * 10**5, b"3", b"null", b"[]", b"{}", b'{"cells": {}}',
        b'{"cells": [3, null, {"cell_type": "code"}, {"cell_type": "code", "source": {}}]}',
        b'{"cells": [{"cell_type": "code", "source": [1, null], "metadata": {"tags": 3}}]}',
        b'{"worksheets": [3, {"cells": null}], "metadata": 3}', b"9" * 5000,
    ],
)  # fmt: skip
def test_malformed_notebooks_tell_nothing(write: Write, content: bytes) -> None:
    """Nor do they raise: running them tells what is wrong."""
    assert signs(write(content)) == []


def test_a_byte_order_mark_is_passed_over(write: Write) -> None:
    """Some editors write it."""
    content = b"\xef\xbb\xbf" + json.dumps(document(cell("m.cuda()"))).encode()
    assert signs(write(content)) == [(1, ".cuda()")]


def test_files_that_cannot_be_read_tell_nothing(write: Write, tmp_path: Path) -> None:
    """Gone, a folder, a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe.ipynb")
    for path in (tmp_path / "gone.ipynb", tmp_path, tmp_path / "pipe.ipynb"):
        assert signs(path) == []
    assert signs(write(document(cell("m.cuda()")))) != []


def test_very_large_files_and_cells_are_passed_over(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are data; the other cells still tell."""
    path = write(document(cell("x = 1\n" * 20 + "m.cuda()"), cell("f(n_jobs=2)")))
    monkeypatch.setattr(scanning, "_LONGEST_CELL", 100)
    assert signs(path) == [(2, "n_jobs=2")]
    monkeypatch.setattr(scanning, "_LARGEST_FILE", path.stat().st_size - 1)
    assert signs(path) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("%matplotlib inline\n!pip install cupy\nm.cuda()", [(1, ".cuda()")]),
        ("x = !nproc\n%time f(n_jobs=-1)", [(1, "n_jobs=-1")]),
        ("%timeit -n 3 -r5 f(n_jobs=-1)", [(1, "n_jobs=-1")]),
        ("if x:\n    %time f(n_jobs=-1)\n", [(1, "n_jobs=-1")]),
        ("%%time\nm.cuda()", [(1, ".cuda()")]),
        ("\n%%capture out --no-stderr\n%pip list\nm.cuda()", [(1, ".cuda()")]),
        ("f?\nm.cuda()", [(1, ".cuda()")]),
        ("%%bash\nm.cuda()", []),
        ("%%writefile train.py\nimport cupy", []),
        ("%%html\n<b>n_jobs=-1</b>", []),
        ("!python train.py --device=cuda", []),
        ("%%time", []),
        ("%time", []),
    ],
)
def test_magics(write: Write, source: str, found: list[tuple[int, str]]) -> None:
    """What runs Python is read; what runs something else is not."""
    assert signs(write(document(cell(source)))) == found


pieces = st.sampled_from(
    [
        "%%time",
        "%%bash",
        "%time",
        "!",
        "?",
        "x = ",
        "%",
        "\n",
        "    ",
        "'''",
        "(",
        "\\",
        "\0",
        "def",
    ]
)


@example("?\x1e")  # IPython warns of such a line end
@given(st.text(max_size=30) | st.lists(pieces, max_size=8).map("".join))
def test_whatever_a_cell_holds(source: str) -> None:
    """Nothing but a SyntaxError, which the caller expects."""
    with contextlib.suppress(SyntaxError):
        assert isinstance(to_python(source), str)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything within a document."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


WHOLE = document(
    cell(["f(n_jobs=2)\n", "%time 1"], tags=["a"]),
    kernelspec={"language": "python"},
    language_info={"name": "python"},
)
WHOLE["worksheets"] = [{"cells": [{"cell_type": "code", "input": "m.cuda()"}]}]
json_values = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], {}, [None], {"a": 1}])


@given(place=st.sampled_from(places(WHOLE)[1:]), value=json_values)
def test_mutations_do_not_raise(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[Any, ...], value: object
) -> None:
    """Whatever stands where."""
    data = copy.deepcopy(WHOLE)
    inner: Any = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path_factory.getbasetemp() / "mutated.ipynb"
    path.write_text(json.dumps(data))
    assert {hint.sign for hint in scan(experiment(path)).found} <= {"n_jobs=2", ".cuda()"}
