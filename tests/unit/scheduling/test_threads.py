from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.scheduling.threads import THREAD_VARIABLES, thread_count, thread_variables

NAMES = {variable.name for variable in THREAD_VARIABLES}


@pytest.mark.parametrize(
    ("cpus", "budget_cpus", "parallel", "threads"),
    [
        (2, 8, 4, 2),
        (2.9, 8, 4, 2),
        (0.5, 8, 4, 1),
        (16, 8, 1, 8),
        (4, 1.5, 1, 1),
        (None, 8, 1, 8),
        (None, 8, 4, 2),
        (None, 8, 3, 2),
        (None, 8, 99, 1),
        (None, 0.5, 1, 1),
        (None, 8, 0, 8),
    ],
)
def test_thread_count(cpus: float | None, budget_cpus: float, parallel: int, threads: int) -> None:
    """As declared, else an equal part of the budget; whole, and one at least."""
    assert thread_count(cpus, budget_cpus=budget_cpus, parallel=parallel) == threads


@given(st.floats(1, 512), st.integers(1, 600))
def test_equal_parts_are_no_more_than_the_whole(budget_cpus: float, parallel: int) -> None:
    """Except where there are more experiments than CPUs."""
    threads = thread_count(None, budget_cpus=budget_cpus, parallel=parallel)
    assert threads == 1 or threads * parallel <= budget_cpus


def test_every_library_is_told() -> None:
    """Each in its own words."""
    assert thread_variables(3, {}) == dict.fromkeys(NAMES, "3")
    assert len(NAMES) == len(THREAD_VARIABLES)


@given(st.integers(1, 999), st.dictionaries(st.sampled_from(sorted(NAMES)), st.text()))
def test_what_the_user_has_set_stays(threads: int, env: dict[str, str]) -> None:
    """Whatever it is, and be it empty."""
    added = thread_variables(threads, env)
    assert set(added) == NAMES - set(env)
    assert all(int(value) >= 1 for value in added.values())


@pytest.mark.parametrize(
    ("env", "added"),
    [
        (
            {"OMP_NUM_THREADS": "1"},
            {
                "MKL_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "BLIS_NUM_THREADS": "1",
                "NUMEXPR_NUM_THREADS": "1",
                "NUMBA_NUM_THREADS": "8",
            },
        ),
        ({"OMP_NUM_THREADS": "4,2"}, {"NUMEXPR_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}),
        ({"OMP_NUM_THREADS": " 04 , 2"}, {"OPENBLAS_NUM_THREADS": "4"}),
        ({"OMP_NUM_THREADS": "many"}, {"OPENBLAS_NUM_THREADS": "8"}),
        ({"OMP_NUM_THREADS": "0"}, {"OPENBLAS_NUM_THREADS": "8"}),
        ({"OMP_NUM_THREADS": ""}, {"OPENBLAS_NUM_THREADS": "8"}),
        ({"OMP_NUM_THREADS": "2x"}, {"OPENBLAS_NUM_THREADS": "8"}),
        (
            {"GOTO_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"},
            {"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "3"},
        ),
        ({"BLIS_NT": "2"}, {"BLIS_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "8"}),
        ({"NUMEXPR_MAX_THREADS": "6"}, {"NUMEXPR_NUM_THREADS": "6"}),
        ({"MKL_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "8", "OPENBLAS_NUM_THREADS": "8"}),
    ],
)
def test_what_libraries_fall_back_on_is_passed_on(
    env: dict[str, str], added: dict[str, str]
) -> None:
    """A variable of the library's own must not hide the number that the user chose."""
    assert thread_variables(8, env).items() >= added.items()


def test_numexpr_gets_no_more_than_it_takes() -> None:
    """Beyond 64 it prints an error and uses one thread."""
    assert thread_variables(128, {})["NUMEXPR_NUM_THREADS"] == "64"
    assert thread_variables(128, {})["OMP_NUM_THREADS"] == "128"
    assert thread_variables(2, {"OMP_NUM_THREADS": "96"})["NUMEXPR_NUM_THREADS"] == "64"


def test_nothing_is_added_for_libraries_that_see_the_limit_themselves() -> None:
    """Then joblib and dask tell their workers to use one thread each."""
    alone = thread_variables(8, {}, visible_cpus=8)
    assert not {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} & set(alone)
    assert alone["PYTHON_CPU_COUNT"] == alone["NUMEXPR_NUM_THREADS"] == "8"
    assert thread_variables(8, {}, visible_cpus=4) == alone
    assert thread_variables(8, {}, visible_cpus=9) == thread_variables(8, {})
