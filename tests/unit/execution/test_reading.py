from __future__ import annotations

import copy
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat  # noqa: TID253  to compare with
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.errors import NotebookError
from pytest_nbgroups.execution.reading import read_notebook

Write = Callable[[object], Path]


def code_cell(source: Any = "1 + 1", **fields: Any) -> dict[str, Any]:
    """A cell that has been run before."""
    output = {"output_type": "stream", "name": "stdout", "text": "old"}
    cell = {"cell_type": "code", "metadata": {}, "source": source}
    return {**cell, "outputs": [output], "execution_count": 7, **fields}


def kept_cell(outputs: object) -> dict[str, Any]:
    """One that keeps the outputs that it has."""
    return code_cell(metadata={"tags": ["skip-execution"]}, outputs=outputs)


def document(*cells: Any, **fields: Any) -> dict[str, Any]:
    """A notebook as JSON holds it."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    return {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": metadata,
        "cells": list(cells),
        **fields,
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write bytes, a text or JSON to ``1-load.ipynb``."""

    def to_file(content: object) -> Path:
        path = tmp_path / "1-load.ipynb"
        if not isinstance(content, bytes | str):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def fault(path: Path) -> str:
    """What is said of a file."""
    with pytest.raises(NotebookError) as caught:
        read_notebook(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_old_outputs_are_removed(write: Write) -> None:
    """What a report shows comes from this run."""
    notebook = read_notebook(write(document(code_cell(["a = 1\n", "b = 2"]))))
    (cell,) = notebook.cells
    assert cell.source == "a = 1\nb = 2"
    assert (cell.outputs, cell.execution_count) == ([], None)


def test_skipped_cells_keep_their_outputs(write: Write) -> None:
    """They are not run, so nothing replaces them."""
    tagged = code_cell(metadata={"tags": ["x", "skip-execution"]})
    markdown = {"cell_type": "markdown", "metadata": {}, "source": "text"}
    notebook = read_notebook(write(document(tagged, markdown)))
    assert notebook.cells[0].outputs[0].text == "old"
    assert notebook.cells[0].execution_count == 7


def test_the_file_stays_as_it_is(write: Write) -> None:
    """Reading upgrades and cleans in memory alone."""
    path = write(document(code_cell()))
    before = path.read_bytes()
    read_notebook(path)
    assert path.read_bytes() == before


def test_a_byte_order_mark_is_passed_over(write: Write) -> None:
    """Some editors write it."""
    assert read_notebook(write(b"\xef\xbb\xbf" + json.dumps(document()).encode())).cells == []


def test_format_3_is_upgraded(write: Write) -> None:
    """Its cells lie in worksheets and are called otherwise."""
    cell = {"cell_type": "code", "input": "x = 1", "language": "python", "outputs": []}
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [{"cells": [{**cell, "prompt_number": 1}]}],
    }
    (upgraded,) = read_notebook(write(old)).cells
    assert upgraded.source == "x = 1"


def test_an_empty_file_is_named(write: Write) -> None:
    """As ``touch`` makes it, or an interrupted download."""
    for content in ("", " \n"):
        assert fault(write(content)) == (
            "1-load.ipynb is empty; save a notebook in it, remove it, or list it under exclude in "
            "experiment.toml"
        )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """It may have gone since the directory was listed."""
    assert fault(tmp_path / "1.ipynb") == (
        "1.ipynb is not there any more; did an earlier notebook remove it, or is it a link to nowhere?"
    )


def test_binary_garbage_is_named(write: Write) -> None:
    """With the place of the first byte that is no text."""
    assert fault(write(b'{"\xff\x00')) == (
        "1-load.ipynb is not UTF-8 text (invalid start byte at byte 2); "
        "save it again from Jupyter, or restore it"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<<<<<<< HEAD\n{}", "Expecting value: line 1 column 1 (char 0)"),
        ('{"cells": [', "Expecting value: line 1 column 12 (char 11)"),
        ('{"nbformat": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ],
)
def test_what_is_not_json_is_named(write: Write, content: str, reason: str) -> None:
    """With the place of the fault."""
    text = fault(write(content))
    assert text.startswith(f"1-load.ipynb is not JSON ({reason}")
    assert text.endswith("; open it in a text editor (a merge conflict?), or restore it")


def test_json_as_deep_as_a_pit_is_named(write: Write) -> None:
    """Whether the parser gives up, as that of Python 3.11 does, or the rest of it is no notebook."""
    assert fault(write("[" * 10**5 + "]" * 10**5)).startswith("1-load.ipynb is ")


@pytest.mark.parametrize(
    "content",
    ["[]", "3", '"text"', "{}", '{"nbformat": true}', '{"nbformat": "4"}', '{"nbformat": null}'],
)
def test_json_that_is_no_notebook_is_named(write: Write, content: str) -> None:
    """Every notebook has the number of its format."""
    assert fault(write(content)) == (
        "1-load.ipynb is JSON but no notebook: it has no nbformat number; "
        "restore it, or give it another suffix"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (document(code_cell(5)), "cell 1 has no source"),
        (document({"metadata": {}, "source": ""}), "cell 1 has no cell_type"),
        (document({"metadata": {}, "cell_type": "raw"}), "cell 1 has no source"),
        (document(code_cell(cell_type="Code")), "cell 1 has the unknown cell_type 'Code'"),
        (document(code_cell(cell_type="heading")), "cell 1 has the unknown cell_type 'heading'"),
        (
            document(code_cell("a = '\ud83d'")),
            "cell 1 has half of a character in its source, at 5",
        ),
        (document(kept_cell([{"text": "x"}])), "cell 1 has outputs that are no outputs"),
        (
            document(kept_cell([{"output_type": "stream"}])),
            "cell 1 has outputs that are no outputs",
        ),
        (document(code_cell(metadata={"tags": None})), "cell 1 has tags that are no list"),
        (document(code_cell(metadata={"tags": "x"})), "cell 1 has tags that are no list"),
        (document(metadata={"kernelspec": None}), "metadata.kernelspec is no object"),
        (document(metadata={"kernelspec": {"name": 3}}), "metadata.kernelspec.name is no text"),
        (document(metadata={"language_info": []}), "metadata.language_info is no object"),
    ],
)
def test_malformed_notebooks_are_named(write: Write, content: object, reason: str) -> None:
    """With what is wrong in them, and the remedy."""
    assert fault(write(content)) == (
        f"1-load.ipynb is no valid notebook of format 4: {reason}; "
        "open and save it in Jupyter to mend it"
    )


