"""Files with the name of a notebook that are something else."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nbgroups.notebooks.foreign_files import (
    foreign_bytes,
    foreign_json,
    foreign_text,
    merge_conflict,
    shown,
)


@pytest.mark.parametrize(
    ("data", "clause"),
    [
        (b"version https://hawser.github.com/spec/v1\n", "is a Git LFS pointer; run: git lfs pull"),
        (b"PK\x03\x04", "is a zip archive; unpack it"),
        ('{"cells"'.encode("utf-16"), "is text in UTF-16 or UTF-32, "),
        ('{"cells"'.encode("utf-32"), "is text in UTF-16 or UTF-32, "),
        (b"\0\0\xfe\xff\0\0\0{", "is text in UTF-16 or UTF-32, "),
    ],
)
def test_what_bytes_are(data: bytes, clause: str) -> None:
    """By how the file begins."""
    assert (foreign_bytes(data) or "").startswith(clause)


@pytest.mark.parametrize("data", [b"", b"{", b" PK\x03\x04", b"\xef\xbb\xbf{", b"GIF89a"])
def test_bytes_of_which_nothing_is_known(data: bytes) -> None:
    """A signature counts at the beginning alone."""
    assert foreign_bytes(data) is None


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("<!DOCTYPE html>", "is a web page"),
        ("\n <!-- saved --> <!-- twice -->\n<HTML lang='en'>", "is a web page"),
        ("{\n<<<<<<< HEAD\n}", "has a merge conflict (line 2: <<<<<<<)"),
        ("{\n\n>>>>>>> other\n", "has a merge conflict (line 3: >>>>>>>)"),
    ],
)
def test_what_a_text_is(text: str, begins: str) -> None:
    """A conflict is named with its line."""
    assert (foreign_text(text) or "").startswith(begins)


@pytest.mark.parametrize("text", ["{", "<xml>", "<htmlx>", 'a "<<<<<<<"', "x <!doctype html>"])
def test_texts_of_which_nothing_is_known(text: str) -> None:
    """Marks within a line, and pages that begin with something else."""
    assert foreign_text(text) is None


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        ({"doc_id": "1"}, "is a link to Google Drive"),
        ({"content": {"nbformat": 4}}, "is a reply of a Jupyter server"),
        ({"content": "e30=", "encoding": "base64"}, "is a reply of GitHub"),
        ({"paragraphs": []}, "is a note of Zeppelin"),
    ],
)
def test_what_a_document_is(data: object, begins: str) -> None:
    """By its keys."""
    assert (foreign_json(data) or "").startswith(begins)


@pytest.mark.parametrize(
    "data", [None, [], "x", {}, {"content": {}}, {"content": "x"}, {"paragraphs": "x"}]
)
def test_documents_of_which_nothing_is_known(data: object) -> None:
    """A key alone is not enough."""
    assert foreign_json(data) is None


def cells(*sources: str, kind: str = "markdown") -> list[Any]:
    return [{"cell_type": kind, "source": source} for source in sources]


@pytest.mark.parametrize(
    ("sources", "number"),
    [
        (["a", "<<<<<<< HEAD", "b", "=======", "c", ">>>>>>> other"], 2),
        (["`<<<<<<< local`", '<span style="color:red">**>>>>>>> remote**</span>'], 1),
        (["<b>`<<<<<<<`</b>", "<i> >>>>>>> x"], 1),
        (["<<<<<<< HEAD"], None),
        ([">>>>>>> other", "<<<<<<< HEAD"], None),
        (["text <<<<<<< HEAD", ">>>>>>> other"], None),
        (["<<<<<<<< eight", ">>>>>>> other"], None),
    ],
)
def test_cells_that_mark_a_conflict(sources: list[str], number: int | None) -> None:
    """An opening mark before a closing one, each at the beginning of a cell of its own."""
    assert merge_conflict(cells(*sources)) == number


def test_marks_in_code_are_code() -> None:
    """A string in a cell may hold them."""
    assert merge_conflict(cells("<<<<<<< HEAD", ">>>>>>> other", kind="code")) is None


def test_how_a_value_is_shown() -> None:
    """What is long is cut, and what has parts is named by its kind."""
    assert [shown(value) for value in (None, True, "é", [1], {"a": 1})] == [
        "null",
        "true",
        '"\\u00e9"',
        "a list",
        "an object",
    ]
    assert shown("x" * 99) == '"' + "x" * 39
