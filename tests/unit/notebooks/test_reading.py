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

from pytest_nbgroups.core.errors import NotebookError
from pytest_nbgroups.notebooks.reading import read_notebook

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


def test_a_skipped_cell_written_by_hand_gets_what_it_lacks(write: Write) -> None:
    """Whoever saves the executed copy relies on both fields."""
    cell = {"cell_type": "code", "metadata": {"tags": ["skip-execution"]}, "source": ""}
    (read,) = read_notebook(write(document(cell))).cells
    assert (read.outputs, read.execution_count) == ([], None)


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
        "1.ipynb no longer exists; did an earlier notebook remove it, or is it a broken link?"
    )


def test_binary_garbage_is_named(write: Write) -> None:
    """With the place of the first byte that is no text."""
    assert fault(write(b'{"\xff\x00')) == (
        "1-load.ipynb is not UTF-8 text (invalid start byte at byte 2); "
        "convert it to UTF-8, for example with iconv, or restore it"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"cells": [', "Expecting value: line 1 column 12 (char 11)"),
        ('{"nbformat": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ],
)
def test_what_is_not_json_is_named(write: Write, content: str, reason: str) -> None:
    """With the place of the fault."""
    text = fault(write(content))
    assert text.startswith(f"1-load.ipynb is not JSON ({reason}")
    assert text.endswith("; correct it in a text editor, or restore it")


def test_json_as_deep_as_a_pit_is_named(write: Write) -> None:
    """Whether the parser gives up, as that of Python 3.11 does, or the rest of it is no notebook."""
    assert fault(write("[" * 10**5 + "]" * 10**5)).startswith("1-load.ipynb is ")


@pytest.mark.parametrize(
    "content",
    ["[]", "3", '"text"', "{}", '{"content": {}}', '{"content": "", "encoding": "none"}'],
)
def test_json_that_is_no_notebook_is_named(write: Write, content: str) -> None:
    """Every notebook has the number of its format."""
    assert fault(write(content)) == (
        "1-load.ipynb is JSON but not a notebook: it has no nbformat number; "
        "restore it, or give it another suffix"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (document(nbformat_minor="5"), 'nbformat_minor is "5", expected a whole number'),
        ({"nbformat": 4, "cells": []}, "nbformat_minor is missing, expected a whole number"),
        (document(metadata=None), "metadata is null, expected an object"),
        (
            document(metadata={"kernelspec": None}),
            "metadata.kernelspec is null, expected an object",
        ),
        (
            document(metadata={"kernelspec": {"name": 3}}),
            "metadata.kernelspec.name is 3, expected a text",
        ),
        (
            document(metadata={"language_info": []}),
            "metadata.language_info is a list, expected an object",
        ),
        (document(cells=None), "cells is null, expected a list"),
        (document(cells={}), "cells is an object, expected a list"),
        ({"nbformat": 4, "nbformat_minor": 5, "metadata": {}}, "cells is missing, expected a list"),
        (document(code_cell(), 3), "cell 2: it is 3, expected an object"),
        (document({"metadata": {}, "source": ""}), "cell 1: cell_type is missing, expected a text"),
        (
            document(code_cell(cell_type="Code")),
            'cell 1: cell_type is "Code", expected one of code, markdown, raw',
        ),
        (
            document({"metadata": {}, "cell_type": "raw"}),
            "cell 1: source is missing, expected a text",
        ),
        (document(code_cell(5)), "cell 1: source is 5, expected a text"),
        (
            document(code_cell([1])),
            "cell 1: source has a line that is 1, expected a text",
        ),
        (document(code_cell("a = '\ud83d'")), "cell 1: source has half of a character, at 5"),
        (document(code_cell(metadata=None)), "cell 1: metadata is null, expected an object"),
        (
            document({"cell_type": "code", "source": ""}),
            "cell 1: metadata is missing, expected an object",
        ),
        (
            document(code_cell(metadata={"tags": None})),
            "cell 1: metadata.tags is null, expected a list",
        ),
        (
            document(code_cell(metadata={"tags": "x"})),
            'cell 1: metadata.tags is "x", expected a list',
        ),
        (document(code_cell(attachments=None)), "cell 1: attachments is null, expected an object"),
        (
            document(code_cell(attachments={"a": 1})),
            "cell 1: attachments.a is 1, expected an object",
        ),
        (
            document(code_cell(), code_cell(outputs=None)),
            "cell 2: outputs is null, expected a list",
        ),
        (document(code_cell(outputs=["x"])), 'cell 1: output 1: it is "x", expected an object'),
        (
            document(kept_cell([{"text": "x"}])),
            "cell 1: output 1: output_type is missing, expected a text",
        ),
        (
            document(kept_cell([{"output_type": "stream"}])),
            "cell 1: output 1: name is missing, expected a text",
        ),
        (
            document(kept_cell([{"output_type": "stream", "name": "stdout", "text": [1]}])),
            "cell 1: output 1: text is a list, expected a text or a list of texts",
        ),
        (
            document(kept_cell([{"output_type": "display_data", "data": None}])),
            "cell 1: output 1: data is null, expected an object",
        ),
    ],
)
def test_malformed_notebooks_are_named(write: Write, content: object, reason: str) -> None:
    """With the field, what is expected there, and what to do: Jupyter opens none of them."""
    assert fault(write(content)) == (
        f"1-load.ipynb is not a valid notebook of format 4: {reason}; "
        "correct it in a text editor, or restore it"
    )


@pytest.mark.parametrize(("value", "text"), [(True, "true"), ("4", '"4"'), (None, "null")])
def test_a_number_of_the_format_that_is_none(write: Write, value: object, text: str) -> None:
    """It is a notebook all the same."""
    assert fault(write(document(nbformat=value))) == (
        f"1-load.ipynb is not a valid notebook: nbformat is {text}, expected a whole number; "
        "correct it in a text editor, or restore it"
    )


@pytest.mark.parametrize(
    "content",
    [
        document(code_cell(execution_count="x"), code_cell(id="a b"), code_cell(id="a b")),
        document(kept_cell([{"output_type": "error", "data": None}])),
        document({"cell_type": "code", "metadata": {}, "source": []}, extra=1),
        document({"cell_type": "code", "metadata": {"tags": ["skip-execution"]}, "source": ""}),
        document(code_cell(), nbformat_minor=99),
        document(code_cell(), metadata={"kernelspec": {"name": "python3", "language": None}}),
    ],
)
def test_harmless_departures_are_read(write: Write, content: dict[str, Any]) -> None:
    """As Jupyter reads them: a count or an id that is none, keys that nobody knows, a missing list of outputs."""
    cells = read_notebook(write(content)).cells
    assert [cell.cell_type for cell in cells] == ["code"] * len(content["cells"])
    assert all(isinstance(cell.outputs, list) for cell in cells)


def test_what_nbformat_cannot_read_is_named(write: Write) -> None:
    """In its own words: an old format is checked by its converter alone."""
    assert fault(write({"nbformat": 3, "nbformat_minor": 0, "worksheets": [{}]})) == (
        "1-load.ipynb is not a valid notebook of format 3: nbformat cannot read it "
        "(The notebook is invalid and is missing an expected key: cells); "
        "correct it in a text editor, or restore it"
    )


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "clause"),
    [
        (LFS, "is a Git LFS pointer; run: git lfs pull"),
        (
            b"/annex/objects/SHA256E-s5--1.ipynb\n",
            "is a git-annex pointer; run git annex get on it",
        ),
        (b"PK\x03\x04...", "is a zip archive; unpack it"),
        (b"\x1f\x8b\x08", "is compressed by gzip; unpack it"),
        (b"%PDF-1.5", "is a PDF; put the notebook in its place"),
        (
            json.dumps(document()).encode("utf-16"),
            "is text in UTF-16 or UTF-32, as Windows PowerShell writes it; save it as UTF-8",
        ),
        (
            "\n<!-- x -->\n<!DOCTYPE html>\n<html>",
            "is a web page (HTML); download the notebook itself, on GitHub with 'Raw'",
        ),
        (
            '{\n<<<<<<< HEAD\n "cells": []\n=======\n "cells": []\n>>>>>>> branch\n}',
            (
                "has a merge conflict (line 2: <<<<<<<); resolve it, for example with nbdime mergetool, "
                "or restore the file with git checkout"
            ),
        ),
        (
            {"url": "https://colab.research.google.com/drive/1", "doc_id": "1"},
            "is a link to Google Drive; download the notebook itself",
        ),
        (
            {"type": "notebook", "content": document()},
            "is a reply of a Jupyter server; the notebook is under 'content'",
        ),
        (
            {"content": "e30=", "encoding": "base64"},
            "is a reply of GitHub; the notebook is under 'content', in base64",
        ),
        (
            {"paragraphs": [], "name": "note"},
            "is a note of Zeppelin; convert it to a Jupyter notebook",
        ),
    ],
)
def test_what_something_else_is(write: Write, content: object, clause: str) -> None:
    """It is named for what it is, with the way to the notebook."""
    assert fault(write(content)) == f"1-load.ipynb {clause}"


