from __future__ import annotations

import re
import unicodedata
from html import unescape

from hypothesis import given
from report_samples import (
    GIB,
    cell_failure,
    failed,
    gpu,
    lease,
    passed,
    recorded,
    result,
    results,
    reused,
    texts,
    usage,
)

from pytest_nbgroups.core.events import ExperimentFinished
from pytest_nbgroups.core.model import ExperimentResult
from pytest_nbgroups.reports.closing_table import table_rows
from pytest_nbgroups.reports.failure import failure_lines
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.markdown import escaped, summary_markdown
from pytest_nbgroups.reports.record import SessionRecord


def test_the_summary_of_a_session() -> None:
    """A heading, the table, and a folded block for the failure."""
    rows = table_rows(recorded(result(), result("passed", name="Lung_2"), worker="gw0"))
    details = {rows[0]: ["E   ValueError: <bad> & worse", "", "rerun: pytest"]}
    assert (
        summary_markdown(rows, details=details, duration_s=75.0)
        == """\
### Experiments: 1 failed, 1 passed in 1m15s

| experiment | outcome | notebooks | time | worker | reason |
|:--|:--|--:|--:|:--|:--|
| Heart | failed | 1/3 | 1m14s | gw0 | 2-fit.ipynb, cell 5: ValueError: bad value |
| Lung&#95;2 | passed | 3/3 | 1m14s | gw0 |  |

<details><summary>Heart: 2-fit.ipynb, cell 5: ValueError: bad value</summary>

<pre>
E   ValueError: &lt;bad&gt; &amp; worse

rerun: pytest
</pre>

</details>
"""
    )


def test_peaks_of_memory_and_gpus_have_columns_where_there_are_any() -> None:
    """In the order of the table on the terminal."""
    one = result("passed", notebooks=(passed(usage=usage(GIB * 3 // 2)),), lease=lease("GPU-1"))
    rows = table_rows(recorded(one, worker="gw0"), gpus=(gpu(1),))
    assert summary_markdown(rows, details={}).splitlines()[2:5] == [
        "| experiment | outcome | notebooks | time | peak memory | GPUs | worker | reason |",
        "|:--|:--|--:|--:|--:|:--|:--|:--|",
        "| Heart | passed | 1/1 | 1m14s | 1.5 GiB | 1 | gw0 |  |",
    ]


def test_what_was_reused_is_told() -> None:
    """With the reason why it was not more, and behind what went wrong."""
    why = "reused 1 of 2 notebooks (2-fit.ipynb: its code has changed)"
    again = result(notebooks=(reused(), failed()), reuse=why)
    row = summary_markdown(table_rows(recorded(again)), details={}).splitlines()[4]
    reason = f"2-fit.ipynb, cell 5: ValueError: bad value; {why}"
    assert row == f"| Heart | failed | 1/2 | 1m14s |  | {reason} |"


def test_a_failure_is_told_of_its_own_experiment_alone() -> None:
    """A test may run several, which have one node id."""
    record = SessionRecord()
    for each in (result("passed", name="Lung"), result()):
        finished = ExperimentFinished(experiment=each.name, at=1.0, result=each)
        record.add(finished, worker="", nodeid="test_it.py::test_it")
    rows = table_rows(record.experiments())
    text = summary_markdown(rows, details={rows[1]: ["E   bad value"]})
    assert text.count("<details>") == text.count("<summary>Heart: ") == 1


def test_without_experiments_there_is_no_summary() -> None:
    """A step that ran none says nothing."""
    assert summary_markdown((), details={}) == ""


def test_the_duration_may_be_left_out() -> None:
    """The heading then has the totals alone."""
    rows = table_rows(recorded(result("passed")))
    assert summary_markdown(rows, details={}).startswith("### Experiments: 1 passed\n")


def test_what_means_something_is_escaped() -> None:
    """Pipes, line ends, code, emphasis, HTML and TeX show as they stand."""
    assert escaped("a|b\n`c` *d* <e> $f$") == (
        "a&#124;b &#96;c&#96; &#42;d&#42; &#60;e&#62; &#36;f&#36;"
    )


def test_a_message_cannot_break_the_table() -> None:
    """A row stays a row of six cells."""
    failure = cell_failure(message="ValueError: a|b\n|c|</details>")
    rows = table_rows(recorded(result(notebooks=(failed(failure=failure),))))
    (row,) = [line for line in summary_markdown(rows, details={}).splitlines() if "Heart" in line]
    assert row.count("|") == 7
    assert row.endswith("ValueError: a&#124;b &#124;c&#124;&#60;/details&#62; |")


@given(texts)
def test_escaping_loses_nothing(text: str) -> None:
    """HTML shows the text again, and nothing of Markdown is left in it."""
    assert unescape(escaped(text)) == one_line(text)
    assert not re.search(r"[|`<>*_\\\[\]~$]", escaped(text))


@given(results())
def test_any_result_can_be_summarized(of: ExperimentResult) -> None:
    """Line ends are its only control characters, and its row has as many cells as the header."""
    rows = table_rows(recorded(of))
    lines = failure_lines(of, rerun_command="pytest")
    text = summary_markdown(rows, details={rows[0]: lines})
    assert not {"Cc", "Cs"} & set(map(unicodedata.category, text.replace("\n", "")))
    header, rule, row = text.splitlines()[2:5]
    assert header.count("|") == rule.count("|") == row.count("|") >= 7
    assert text.count("<details>") == text.count("</details>") == 1
