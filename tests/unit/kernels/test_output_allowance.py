"""What is kept of a notebook's outputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.kernels.output_allowance import LeftOut, OutputAllowance

LIMIT = 1000
KINDS = (
    "status",
    "stream",
    "display_data",
    "update_display_data",
    "comm_open",
    "comm_msg",
    "clear_output",
    "error",
)


def begun(limit: int = LIMIT) -> OutputAllowance:
    """An allowance, in the first cell."""
    allowance = OutputAllowance(limit_bytes=limit)
    allowance.begin_cell()
    return allowance


def shown(allowance: OutputAllowance, kind: str, size: int) -> int:
    """What is kept of a message that is dealt with at once."""
    kept = allowance.take(kind, size)
    if kept:
        allowance.handed_on(size)
    return kept


def test_what_fits_is_kept() -> None:
    """To the last byte, and nothing is told."""
    allowance = begun()
    assert [shown(allowance, "stream", 500), shown(allowance, "display_data", 500)] == [500, 500]
    assert allowance.end_cell() == LeftOut()


def test_printed_text_is_cut_where_the_room_ends() -> None:
    """Its beginning is kept; of what comes then, nothing."""
    allowance = begun()
    assert [shown(allowance, "stream", size) for size in (900, 300, 10)] == [900, 100, 0]
    assert allowance.end_cell() == LeftOut(over_limit_bytes=210)


def test_a_picture_is_kept_whole_or_not_at_all() -> None:
    """Half of it is of no use; what is smaller may still fit."""
    allowance = begun()
    assert [shown(allowance, "display_data", size) for size in (900, 300, 100)] == [900, 0, 100]


def test_a_message_that_is_far_too_large_is_not_taken_apart() -> None:
    """Decoding it would take several times its size."""
    allowance = begun()
    assert shown(allowance, "stream", 2 * LIMIT) == LIMIT
    assert begun().take("stream", 2 * LIMIT + 1) == 0


def test_what_replaces_something_takes_no_room() -> None:
    """A progress bar or a figure may be updated for as long as it likes."""
    allowance = begun()
    for kind in ("update_display_data", "comm_msg"):
        assert all(shown(allowance, kind, 900) for _ in range(100))
    assert shown(allowance, "stream", LIMIT) == LIMIT


def test_what_waits_is_bounded_too() -> None:
    """Messages that come faster than they are dealt with."""
    allowance = begun()
    kept = [allowance.take("update_display_data", 900) for _ in range(100)]
    assert sum(kept) <= 2 * LIMIT
    allowance.handed_on(900)
    assert allowance.take("update_display_data", 900) == 900


def test_clearing_makes_room() -> None:
    """And nothing is missing of what is no longer shown."""
    allowance = begun()
    assert [shown(allowance, "stream", 900), shown(allowance, "stream", 900)] == [900, 100]
    shown(allowance, "clear_output", 10)
    assert shown(allowance, "stream", 900) == 900
    assert allowance.end_cell() == LeftOut()


def test_the_error_is_kept_after_a_flood() -> None:
    """But errors can flood as well."""
    allowance = begun()
    shown(allowance, "stream", 3 * LIMIT)
    shown(allowance, "stream", LIMIT)
    assert [shown(allowance, "error", size) for size in (600, 600, 400)] == [600, 0, 400]


def test_the_end_of_the_cell_always_comes_through() -> None:
    """Without it the cell would not end."""
    allowance = begun(1)
    assert [allowance.take("status", 700), allowance.take("execute_input", 700)] == [700, 700]


def test_later_cells_share_what_is_left() -> None:
    """And a hundredth of the limit is every cell's own."""
    allowance = begun()
    shown(allowance, "stream", 700)
    allowance.begin_cell()
    assert [shown(allowance, "stream", 200), shown(allowance, "stream", 200)] == [200, 100]
    assert allowance.end_cell() == LeftOut(over_limit_bytes=100)
    allowance.begin_cell()
    assert shown(allowance, "stream", 200) == LIMIT // 100


def test_what_there_was_no_time_for() -> None:
    """It is told apart from what was over the limit; an update that is late is missed by nobody."""
    allowance = begun()
    for kind, size in (("stream", 300), ("comm_msg", 300)):
        allowance.take(kind, size)
        allowance.drop(kind, size)
    left_out = allowance.end_cell()
    assert left_out == LeftOut(late_bytes=300)
    assert left_out.total_bytes == 300
    assert allowance.end_cell() == LeftOut()


def test_what_must_not_be_late() -> None:
    """The end of the cell, and why it ended."""
    assert [kind for kind in KINDS if not OutputAllowance.may_drop(kind)] == ["status", "error"]


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS[1:]), st.integers(1, 3 * LIMIT), st.booleans()), max_size=60
    )
)
def test_memory_is_bounded(messages: list[tuple[str, int, bool]]) -> None:
    """Whatever comes, and whether it is dealt with at once or waits."""
    allowance, waiting, kept_all = begun(), 0, 0
    for kind, size, at_once in messages:
        kept = allowance.take(kind, size)
        assert 0 <= kept <= size
        if kind == "clear_output" and kept:
            kept_all = 0
        elif kind in {"stream", "display_data", "comm_open"}:
            kept_all += kept
        if kept and at_once:
            allowance.handed_on(size)
        elif kept:
            waiting += size
        assert kept_all <= LIMIT
        assert waiting <= 2 * LIMIT
