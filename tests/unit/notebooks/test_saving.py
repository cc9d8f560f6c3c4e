"""The executed copy of a notebook, written while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nbformat import NotebookNode, read, writes  # noqa: TID253  to read what was written
from nbformat.v4 import new_code_cell, new_notebook, new_output  # noqa: TID253  to make notebooks

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.notebooks.saving import ExecutedCopy


def notebook() -> NotebookNode:
    made: NotebookNode = new_notebook(cells=[new_code_cell("print('a')", id="a")])
    return made


def printing(made: NotebookNode, text: str) -> None:
    made.cells[0].outputs.append(new_output("stream", name="stdout", text=text))


def copy_of(made: NotebookNode, folder: Path) -> ExecutedCopy:
    artifacts = Artifacts(folder=folder / ".experiments")
    return ExecutedCopy(made, artifacts, artifacts.executed("A", "1-load.ipynb"))


def test_what_is_shown_meanwhile_is_written(tmp_path: Path) -> None:
    """Again for every change, and its pieces stay in the notebook that runs as they have come."""
    made = notebook()
    copy = copy_of(made, tmp_path)

    async def run() -> None:
        async with copy.kept_up_to_date(every_s=0.01):
            for count, text in enumerate(["one\n", "two\n"], start=1):
                printing(made, text)
                await written(copy, "text", "one\ntwo\n"[: 4 * count])

    asyncio.run(run())
    assert [output.text for output in made.cells[0].outputs] == ["one\n", "two\n"]
    assert copy.save() == ""
    assert [path.name for path in copy.path.parent.iterdir()] == ["1-load.ipynb"]


async def written(copy: ExecutedCopy, name: str, value: object) -> None:
    """Wait until the copy's one output has a value: a file tells nobody of its change."""

    def shows() -> bool:
        if not copy.path.exists():
            return False
        (output,) = read(copy.path, as_version=4).cells[0].outputs
        return bool(output[name] == value)

    async with asyncio.timeout(10):
        while not shows():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_what_takes_the_place_of_another_is_written(tmp_path: Path) -> None:
    """As a picture that is drawn again and again: by an update, or cleared and shown anew."""
    made = notebook()
    copy = copy_of(made, tmp_path)
    outputs = made.cells[0].outputs

    async def run() -> None:
        async with copy.kept_up_to_date(every_s=0.01):
            outputs.append(new_output("display_data", data={"text/plain": "one"}))
            await written(copy, "data", {"text/plain": "one"})
            outputs[0]["data"] = {"text/plain": "two"}
            await written(copy, "data", {"text/plain": "two"})
            outputs[:] = [new_output("display_data", data={"text/plain": "three"})]
            await written(copy, "data", {"text/plain": "three"})

    asyncio.run(run())


def test_what_cannot_be_written_is_told_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not each time; the file is named."""
    (tmp_path / ".experiments").write_text("a file")
    made = notebook()
    copy = copy_of(made, tmp_path)
    save = copy.save

    async def run() -> None:
        tried = asyncio.Semaphore(0)

        def noted() -> str:
            tried.release()
            return save()

        monkeypatch.setattr(copy, "save", noted)
        async with asyncio.timeout(10), copy.kept_up_to_date(every_s=0.001):
            for text in ("one\n", "two\n"):
                printing(made, text)
                await tried.acquire()

    asyncio.run(run())
    told = save()
    assert told.startswith(f"{copy.path}: the executed notebook could not be saved: ")


def test_nothing_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A notebook that nbformat finds invalid is saved as it is, every two seconds, without a record of it."""
    made = notebook()
    made.cells[0].execution_count = "one"
    assert copy_of(made, tmp_path).save() == ""
    assert caplog.records == []
    writes(made)
    assert caplog.records != []
