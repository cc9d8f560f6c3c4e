from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.units import SIZE_EXAMPLES, Size
from pytest_nbgroups.declarations.declaration import (
    Declaration,
    NotebookOptions,
    RunOptions,
    read_declaration,
    read_patterns,
    specificity,
)
from pytest_nbgroups.declarations.keys import KEYS, json_schema

SCHEMA = jsonschema.Draft7Validator(json_schema())

anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer())
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
near_values = st.one_of(
    st.sampled_from(
        [
            True, False, -1, 0, 1, 2, 0.5, 2**31, 2**63, "", " ", "a", "4GB", "4 gib", "4G", "0GB",
            "00.0 MB", "0.5 MB", "1h30m", "1h30", "90", "0s", "1e3", "٣s", "12 34", "module:a",
            "env:A B", "slow", "not slow", [], {}, {"": "a"}, {"A=B": "x"}, {"*": ""}, {"*": "a"},
            {"A": " "}, ["a"], [""], [" "], ["module:a"], [1], {"A": 1},
        ]
    ),
    anything,
)  # fmt: skip


def near_table(table: str) -> st.SearchStrategy[dict[str, Any]]:
    """Tables with the right keys, mostly, and values that are right for some of them."""
    names = [key.name for key in KEYS if key.table == table]
    return st.dictionaries(st.sampled_from([*names, "typo"]), near_values, max_size=3)


near_documents = st.fixed_dictionaries(
    {},
    optional={
        "resources": near_table("resources"),
        "run": near_table("run"),
        "notebooks": st.dictionaries(st.text(max_size=3), near_table("notebooks"), max_size=2),
    },
)


def read(data: Any, prefix: str = "") -> Declaration:
    """Read as if from experiment.toml."""
    return read_declaration(data, source="A/experiment.toml", prefix=prefix)


def faults(data: Any, prefix: str = "") -> list[str]:
    """Lines of the message, without the file that each begins with."""
    with pytest.raises(DeclarationError) as caught:
        read(data, prefix)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("A/experiment.toml: ") for line in lines)
    return [line.removeprefix("A/experiment.toml: ") for line in lines]


def test_nothing_declared() -> None:
    """An empty file leaves every default."""
    declared = read({})
    assert declared == Declaration()
    assert declared.resources == Resources()
    assert declared.run == RunOptions()
    assert declared.notebook("1.ipynb") == NotebookOptions()


def test_what_is_declared_is_read() -> None:
    """Every table ends up in its value."""
    declared = read(
        {
            "resources": {"cpus": 2, "ram": "4GB", "locks": ["data"]},
            "run": {"order": ["b.ipynb", "a.ipynb"], "timeout": "2h", "env": {"A": "1"}},
            "notebooks": {"a.ipynb": {"skip": "broken", "timeout": 90}},
        }
    )
    assert declared.resources == Resources(cpus=2.0, ram=Size(4 * 10**9), locks=("data",))
    assert declared.run == RunOptions(order=("b.ipynb", "a.ipynb"), timeout=7200.0, env={"A": "1"})
    assert declared.notebook("a.ipynb") == NotebookOptions(skip="broken", timeout=90.0)


def test_every_fault_is_listed() -> None:
    """Nobody wants to learn of them one by one."""
    assert faults({"resources": {"cpu": 2, "gpus": 1.5}, "run": {"skip": True}, "extra": {}}) == [
        "extra: unknown table; accepted are notebooks, resources, run",
        (
            "[resources] cpu: unknown key; did you mean cpus? accepted are cpus, exclusive, gpu_memory, "
            "gpu_min_memory, gpus, locks, ram, ram_limit"
        ),
        "[resources] gpus = 1.5: expected a whole number, 0 or more",
        '[run] skip = true: expected the reason as text, such as "needs Docker"',
    ]


@pytest.mark.parametrize(
    ("value", "echo"),
    [
        ("-4GB", '"-4GB"'),
        ("é\n", '"é\\n"'),
        (True, "true"),
        (math.nan, "NaN"),
        (dt.date(2024, 5, 6), '"2024-05-06"'),
        ("x" * 100, '"' + "x" * 56 + "..."),
        pytest.param(int("f" * 5000, 16), "...", id="thousands of digits"),
    ],
)
def test_the_value_given_is_shown(value: object, echo: str) -> None:
    """On one line, cut where it is long."""
    assert faults({"resources": {"ram": value}}) == [
        f"[resources] ram = {echo}: expected {SIZE_EXAMPLES}"
    ]


def test_tables_must_be_tables() -> None:
    """A key where a table belongs is told how to be written."""
    assert faults({"resources": 3, "notebooks": {"a.ipynb": "why"}}) == [
        "resources = 3: expected a table, written [resources]",
        (
            '[notebooks] "a.ipynb" = "why": expected a table for each notebook, written '
            '[notebooks."<file name>"]'
        ),
    ]


