"""Checkpoints as text, and back."""

from __future__ import annotations

import json

import pytest
from checkpoint_samples import step
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.model import NotebookOutcome
from pytest_nbgroups.resume.checkpoint import Checkpoint, FileState, Fingerprint, Step
from pytest_nbgroups.resume.checkpoint_codec import VERSION, decode, decode_names, encode

TEXTS = st.text(max_size=8)
FILES = st.dictionaries(
    TEXTS,
    st.builds(
        FileState,
        size=st.integers(0),
        mtime_ns=st.integers(),
        ctime_ns=st.integers(),
        inode=st.integers(0),
        sha256=TEXTS,
        settled=st.booleans(),
    ),
    max_size=4,
)
TABLES = st.dictionaries(TEXTS, TEXTS, max_size=3)
STEPS = st.builds(
    Step,
    name=TEXTS,
    outcome=st.sampled_from([NotebookOutcome.PASSED, NotebookOutcome.SKIPPED]),
    reason=st.none() | TEXTS,
    kernel=st.none() | TEXTS,
    cells_total=st.integers(0),
    fingerprint=st.none()
    | st.builds(
        Fingerprint,
        code=TEXTS,
        tags=TEXTS,
        kernel=TEXTS,
        kernelspec=TEXTS,
        resources=TABLES,
        env=TABLES,
        interpreter=TEXTS,
        distributions=TABLES,
        data=TABLES,
    ),
    files=FILES,
    doubt=TEXTS,
)
CHECKPOINTS = st.builds(
    Checkpoint,
    directory=TEXTS,
    session=TEXTS,
    steps=st.lists(STEPS, max_size=4).map(tuple),
    known=FILES,
    names=st.lists(TEXTS, max_size=3).map(tuple),
)


@given(CHECKPOINTS)
def test_what_is_written_can_be_read(checkpoint: Checkpoint) -> None:
    """All of it, in ASCII."""
    text = encode(checkpoint)
    assert text.isascii()
    assert decode(text) == checkpoint


def test_a_file_is_written_once() -> None:
    """A step has what differs from the one before it."""
    steps = step("1", "large=abc"), step("2", "large=abc b=def"), step("3", "b=def")
    text = encode(Checkpoint(directory="x", session="s", steps=steps))
    assert text.count('"abc"') == 1
    assert text.count('"numpy"') == 1
    assert decode(text).steps == steps


def test_a_cut_off_checkpoint_is_refused() -> None:
    """Wherever it ends."""
    text = encode(Checkpoint(directory="x", session="s", steps=(step("1", "a=1"),)))
    for length in range(len(text) - 1):
        with pytest.raises(CheckpointError):
            decode(text[:length])


@pytest.mark.parametrize(
    "change",
    [
        (f'"version":{VERSION}', f'"version":{VERSION + 1}'),
        ('"passed"', '"failed"'),
        ('"name":"1"', '"name":1'),
        ('"tables"', '"chairs"'),
        ('"gone":[]', '"gone":7'),
        ('[1,2,3,4,"1",true]', '[1,2,3,4,"1"]'),
        ('[1,2,3,4,"1",true]', "[1,2,3,4,1,true]"),
        ('[1,2,3,4,"1",true]', '[1,2,Infinity,4,"1",true]'),
        ('"reason":null', '"reason":7'),
        ('"kernel":null', '"kernel":[]'),
        ('"code":"c"', '"code":null'),
        ('"cpus":"2"', '"cpus":2'),
        ('"env":{"A":"1"}', '"env":"A"'),
        ('"numpy":"2.1"', '"numpy":{}'),
        ('"steps":[', '"steps":[7,'),
        ('"names":[]', '"names":"../data"'),
    ],
)
def test_a_damaged_checkpoint_is_refused(change: tuple[str, str]) -> None:
    """With the reason, and of another version too."""
    text = encode(Checkpoint(directory="x", session="s", steps=(step("1", "a=1"),)))
    assert change[0] in text
    with pytest.raises(
        CheckpointError, match=rf"it (is damaged \(|has version {VERSION + 1}, not {VERSION}$)"
    ):
        decode(text.replace(*change))


@pytest.mark.parametrize("text", ["", "[]", "null", "7", '"x"', "[" * 100_000])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Whatever JSON it is."""
    with pytest.raises(CheckpointError):
        decode(text)


def test_names_are_read_without_the_rest() -> None:
    """Others ask for the names of each checkpoint often; a damaged step does not keep them away."""
    text = encode(Checkpoint(directory="x", session="s", names=("../a", "b")))
    assert decode_names(text) == ("x", ("../a", "b"))
    assert decode_names(text.replace('"steps":[]', '"steps":7')) == ("x", ("../a", "b"))
    with pytest.raises(CheckpointError, match="names: expected array"):
        decode_names(text.replace('["../a","b"]', '"../a"'))


def test_a_file_that_went_and_came_back() -> None:
    """What is gone in one step is there again in a later one."""
    steps = step("1", "a=1 b=1"), step("2", "b=1"), step("3", "a=1 b=2")
    text = encode(Checkpoint(directory="x", session="s", steps=steps))
    assert [entry["gone"] for entry in json.loads(text)["steps"]] == [[], ["a"], []]
    assert decode(text).steps == steps
