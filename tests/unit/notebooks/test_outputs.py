"""What a cell has shown, as its notebook stores it."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode, from_dict  # noqa: TID253

from pytest_nbgroups.core.units import Size
from pytest_nbgroups.kernels.output_allowance import LeftOut
from pytest_nbgroups.notebooks.outputs import (
    error_output_warnings,
    joined_streams,
    left_out_warnings,
    mark_left_out,
    printed,
)

LIMIT = Size(10**8, "100MB")
LEFT_OUT = LeftOut(over_limit_bytes=3 * 2**30)


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


ERROR = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
PICTURE = {"output_type": "display_data", "data": {}, "metadata": {}}


def cell(*outputs: dict[str, Any]) -> NotebookNode:
    made: NotebookNode = from_dict({"cell_type": "code", "outputs": list(outputs)})
    return made


def test_pieces_are_joined() -> None:
    """What was printed in one go becomes one output."""
    made = cell(stream("a"), stream("b"), PICTURE, stream("c"), stream("d", "stderr"))
    joined = joined_streams(made.outputs)
    assert [o.get("text") for o in joined] == ["ab", None, "c", "d"]
    assert [o.get("text") for o in made.outputs] == ["a", "b", None, "c", "d"]


def test_joining_takes_time_in_proportion() -> None:
    """Twenty thousand pieces in no time; added one by one to a text they took minutes."""
    made = cell(*[stream("x" * 500)] * 20_000)
    (joined,) = joined_streams(made.outputs)
    assert len(joined.text) == 10_000_000


def test_only_the_end_of_what_was_printed_is_looked_at() -> None:
    """The last ten lines, whatever came before."""
    made = cell(stream("x" * 10_000_000), stream("\n".join(map(str, range(1000)))), PICTURE)
    assert printed(made).splitlines() == [str(number) for number in range(990, 1000)]
    assert printed(cell(PICTURE)) == ""


def test_what_is_left_out_is_told_where_it_is_missing() -> None:
    """On a line of its own, before the error, with the last lines that were printed."""
    made = cell(stream("kept"), ERROR)
    mark_left_out(made, LEFT_OUT, LIMIT, "half a line\nthe end\n")
    assert [o.output_type for o in made.outputs] == ["stream", "stream", "error"]
    assert made.outputs[1].text == (
        "\n[3 GiB of output left out: experiment_output_limit is 100MB]\n"
        "[its last lines:]\nhalf a line\nthe end\n"
    )


def test_the_note_goes_where_the_text_went() -> None:
    """To the same stream, so that both are one; after a picture it is printed."""
    made = cell(stream("kept\n", "stderr"))
    mark_left_out(made, LEFT_OUT, LIMIT, "")
    assert (made.outputs[1].name, made.outputs[1].text[0]) == ("stderr", "[")
    made = cell(PICTURE)
    mark_left_out(made, LEFT_OUT, LIMIT, "")
    assert made.outputs[1].name == "stdout"


def test_what_was_late_is_told_as_such() -> None:
    """Raising the limit would not help, so no warning says so."""
    made = cell()
    mark_left_out(made, LeftOut(late_bytes=2048), LIMIT, "")
    assert made.outputs[0].text == "[2 KiB of output left out: the cell had to end]\n"
    assert not list(left_out_warnings("A: 1.ipynb, cell 2", LeftOut(late_bytes=2048), LIMIT))


def test_the_warning() -> None:
    """It says where, how much, and what to raise."""
    assert list(left_out_warnings("A: 1.ipynb, cell 2", LEFT_OUT, LIMIT)) == [
        (
            "A: 1.ipynb, cell 2: 3 GiB of its output were left out, more than a notebook may keep; "
            "raise experiment_output_limit (100MB) in the ini file if it is needed"
        )
    ]


def test_what_was_lost_is_told() -> None:
    """With what may have been the reason."""
    (warning,) = left_out_warnings("A: 1.ipynb, cell 2", LeftOut(lost_messages=1), LIMIT)
    assert "at least 1 of its outputs was lost: its kernel dropped it because " in warning
    assert list(left_out_warnings("A: 1.ipynb, cell 2", LeftOut(lost_messages=40), LIMIT)) == [
        (
            "A: 1.ipynb, cell 2: at least 40 of its outputs were lost: its kernel dropped them because the "
            "machine was too busy to take them; run fewer experiments at once, or print less often"
        )
    ]


def test_what_was_refused_is_told() -> None:
    """With the reasons."""
    refused = LeftOut(refused_messages=2, refusals=("stream: E: a", "stream: E: b"))
    assert list(left_out_warnings("A: 1.ipynb, cell 2", refused, LIMIT)) == [
        (
            "A: 1.ipynb, cell 2: 2 outputs were left out because a notebook cannot hold them: "
            "stream: E: a; stream: E: b; check what the cell displays"
        )
    ]


def test_a_missing_end_is_told() -> None:
    """It need not be the machine's fault."""
    assert list(left_out_warnings("A", LeftOut(is_end_missing=True), LIMIT)) == [
        (
            "A: its kernel never reported the end of its outputs, and the last ones may be missing: the "
            "machine was too busy, or this kernel does not report it"
        )
    ]


def test_errors_of_many_cells() -> None:
    """One line for each error, with its first cells; of many errors the first five."""
    everywhere = dict.fromkeys((0, 2, 3, 7, 9), ("E: hook",))
    once = {1: ("E: once", "E: once")}
    remedy = (
        "; tag a cell raises-exception if the error belongs there, or set experiment_error_outputs "
        "in the ini file"
    )
    among = "passed although an error is among the outputs:"
    assert list(error_output_warnings("A: 1.ipynb", {**everywhere, **once})) == [
        f"A: 1.ipynb, cells 1, 3, 4 and 2 more: {among} E: hook{remedy}",
        f"A: 1.ipynb, cell 2: {among} E: once{remedy}",
    ]
    many = {index: (f"E: {index}",) for index in range(7)}
    warnings = list(error_output_warnings("A", many))
    assert len(warnings) == 6
    assert warnings[-1] == "A: 2 more different errors are among the outputs of cells that passed"
