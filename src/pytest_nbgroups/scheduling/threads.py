"""Number of threads of the libraries in a kernel, and the variables that set it. Pure.

Libraries count the CPUs of the machine, or those of the process's affinity. Most ignore a cgroup's
quota, the lease and the experiments beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_FIRST_NUMBER = re.compile(r"\s*0*([1-9][0-9]{0,8})\s*(,|$)")


@dataclass(frozen=True, kw_only=True)
class ThreadVariable:
    """A variable that limits the threads, or the processes, of a library."""

    name: str
    library: str
    meaning: str
    falls_back_on: tuple[str, ...] = ()
    """Variables that the library reads, in turn, if this one is not set."""
    most: int | None = None
    """The largest number that the library takes."""
    sees_affinity: bool = False
    """True if the default is the number of CPUs in the process's affinity (if the system has one)."""


THREAD_VARIABLES = (
    ThreadVariable(
        name="OMP_NUM_THREADS",
        library="OpenMP: PyTorch, scikit-learn, XGBoost, LightGBM",
        meaning="Threads of a parallel region. A list (`4,2`) has one number for each level of nesting.",
        sees_affinity=True,
    ),
    ThreadVariable(
        name="MKL_NUM_THREADS",
        library="Intel MKL: NumPy and SciPy from conda, PyTorch",
        meaning="Threads of a call.",
        falls_back_on=("OMP_NUM_THREADS",),
        sees_affinity=True,
    ),
    ThreadVariable(
        name="OPENBLAS_NUM_THREADS",
        library="OpenBLAS: NumPy and SciPy from PyPI",
        meaning="Threads of a call; never more than there are CPUs.",
        falls_back_on=("GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
        sees_affinity=True,
    ),
    ThreadVariable(
        name="BLIS_NUM_THREADS",
        library="BLIS and AMD AOCL-BLAS",
        meaning="Threads of a call. Unset, BLIS itself uses one. `BLIS_JC_NT` and its like come first.",
        falls_back_on=("BLIS_NT", "OMP_NUM_THREADS"),
    ),
    ThreadVariable(
        name="VECLIB_MAXIMUM_THREADS",
        library="Apple Accelerate (macOS): NumPy from PyPI on Apple silicon",
        meaning="The most threads of a call.",
        sees_affinity=True,
    ),
    ThreadVariable(
        name="NUMEXPR_NUM_THREADS",
        library="NumExpr: `pandas.eval`, PyTables",
        meaning=(
            "Threads of an expression. More than `NUMEXPR_MAX_THREADS` (64 where unset) gives an "
            "error message and one thread."
        ),
        falls_back_on=("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS"),
        most=64,
    ),
    ThreadVariable(
        name="NUMBA_NUM_THREADS",
        library="Numba: `parallel=True`",
        meaning=(
            "Size of the pool, which may exceed the CPUs. A notebook that changes it once threads "
            "run gets a `RuntimeError`; `numba.set_num_threads` is the way then."
        ),
        sees_affinity=True,
    ),
    ThreadVariable(
        name="POLARS_MAX_THREADS",
        library="Polars",
        meaning="Size of the pool, read at import.",
        sees_affinity=True,
    ),
    ThreadVariable(
        name="RAYON_NUM_THREADS",
        library="Rayon: tokenizers and other extensions in Rust",
        meaning="Size of the pool. Polars does not read it.",
        sees_affinity=True,
    ),
    ThreadVariable(
        name="TF_NUM_INTRAOP_THREADS",
        library="TensorFlow 2",
        meaning="Threads of one operation, unless `tf.config.threading` says otherwise.",
        sees_affinity=True,
    ),
    ThreadVariable(
        name="TF_NUM_INTEROP_THREADS",
        library="TensorFlow 2",
        meaning="Operations at once, likewise.",
        sees_affinity=True,
    ),
    ThreadVariable(
        name="ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
        library="ITK, SimpleITK, ANTs, 3D Slicer's filters",
        meaning="Threads of a filter. It comes before Grid Engine's `NSLOTS`.",
    ),
    ThreadVariable(
        name="LOKY_MAX_CPU_COUNT",
        library="joblib: scikit-learn's `n_jobs`",
        meaning="The most CPUs that `n_jobs=-1` counts; a number given there is not limited.",
        sees_affinity=True,
    ),
    ThreadVariable(
        name="PYTHON_CPU_COUNT",
        library="Python 3.13 and later",
        meaning=(
            "What `os.cpu_count()`, `os.process_cpu_count()` and `multiprocessing.cpu_count()` "
            "return, and with them the default size of pools. `os.sched_getaffinity` is as it was."
        ),
    ),
)


def thread_count(cpus: float | None, *, budget_cpus: float, parallel: int) -> int:
    """Return the threads for an experiment: its declared CPUs, else an equal part of the budget.

    ``parallel`` experiments can run at once. Rounded down, but at least 1: a thread that waits for
    a CPU delays all others at the next barrier. That costs more than an idle part of a CPU.
    """
    share = budget_cpus / max(1, parallel) if cpus is None else min(cpus, budget_cpus)
    return max(1, int(share))


def thread_variables(
    threads: int, env: Mapping[str, str], *, visible_cpus: int | None = None
) -> dict[str, str]:
    """Return the variables to add to a kernel's environment; never one that is set there, even if empty.

    If the user has set a fallback of a library, for example ``OMP_NUM_THREADS``, that number is
    passed on: the library's own variable would hide it.

    With ``visible_cpus``, the size of the kernel's affinity, a variable is left out if the library
    would start no more threads anyway. joblib and dask then give each worker one thread; with a
    variable set they do not.
    """
    needed = [
        variable
        for variable in THREAD_VARIABLES
        if variable.name not in env
        and not (variable.sees_affinity and visible_cpus is not None and visible_cpus <= threads)
    ]
    return {variable.name: str(_number(variable, threads, env)) for variable in needed}


def _number(variable: ThreadVariable, threads: int, env: Mapping[str, str]) -> int:
    passed_on = (_first_number(env.get(name, "")) for name in variable.falls_back_on)
    wanted = next(filter(None, passed_on), threads)
    return min(wanted, variable.most or wanted)


def _first_number(value: str) -> int | None:
    """Return the number for the outermost level: not every library reads lists."""
    match = _FIRST_NUMBER.match(value)
    return int(match[1]) if match else None
