"""The comparison can fail: each test has a pair of texts that differ in one thing."""

from __future__ import annotations

import pytest
from comparison import difference, excerpt, portable

TABLE = """\
experiment  outcome  notebooks   time  peak memory
Pi          passed         3/3  8.19s     54.6 MiB
Pi-again    passed         3/3  1m02s      1.2 GiB
2 passed in 8.84s
"""
FAILURE = """\
FAILURES
experiment Pi, notebook 2 of 3: 2-estimate.ipynb
E   FileNotFoundError: point.json
rerun: pytest --run-experiments
1 failed in 6.31s
"""


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("passed in 2.87s, 53.3 MiB", "passed in 0.11s, 1.1 GiB"),
        ("1 failed in 62.31s (0:01:02)", "1 failed in 6.31s"),
        ("Heart 1h02m", "Heart 47m"),
        ("pytest-9.2.0", "pytest-10.0.0rc1"),
        ("s.......    [100%]", "...s.... [100%]"),
        ("a  1 B\nb", "b\na 200 kB"),
        ("plugins: xdist-3.8.0, nbgroups-0.1.0", "plugins: nbgroups-0.1.0, xdist-3.8.0"),
    ],
)
def test_numbers_and_order_may_differ(shown: str, printed: str) -> None:
    """Times, sizes, versions, the order of lines and the width of columns are no difference."""
    assert not difference(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("Pi passed", "Pi failed"),
        ("rerun: pytest -n auto", "rerun: pytest"),
        ("one\ntwo", "one"),
        ("s... [100%]", ".... [100%]"),
        ("waits for 3 s", "waits for 3 CPUs"),
        ("plugins: xdist-3.8.0", "plugins: xdist-3.8.0, timeout-2.4.0"),
    ],
)
def test_words_may_not_differ(shown: str, printed: str) -> None:
    """A changed word, a missing line and another outcome are shown as a diff."""
    changed = difference(shown, printed)
    assert any(line.startswith("-") for line in changed.splitlines()[2:])


def test_a_table_with_a_changed_outcome_differs() -> None:
    """The diff has the line of the document and the line of the command."""
    changed = difference(TABLE, TABLE.replace("Pi          passed", "Pi          failed"))
    assert "-Pi passed #/# TIME SIZE" in changed
    assert "+Pi failed #/# TIME SIZE" in changed


def test_an_excerpt_goes_from_its_first_line_to_its_last() -> None:
    """Its own lines between the two do not matter; that is what the document may have wrong."""
    shown = (
        "experiment Pi, notebook 2 of 3: 2-estimate.ipynb\nold\nrerun: pytest --run-experiments\n"
    )
    assert excerpt(FAILURE, shown) == "".join(FAILURE.splitlines(keepends=True)[1:4])
    assert excerpt(FAILURE, shown.replace("rerun", "again")) is None
    assert excerpt("", shown) is None


def test_an_output_is_shown_as_a_reader_sees_it() -> None:
    """Colours, overwritten text, the folder of the run and development versions are removed."""
    printed = (
        "\x1b[1mplatform linux -- Python 3.11.7, pytest-9.2.0 -- /tmp/x/bin/python\x1b[0m\r\n"
        "created: 0/2 workers\rcreated: 2/2 workers  \r\n"
        "rootdir: /tmp/x/tutorial\r\n"
        "plugins: nbgroups-0.1.dev12+g1234, xdist-3.8.0\r\n"
        "plugins: nbgroups-0.2.1.dev12+g1234, xdist-3.8.0\r\n"
    )
    assert portable(printed, "/tmp/x/tutorial", "tutorial") == (  # noqa: S108  a text
        "platform linux -- Python 3.11.7, pytest-9.2.0\n"
        "created: 2/2 workers\n"
        "rootdir: /home/user/tutorial\n"
        "plugins: nbgroups-0.1.0, xdist-3.8.0\n"
        "plugins: nbgroups-0.2.1, xdist-3.8.0\n"
    )