@pytest.mark.parametrize(
    ("data", "prefix", "place"),
    [
        ({"run": {"skip": 1}}, "", "[run]"),
        ({"notebooks": {"a b.ipynb": {"skip": 1}}}, "", '[notebooks."a b.ipynb"]'),
        ({"notebooks": {'a".ipynb': {"skip": 1}}}, "", '[notebooks."a\\".ipynb"]'),
        ({"notebooks": {"": {"skip": 1}}}, "", '[notebooks.""]'),
        ({"notebooks": {"a\nb": {"skip": 1}}}, "", '[notebooks."a\\nb"]'),
        ({"run": {"skip": 1}}, 'tool.x."Heart *"', '[tool.x."Heart *".run]'),
    ],
)
def test_places_are_written_as_in_toml(data: Any, prefix: str, place: str) -> None:
    """They can be searched for in the file, and never break a line."""
    assert [fault.partition(" skip = ")[0] for fault in faults(data, prefix)] == [place]


def test_unknown_keys_are_quoted_where_toml_would() -> None:
    """A key with a line end is one line still."""
    assert faults({"run": {"a\nb": 1}})[0].startswith('[run] "a\\nb": unknown key; accepted are ')


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_share_is_of_one_gpu(gpus: int) -> None:
    """A share of several GPUs means nothing."""
    assert faults({"resources": {"gpus": gpus, "gpu_memory": "8GB"}}) == [
        (
            f"[resources] gpus = {gpus} with gpu_memory: gpu_memory is a share of one GPU; "
            "remove gpus, or declare whole GPUs with gpu_min_memory"
        )
    ]


def test_a_share_or_whole_gpus() -> None:
    """Both at once contradict each other."""
    assert faults({"resources": {"gpu_memory": "8GB", "gpu_min_memory": "24GB"}}) == [
        (
            "[resources] gpu_memory with gpu_min_memory: the first is a share of one GPU, the second "
            "asks for whole ones; keep one of them"
        )
    ]


def test_a_share_implies_one_gpu() -> None:
    """So does a minimum; saying it besides does no harm."""
    assert read({"resources": {"gpu_memory": "8GB"}}).resources.gpu_count == 1
    assert read({"resources": {"gpu_memory": "8GB", "gpus": 1}}).resources.gpu_count == 1
    assert read({"resources": {"gpu_min_memory": "8GB"}}).resources.gpu_count == 1
    assert read({"resources": {"gpus": 2}}).resources.gpu_count == 2


def test_the_upper_declaration_wins() -> None:
    """Key by key: what it does not declare comes from the lower one."""
    lower = read({"resources": {"cpus": 2, "ram": "1GB"}, "run": {"requires": ["env:A"]}})
    upper = read({"resources": {"ram": "4GB"}, "run": {"requires": ["env:B"]}})
    declared = upper.over(lower)
    assert declared.resources == Resources(cpus=2.0, ram=Size(4 * 10**9))
    assert declared.run.requires == ("env:B",)


def test_tables_of_texts_are_joined() -> None:
    """``env`` and ``exclude`` are added to; the upper ones win and come last."""
    lower = read({"run": {"env": {"A": "1", "B": "1"}, "exclude": {"*": "all"}}})
    upper = read({"run": {"env": {"B": "2", "C": "2"}, "exclude": {"x*": "mine"}}})
    run = upper.over(lower).run
    assert run.env == {"A": "1", "B": "2", "C": "2"}
    assert list(run.exclude.items()) == [("*", "all"), ("x*", "mine")]
    assert Declaration().over(lower) == lower
    assert lower.over(Declaration()) == lower


def test_tables_of_notebooks_are_joined() -> None:
    """By notebook, then key by key."""
    lower = read({"notebooks": {"a": {"skip": "low", "timeout": 1}, "b": {"skip": "low"}}})
    upper = read({"notebooks": {"a": {"skip": "up"}, "c": {"timeout": 3}}})
    declared = upper.over(lower)
    assert declared.notebook("a") == NotebookOptions(skip="up", timeout=1.0)
    assert declared.notebook("b") == NotebookOptions(skip="low")
    assert declared.notebook("c") == NotebookOptions(timeout=3.0)


