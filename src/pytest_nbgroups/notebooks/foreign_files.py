"""Files with the name of a notebook but other content: their kind, and a remedy. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_SIGNATURES = (
    (b"version https://git-lfs.github.com/spec/", "is a Git LFS pointer; run: git lfs pull"),
    (b"version https://hawser.github.com/spec/", "is a Git LFS pointer; run: git lfs pull"),
    (b"/annex/objects/", "is a git-annex pointer; run git annex get on it"),
    (b"PK\x03\x04", "is a zip archive; unpack it"),
    (b"\x1f\x8b", "is compressed by gzip; unpack it"),
    (b"%PDF-", "is a PDF; put the notebook in its place"),
)
_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16; those of UTF-32 begin or end with them."""
_WEB_PAGE = re.compile(r"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
_CONFLICT = re.compile(r"^(<{7}|>{7}) ?", re.MULTILINE)
_DRIVE = {"doc_id", "resource_id", "resource_key"}


def foreign_bytes(data: bytes) -> str | None:
    """Return a clause on the kind of a file from its first bytes, if it is not UTF-8 text."""
    for start, clause in _SIGNATURES:
        if data.startswith(start):
            return clause
    if data.startswith(_WIDE) or data.startswith(b"\0\0\xfe\xff"):
        return "is text in UTF-16 or UTF-32, as Windows PowerShell writes it; save it as UTF-8"
    return None


def foreign_text(text: str) -> str | None:
    """Return a clause on the kind of a text that is not JSON; None if it is unknown."""
    if _WEB_PAGE.match(text):
        return "is a web page (HTML); download the notebook itself, on GitHub with 'Raw'"
    if found := _CONFLICT.search(text):
        line = text.count("\n", 0, found.start()) + 1
        return (
            f"has a merge conflict (line {line}: {found[1]}); resolve it, for example with "
            "nbdime mergetool, or restore the file with git checkout"
        )
    return None


def foreign_json(data: object) -> str | None:
    """Return a clause on the kind of a JSON document without ``nbformat``; None if it is unknown."""
    if not isinstance(data, dict):
        return None
    if data.keys() & _DRIVE:
        return "is a link to Google Drive; download the notebook itself"
    content = data.get("content")
    if isinstance(content, dict) and "nbformat" in content:
        return "is a reply of a Jupyter server; the notebook is under 'content'"
    if isinstance(content, str) and data.get("encoding") == "base64":
        return "is a reply of GitHub; the notebook is under 'content', in base64"
    if isinstance(data.get("paragraphs"), list):
        return "is a note of Zeppelin; convert it to a Jupyter notebook"
    return None


_MARKER = re.compile(r"(?:\s|<[/!\w][^<>]*>|[`*])*(<{7}|>{7})(?![<>])")
"""Marks that merge tools for notebooks write into a separate cell: bare, in tags, in backticks."""


def merge_conflict(cells: list[Mapping[str, Any]]) -> int | None:
    """Return the number of the first cell with a merge conflict; both sides of it would run."""
    marks: dict[str, int] = {}
    for number, cell in enumerate(cells, start=1):
        if cell["cell_type"] != "code" and (found := _MARKER.match(cell["source"])):
            marks.setdefault(found[1], number)
    opening, closing = marks.get("<" * 7), marks.get(">" * 7)
    return opening if opening and closing and opening < closing else None


def shown(value: object) -> str:
    """Render JSON for a message: a list or an object by its kind, another value as text, shortened."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return f"{json.dumps(value):.40}"