@pytest.mark.skipif(sys.platform == "win32", reason="makes a link")
def test_a_link_of_git_annex(tmp_path: Path) -> None:
    """Leads nowhere until its content is fetched."""
    (tmp_path / "1.ipynb").symlink_to("../.git/annex/objects/a/b/SHA256E-s5--1.ipynb")
    assert fault(tmp_path / "1.ipynb") == (
        "1.ipynb is a link of git-annex whose content is not here; run git annex get on it"
    )


def markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


@pytest.mark.parametrize(
    "marker", ['<span style="color:red">**{} local**</span>', "<b>{} local</b>", "`{} HEAD`", "{}"]
)
def test_cells_that_mark_a_conflict(write: Write, marker: str) -> None:
    """As merge tools for notebooks leave them, in valid JSON: both sides would run, and might pass."""
    opening, closing = marker.format("<" * 7), marker.format(">" * 7)
    merged = document(code_cell(), markdown(opening), code_cell(), markdown(closing))
    assert fault(write(merged)) == (
        "1-load.ipynb has a merge conflict (marked in cell 2), and both sides would run; "
        "resolve it, for example with nbdime mergetool"
    )


@pytest.mark.parametrize(
    "cells",
    [
        [markdown("<" * 7)],
        [markdown(">" * 7), markdown("<" * 7)],
        [markdown("<" * 9), markdown(">" * 9)],
        [markdown("Markers are <<<<<<< and"), markdown("not at the start: >>>>>>>")],
        [code_cell("text = (\n<<<<<<< a\n>>>>>>> b")],
    ],
)
def test_cells_about_conflicts(write: Write, cells: list[Any]) -> None:
    """A tutorial on git may show markers."""
    assert len(read_notebook(write(document(*cells))).cells) == len(cells)


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
        f"1-load.ipynb is not a valid notebook of {foreign}, which belong to other formats; "
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
        "1-load.ipynb is not a file but a folder, a pipe or a device, or a link to one; "
        "put the notebook in its place, or list it under exclude in experiment.toml"
    )


@pytest.mark.parametrize("version", [0, 5, 99, -1])
def test_formats_that_nobody_can_read_are_named(write: Write, version: int) -> None:
    """With their number."""
    text = fault(write(document(nbformat=version)))
    assert text.startswith(f"1-load.ipynb is not a valid notebook of format {version}: ")


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
    with pytest.raises(NotebookError, match='cell_type is "wrong"'):
        read_notebook(path)
    assert caplog.records == []
    nbformat.reads(path.read_text(), as_version=4)
    assert {record.levelname for record in caplog.records} == {"ERROR"}