@pytest.mark.parametrize(
    ("lower", "upper", "combined"),
    [
        ({"gpus": 2}, {"gpu_memory": "8GB"}, {"gpu_memory": "8GB"}),
        ({"gpu_min_memory": "24GB", "gpus": 1}, {"gpu_memory": "8GB"}, {"gpu_memory": "8GB"}),
        ({"gpu_memory": "8GB"}, {"gpus": 2}, {"gpus": 2}),
        ({"gpu_memory": "8GB"}, {"gpus": 0}, {"gpus": 0}),
        ({"gpus": 2}, {"gpu_min_memory": "8GB"}, {"gpus": 2, "gpu_min_memory": "8GB"}),
        ({"gpus": 2}, {"ram": "8GB"}, {"gpus": 2, "ram": "8GB"}),
    ],
)
def test_a_share_replaces_whole_gpus(
    lower: dict[str, object], upper: dict[str, object], combined: dict[str, object]
) -> None:
    """What is declared nearer is the whole answer to how a GPU is wanted."""
    declared = read({"resources": upper}).over(read({"resources": lower}))
    assert declared == read({"resources": combined})


@given(st.dictionaries(st.sampled_from(["resources", "run", "notebooks", "x"]), anything))
@example({"resources": {"ram": 10**400, "cpus": math.nan}, "run": {"timeout": math.inf}})
def test_anything_else_is_a_declaration_error(data: dict[str, Any]) -> None:
    """No file, however strange, ends in a traceback."""
    try:
        read(data)
    except DeclarationError as exc:
        message = str(exc)
    else:
        message = ""
    assert all(line.startswith("A/experiment.toml: ") for line in message.split("\n") if message)


@given(near_documents)
@example({"resources": {"gpu_memory": "8GB", "gpus": 2}})
@example({"resources": {"gpu_memory": "8GB", "gpus": 1}})
@example({"resources": {"gpu_memory": "8GB", "gpu_min_memory": "8GB"}})
def test_editors_accept_what_the_plugin_accepts(data: dict[str, Any]) -> None:
    """The JSON schema and the reader agree, document by document."""
    try:
        read(data)
        accepted = True
    except DeclarationError:
        accepted = False
    assert SCHEMA.is_valid(data) is accepted


@pytest.mark.parametrize("key", [k for k in KEYS if k.table != "notebooks"], ids=lambda k: k.name)
@pytest.mark.parametrize("length", [0, 1])
def test_editors_and_the_plugin_agree_key_by_key(key: Any, length: int) -> None:
    """For each key and each value that is right or nearly so for some key."""
    samples: list[object] = ["4GB", "4G", "0B", "1h30m", "1h30", "0s", 5, 0, -1, 0.5, True, " ", []]
    samples += [[s] * length for s in ("a", " ", "module:x", 3)]
    samples += [{name: text} for name in ("A", "", "A=B") for text in ("x", "")]
    for sample in samples:
        try:
            read({key.table: {key.name: sample}})
            accepted = True
        except DeclarationError:
            accepted = False
        assert SCHEMA.is_valid({key.table: {key.name: sample}}) is accepted, sample


def test_patterns() -> None:
    """Of pyproject.toml, each with the tables of experiment.toml."""
    patterns = read_patterns(
        {"experiments": {"Heart-*": {"resources": {"ram": "8GB"}}, "*": {}}}, source="p"
    )
    assert list(patterns) == ["Heart-*", "*"]
    assert patterns["Heart-*"].resources.ram == Size(8 * 10**9)
    assert read_patterns({}, source="p") == {}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "p: tool.nbgroups = 3: expected a table"),
        ([], "p: tool.nbgroups = []: expected a table"),
        (
            {"experiment": {}},
            (
                "p: [tool.nbgroups] experiment: unknown key; did you mean experiments? "
                "accepted are experiments"
            ),
        ),
        (
            {"experiments": []},
            'p: [tool.nbgroups.experiments]: expected tables written [tool.nbgroups.experiments."<pattern>".run]',
        ),
        (
            {"experiments": {"A": 1}},
            'p: [tool.nbgroups.experiments]: expected tables written [tool.nbgroups.experiments."<pattern>".run]',
        ),
        (
            {"experiments": {"a b/*": {"run": {"skip": ""}}}},
            (
                'p: [tool.nbgroups.experiments."a b/*".run] skip = "": expected the reason as text, '
                'such as "needs Docker"'
            ),
        ),
        (
            {"experiments": {"A": {"run": 3}}},
            'p: run = 3: expected a table, written [tool.nbgroups.experiments."A".run]',
        ),
    ],
)
def test_bad_patterns_are_named(table: object, message: str) -> None:
    """With the table as it stands in pyproject.toml."""
    with pytest.raises(DeclarationError, match=f"^{re.escape(message)}$"):
        read_patterns(table, source="p")


def test_specificity() -> None:
    """Exact names above patterns, then more text above less; wildcards of any kind count nothing."""
    ascending = ["*", "H*", "He[abc]*", "Hea*", "Heart-??", "Heart", "Heart-1"]
    assert sorted(ascending, key=specificity) == ascending
    assert specificity("a?") == specificity("a*") == specificity("a[xyz]")
