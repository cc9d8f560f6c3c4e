"""The file that tells shards how long each experiment takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.scheduling.weights import read_weights, write_weights

HEART = "experiments/Heart::notebooks"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.json"


def error(path: Path, content: str | None = None) -> str:
    """What is said of a file, without its path."""
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DeclarationError) as raised:
        read_weights(path)
    assert str(raised.value).startswith(f"{path}: ")
    return str(raised.value).replace(str(path), "FILE")


def test_the_file(path: Path) -> None:
    """Sorted, a line for each, so that a diff shows what has changed."""
    write_weights(path, {HEART: 1234.5, "experiments/Brain::notebooks": 7.25})
    assert path.read_text() == (
        '{\n  "schema": 1,\n  "experiments": {\n'
        '    "experiments/Brain::notebooks": 7.2,\n'
        '    "experiments/Heart::notebooks": 1200\n  }\n}\n'
    )


@pytest.mark.parametrize(
    ("measured", "written"),
    [(0, "0"), (0.034, "0"), (0.26, "0.3"), (9.96, "10"), (47.3, "47"), (123, "120")],
)
def test_what_varies_from_run_to_run_is_not_written(
    measured: float, written: str, path: Path
) -> None:
    """Two digits, and tenths of a second at the most."""
    write_weights(path, {HEART: measured})
    assert f": {written}\n" in path.read_text()


@given(st.dictionaries(st.text(), st.floats(0, 2**30)))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, seconds: dict[str, float]
) -> None:
    """Within the rounding, whatever the node ids; and writing it again changes nothing."""
    path = tmp_path_factory.mktemp("weights") / "weights.json"
    write_weights(path, seconds)
    found, text = read_weights(path), path.read_text()
    assert found == pytest.approx(seconds, rel=0.051, abs=0.051)
    write_weights(path, found)
    assert path.read_text() == text


def test_a_missing_file(path: Path) -> None:
    """The message has the command that writes it."""
    assert error(path) == (
        "FILE: this weights file does not exist; write it with: pytest --run-experiments "
        "--experiment-plan --experiment-weights FILE"
    )


def test_a_directory(path: Path) -> None:
    """The reason is the operating system's."""
    path.mkdir()
    assert re.fullmatch(r"FILE: cannot be read: \w.+", error(path))


REMEDY = (
    "; write it again with: pytest --run-experiments --experiment-plan --experiment-weights FILE"
)


@pytest.mark.parametrize("content", ["", "<<<<<<< HEAD", "{", "[" * 100_000])
def test_what_is_no_json(content: str, path: Path) -> None:
    """As a merge conflict leaves it."""
    told = error(path, content)
    assert told.startswith("FILE: is not JSON: ")
    assert told.endswith(REMEDY)


def test_what_is_no_text(path: Path) -> None:
    """Told like JSON that is none."""
    path.write_bytes(b"\xff\xfe")
    assert error(path).startswith("FILE: is not JSON: 'utf-8' codec")


@pytest.mark.parametrize("content", ["[]", "1", "{}", '{"schema": 1, "experiments": []}'])
def test_another_document(content: str, path: Path) -> None:
    """Anything may be valid JSON."""
    told = 'FILE: expected {"schema": 1, "experiments": {…}}'
    assert error(path, content) == told + REMEDY


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_schema(version: object, path: Path) -> None:
    """A later version may mean something else by it."""
    told = error(path, json.dumps({"schema": version, "experiments": {}}))
    assert told == f"FILE: schema is {version!r}, expected 1{REMEDY}"


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        ("-1", "-1"),
        ("NaN", "nan"),
        ("Infinity", "inf"),
        ("true", "True"),
        ("null", "None"),
        ('"7"', "'7'"),
        ("2147483648", "2147483648"),
    ],
)
def test_bad_weights(weight: str, shown: str, path: Path) -> None:
    """The message names the experiment."""
    told = error(path, f'{{"schema": 1, "experiments": {{"{HEART}": {weight}}}}}')
    assert told.startswith(
        f"FILE: {HEART} = {shown}: expected seconds, at least 0 and below 2147483648; correct it, or"
    )


def test_good_weights(path: Path) -> None:
    """Written by hand, too; keys of later versions are no matter."""
    path.write_text('{"schema": 1, "by": "me", "experiments": {"a": 0, "b": 1.25}}')
    assert read_weights(path) == {"a": 0, "b": 1.25}