@pytest.mark.parametrize(
    "content",
    [
        document(cells=None),
        document(3),
        document({"cell_type": "code"}),
        document(metadata=None),
        {"nbformat": 4, "cells": []},
    ],
)
def test_what_nbformat_cannot_read_is_named(write: Write, content: object) -> None:
    """In its own words, whatever it ran into."""
    text = fault(write(content))
    assert text.startswith("1-load.ipynb is no valid notebook of format 4: ")
    assert text.endswith("; open and save it in Jupyter to mend it")


@pytest.mark.parametrize(
    ("content", "foreign"),
    [
        (document(worksheets=[{"cells": [code_cell()]}]), "format 4: it has worksheets"),
        (document(code_cell(), nbformat=3, worksheets=[]), "format 3: it has cells"),
    ],
)
def test_what_would_not_run_is_named(write: Write, content: object, foreign: str) -> None:
    """Cells where their format has none would be passed over, and the notebook would pass."""
    assert fault(write(content)) == (
        f"1-load.ipynb is no valid notebook of {foreign}, as others have; "
        "correct the number in nbformat, or restore it"
    )


def test_only_code_has_outputs(write: Write) -> None:
    """What a text has of them, of whatever kind, is left out."""
    text = {"cell_type": "markdown", "metadata": {}, "source": "# x", "outputs": 5}
    assert "outputs" not in read_notebook(write(document(text))).cells[0]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")
@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "folder"])
def test_what_never_ends_is_named(tmp_path: Path, target: str) -> None:
    """Nobody waits for a pipe, or reads a device until the memory is full."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "1-load.ipynb").symlink_to(target)
    assert fault(tmp_path / "1-load.ipynb") == (
        "1-load.ipynb is no file but a folder, a pipe or a device, or a link to one; "
        "put the notebook in its place, or list it under exclude in experiment.toml"
    )


@pytest.mark.parametrize("version", [0, 5, 99, -1])
def test_formats_that_nobody_can_read_are_named(write: Write, version: int) -> None:
    """With their number."""
    text = fault(write(document(nbformat=version)))
    assert text.startswith(f"1-load.ipynb is no valid notebook of format {version}: ")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything within a document."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


WHOLE = document(
    code_cell(metadata={"tags": ["skip-execution"], "collapsed": True}),
    {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["a", "b"], "attachments": {}},
)
json_values = st.sampled_from([None, True, 0, 3, 4, 5, -1, 1.5, "", "x", [], {}, [None], {"a": 1}])


@given(
    st.lists(
        st.tuples(st.sampled_from(places(WHOLE)[1:]), json_values | st.just("remove")), max_size=3
    )
)
def test_mutations_end_in_a_notebook_or_its_error(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    """Whatever a file holds; and what can be read has what execution relies on."""
    data = copy.deepcopy(WHOLE)
    for (*above, last), value in changes:
        replace(data, above, last, value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.ipynb"
        path.write_text(json.dumps(data))
        try:
            notebook = read_notebook(path)
        except NotebookError:
            return
    assert isinstance(notebook.metadata.get("kernelspec", {}).get("name", ""), str)
    for cell in notebook.cells:
        assert isinstance(cell.source, str)
        assert isinstance(cell.metadata.get("tags", []), list)


def replace(data: Any, above: list[Any], last: Any, value: Any) -> None:
    """Set or remove one thing, where an earlier change has left its place."""
    for key in above:
        try:
            data = data[key]
        except (LookupError, TypeError):
            return
    if isinstance(data, dict) and value == "remove":
        data.pop(last, None)
    elif isinstance(data, dict) or (
        isinstance(data, list) and isinstance(last, int) and last < len(data)
    ):
        data[last] = value


def test_nothing_is_logged_beside_the_error(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """Pytest would show nbformat's records below the failure, with the same error three times."""
    path = write(document(code_cell(cell_type="wrong")))
    with pytest.raises(NotebookError, match="unknown cell_type 'wrong'"):
        read_notebook(path)
    assert caplog.records == []
    nbformat.reads(path.read_text(), as_version=4)
    assert {record.levelname for record in caplog.records} == {"ERROR"}
