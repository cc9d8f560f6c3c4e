"""What experiments declare, in files and hooks, as the items show it; and the messages for bad input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.units import Size

Write: TypeAlias = Callable[..., Path]


def experiments(pytester: pytest.Pytester, *arguments: str) -> dict[str, Experiment]:
    """Collect, and give the experiments by name."""
    items, _ = pytester.inline_genitems("--run-experiments", *arguments)
    found: list[Any] = [item for item in items if hasattr(item, "experiment")]
    return {item.experiment.name: item.experiment for item in found}


def names(experiment: Experiment) -> list[str]:
    return [notebook.path.stem for notebook in experiment.notebooks]


def failure(pytester: pytest.Pytester, *arguments: str) -> str:
    """Run, expect every experiment to fail, and give the lines that say why."""
    result = pytester.runpytest_inprocess("--run-experiments", *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    return "\n".join(line[4:] for line in result.outlines if line.startswith("E   "))


# Order


def test_natural_order(experiment: Write, pytester: pytest.Pytester) -> None:
    """Ten comes after nine; the header says where sorted() would differ, once."""
    experiment("experiments/A", "10-plot", "9-fit", "1-load", toml="[run]\nskip = 'x'\n")
    assert names(experiments(pytester)["A"]) == ["1-load", "9-fit", "10-plot"]
    result = pytester.runpytest_inprocess("--run-experiments")
    note = (
        "  A: runs in natural order: '9-fit.ipynb', not '10-plot.ipynb' as in lexicographic order"
    )
    assert result.outlines.count(note) == 1


def test_lexicographic_order(experiment: Write, pytester: pytest.Pytester) -> None:
    """experiment_order = lexicographic brings plain sorting."""
    pytester.makeini("[pytest]\nexperiment_order = lexicographic")
    experiment("experiments/A", "10-plot", "9-fit", "1-load")
    assert names(experiments(pytester)["A"]) == ["1-load", "10-plot", "9-fit"]


def test_explicit_order(experiment: Write, pytester: pytest.Pytester) -> None:
    """``order`` names the order outright, and then nothing has to be said about it."""
    experiment("experiments/A", "load", "fit", toml='[run]\norder = ["load.ipynb", "fit.ipynb"]\n')
    found = experiments(pytester)["A"]
    assert names(found) == ["load", "fit"]
    assert found.notes == ()


def test_notes_without_numbers(skipped: Write, pytester: pytest.Pytester) -> None:
    """Where several notebooks have no number the header says which, and how to fix their order."""
    skipped("experiments/A", "load", "fit", "2-plot")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.stdout.fnmatch_lines(
        [
            (
                "  A: 2 notebooks have no numeric prefix ('fit.ipynb', 'load.ipynb'); their order is "
                "alphabetical, set order in experiment.toml to fix it"
            )
        ]
    )


def test_many_notes(skipped: Write, pytester: pytest.Pytester) -> None:
    """The header shows five notes and counts the others."""
    for number in range(7):
        skipped(f"experiments/A{number}", "2-a", "10-b")
    result = pytester.runpytest_inprocess("--run-experiments")
    assert sum("lexicographic" in line for line in result.outlines) == 5
    result.stdout.fnmatch_lines(["  and 2 more notes"])


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            'order = ["1-load.ipynb", "3-none.ipynb", "2-fit.ipynb"]',
            (
                "order names '3-none.ipynb', which is not in the directory; it has '1-load.ipynb', "
                "'2-fit.ipynb'"
            ),
        ),
        (
            'order = ["1-load.ipynb"]',
            "order leaves out '2-fit.ipynb'; add it, or list it under exclude with a reason",
        ),
        (
            'order = ["1-load.ipynb", "2-fit.ipynb", "1-load.ipynb"]',
            "order names '1-load.ipynb' twice; name each notebook once",
        ),
        (
            'order = ["1-load.ipynb", "2-fit.ipynb"]\nexclude = { "2*" = "slow" }',
            "order names '2-fit.ipynb', which is also under exclude (slow); remove it from one of them",
        ),
    ],
)
def test_a_bad_order(toml: str, message: str, experiment: Write, pytester: pytest.Pytester) -> None:
    """An order that does not fit the directory fails the experiment and says what does not fit."""
    experiment("experiments/A", toml=f"[run]\n{toml}\n")
    assert failure(pytester) == f"experiments/A/experiment.toml: {message}"


def test_excluded(experiment: Write, pytester: pytest.Pytester) -> None:
    """Excluded notebooks are kept with the reason of the pattern that leaves them out."""
    experiment(
        "experiments/A", "1-load", "scratch2", toml='[run]\nexclude = { "scratch*" = "unfinished" }'
    )
    found = experiments(pytester)["A"]
    assert names(found) == ["1-load"]
    assert found.excluded == {"scratch2.ipynb": "unfinished"}


def test_independent(experiment: Write, pytester: pytest.Pytester) -> None:
    """Each independent notebook is an experiment, named below its directory, without a note."""
    experiment("experiments/A", "b", "a", toml="[run]\nindependent = true\n")
    found = experiments(pytester)
    assert {name: names(each) for name, each in found.items()} == {"A/a": ["a"], "A/b": ["b"]}
    assert all(each.notes == () for each in found.values())


# experiment.toml and pyproject.toml

EVERYTHING = """
[resources]
cpus = 2.5
ram = "4GB"
gpus = 2
gpu_min_memory = "24GiB"
locks = ["slicer-data"]
exclusive = true

[run]
kernel = "python3"
timeout = "2h"
notebook_timeout = "30min"
cell_timeout = 90
env = { OMP_PLACES = "cores", EMPTY = "" }
requires = ["module:torch", "command:ffmpeg", "env:HF_TOKEN"]
skip = "needs Docker"
marks = ["slow", "nightly"]

[notebooks."2-fit.ipynb"]
skip = "too slow"
kernel = "bash"
timeout = "1h"
cell_timeout = "10min"
requires = ["command:Rscript"]
"""


def test_every_key(experiment: Write, pytester: pytest.Pytester) -> None:
    """Each key of each table of experiment.toml arrives in the experiment."""
    pytester.makeini("[pytest]\nmarkers =\n  slow\n  nightly")
    experiment("experiments/A", toml=EVERYTHING)
    found = experiments(pytester)["A"]
    resources, (first, second) = found.resources, found.notebooks
    assert (resources.cpus, resources.ram, resources.gpus) == (2.5, Size(4 * 10**9), 2)
    assert resources.gpu_min_memory == Size(24 * 2**30)
    assert (resources.locks, resources.exclusive) == (("slicer-data",), True)
    assert (found.timeout_s, found.skip, found.marks) == (
        7200,
        "needs Docker",
        ("slow", "nightly"),
    )
    assert found.env == {"OMP_PLACES": "cores", "EMPTY": ""}
    assert found.requires == ("module:torch", "command:ffmpeg", "env:HF_TOKEN")
    assert (first.kernel, first.timeout_s, first.cell_timeout_s) == ("python3", 1800, 90)
    assert (second.kernel, second.timeout_s, second.cell_timeout_s) == ("bash", 3600, 600)
    assert (second.skip, second.requires) == ("too slow", ("command:Rscript",))


PATTERNS = """
[tool.nbgroups.experiments."*".resources]
cpus = 1
ram = "1GB"
[tool.nbgroups.experiments."Heart-*".resources]
ram = "2GB"
[tool.nbgroups.experiments."Heart-CT".resources]
ram = "3GB"
[tool.nbgroups.experiments."*".run]
env = { A = "1", B = "1" }
[tool.nbgroups.experiments."group/*".run]
timeout = "1min"
"""


def test_patterns_of_pyproject(experiment: Write, pytester: pytest.Pytester) -> None:
    """The most specific pattern wins key by key, experiment.toml wins over all, env is joined."""
    pytester.makepyprojecttoml(PATTERNS)
    for name in ("Lung", "Heart-MR", "Heart-CT", "group/Skin"):
        experiment(f"experiments/{name}")
    experiment("experiments/Heart-US", toml='[resources]\nram = "5GB"\n[run]\nenv = { B = "2" }')
    found = experiments(pytester)
    assert {name: str(each.resources.ram) for name, each in found.items()} == {
        "Lung": "1GB",
        "Heart-MR": "2GB",
        "Heart-CT": "3GB",
        "Heart-US": "5GB",
        "group/Skin": "1GB",
    }
    assert all(each.resources.cpus == 1 for each in found.values())
    assert found["Heart-US"].env == {"A": "1", "B": "2"}
    assert found["group/Skin"].timeout_s == 60


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "[tool.nbgroups]\nexperiment = 1\n",
            "[[]tool.nbgroups] experiment: unknown key; did you mean experiments? *",
        ),
        ("[tool]\nnbgroups = 1\n", "tool.nbgroups = 1: expected a table"),
        (
            "[tool.nbgroups.experiments.A.resources]\ncpus = -1\n",
            "[[]tool.nbgroups.experiments.*A*.resources] cpus = -1: expected a number above zero*",
        ),
    ],
)
def test_a_bad_pyproject(
    toml: str, message: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """pyproject.toml concerns every experiment, so a fault in it is a usage error."""
    pytester.makepyprojecttoml(toml)
    experiment("experiments/A")
    result = pytester.runpytest_inprocess("--run-experiments")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: pyproject.toml: {message}"])


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "[resources]\ncpus = '2'",
            '[resources] cpus = "2": expected a number above zero, such as 2 or 0.5',
        ),
        (
            "[resources]\ngpus = 1.5",
            "[resources] gpus = 1.5: expected a whole number, 0 or more",
        ),
        (
            "[resources]\nram = '-4GB'",
            (
                '[resources] ram = "-4GB": expected a size such as "4GB" (10^9 bytes), "4GiB" (2^30), '
                '"512MB", or a whole number of bytes'
            ),
        ),
        (
            "[resources]\nram = -4",
            (
                "[resources] ram = -4: expected more than zero: a size such as "
                '"4GB" (10^9 bytes), "4GiB" (2^30), "512MB", or a whole number of bytes'
            ),
        ),
        (
            "[resources]\nexclusive = 'yes'",
            '[resources] exclusive = "yes": expected true or false',
        ),
        (
            "[resources]\nlocks = 'data'",
            '[resources] locks = "data": expected a list of names, such as ["slicer-data"]',
        ),
        (
            "[resources]\ngpus = 2\ngpu_memory = '8GB'",
            (
                "[resources] gpus = 2 with gpu_memory: gpu_memory is a share of one GPU; remove gpus, "
                "or declare whole GPUs with gpu_min_memory"
            ),
        ),
        (
            "[run]\ntimeout = '2 fortnights'",
            (
                '[run] timeout = "2 fortnights": expected a duration such as "90s", "30min", "1h30m", '
                "or a number of seconds"
            ),
        ),
        (
            "[run]\nskip = true",
            '[run] skip = true: expected the reason as text, such as "needs Docker"',
        ),
        (
            "[run]\nrequires = ['torch']",
            (
                '[run] requires = ["torch"]: expected a list such as ["module:torch", '
                '"command:ffmpeg", "env:HF_TOKEN"]'
            ),
        ),
        (
            "[run]\nexclude = ['a.ipynb']",
            (
                '[run] exclude = ["a.ipynb"]: expected a table of file pattern = reason, such as '
                '{ "scratch*.ipynb" = "work in progress" }'
            ),
        ),
        (
            "[run]\nenv = { N = 1 }",
            (
                '[run] env = {"N": 1}: expected a table of NAME = "text", such as '
                '{ OMP_PLACES = "cores" }'
            ),
        ),
        (
            "[run]\ntimout = 1",
            (
                "[run] timout: unknown key; did you mean timeout? accepted are cell_timeout, data, "
                "env, exclude, independent, kernel, marks, notebook_timeout, order, outputs, requires, skip, timeout"
            ),
        ),
        (
            "[resource]\ncpus = 1",
            (
                "resource: unknown table; did you mean resources? accepted are notebooks, resources, "
                "run"
            ),
        ),
        ("resources = 2", "resources = 2: expected a table, written [resources]"),
        (
            "[notebooks.'2-fit.ipynb']\nram = '1GB'",
            (
                '[notebooks."2-fit.ipynb"] ram: unknown key; accepted are cell_timeout, kernel, '
                "requires, skip, timeout"
            ),
        ),
        (
            "[notebooks.'3-plot.ipynb']\nskip = 'x'",
            (
                '[notebooks."3-plot.ipynb"]: there is no such notebook; the directory has 1-load.ipynb, '
                "2-fit.ipynb"
            ),
        ),
        (
            "[resources]\ncpus = 0\ngpus = -1",
            (
                "[resources] cpus = 0: expected a number above zero, such as 2 or 0.5\n"
                "experiments/A/experiment.toml: [resources] gpus = -1: expected a whole number, 0 or "
                "more"
            ),
        ),
    ],
)
def test_a_bad_declaration(
    toml: str, message: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """A fault is told with file, table, key, the value given and what is accepted."""
    experiment("experiments/A", toml=f"{toml}\n")
    assert failure(pytester) == f"experiments/A/experiment.toml: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[run\n", "experiment.toml: is not valid TOML: "),
        (b'[run]\nskip = "\xff"\n', "experiment.toml: is not UTF-8 ("),
    ],
)
def test_an_unreadable_declaration(
    content: bytes, message: str, experiment: Write, skipped: Write, pytester: pytest.Pytester
) -> None:
    """What is no TOML or no UTF-8 fails that experiment alone."""
    (experiment("experiments/A") / "experiment.toml").write_bytes(content)
    skipped("experiments/B")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1, skipped=1)
    assert any(line.startswith("E   ") and message in line for line in result.outlines)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="needs a user whom permissions hold back: not root, not Windows",
)
def test_a_directory_without_permission(
    experiment: Write, skipped: Write, pytester: pytest.Pytester
) -> None:
    """A directory that may not be listed fails as an experiment and says so; the others run."""
    folder = experiment("experiments/A")
    skipped("experiments/B")
    folder.chmod(0)
    try:
        result = pytester.runpytest_inprocess("--run-experiments")
    finally:
        folder.chmod(0o700)
    result.stdout.fnmatch_lines([f"E   {folder}: cannot be *: Permission denied"])
    assert result.parseoutcomes()["skipped"] == 1


def test_two_experiments_of_one_name(skipped: Write, pytester: pytest.Pytester) -> None:
    """Of two experiments of one name from two roots the second fails, naming the first."""
    pytester.makeini("[pytest]\nexperiment_roots = studies trials")
    skipped("studies/A")
    skipped("trials/A")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            (
                "E   its name 'A' is also that of studies/A::notebooks, so their artifacts would "
                "overwrite each other; rename one of the two"
            )
        ]
    )


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ('[run]\nskip = "needs Docker"', "needs Docker"),
        ('[run]\nrequires = ["module:no_such"]', "needs the Python module no_such"),
        ('[run]\nrequires = ["command:no-such"]', "needs the command no-such"),
        ('[run]\nrequires = ["env:NO_SUCH"]', "needs the environment variable NO_SUCH"),
        (
            '[run]\nrequires = ["module:json", "env:NO_SUCH", "command:no-such"]',
            "needs the environment variable NO_SUCH; needs the command no-such",
        ),
        (
            '[notebooks."1-load.ipynb"]\nskip = "a"\n[notebooks."2-fit.ipynb"]\nskip = "b"',
            "all notebooks are skipped: a; b",
        ),
    ],
)
def test_reasons_to_skip(
    toml: str, reason: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """An experiment that cannot run here is a pytest skip, told at its directory."""
    experiment("experiments/A", toml=f"{toml}\n")
    result = pytester.runpytest_inprocess("--run-experiments", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED [[]1] experiments/A: {reason}"])


# Hooks


def test_the_notebooks_hook(experiment: Write, pytester: pytest.Pytester) -> None:
    """A hook chooses and orders; None leaves things as they are."""
    pytester.makeconftest(
        """
        def pytest_experiment_notebooks(config, path, notebooks):
            assert config.rootpath in path.parents
            if path.name == "A":
                return [n for n in reversed(notebooks) if "draft" not in n.name]
        """
    )
    experiment("experiments/A", "1-load", "2-draft", "3-fit")
    experiment("experiments/B")
    found = experiments(pytester)
    assert names(found["A"]) == ["3-fit", "1-load"]
    assert names(found["B"]) == ["1-load", "2-fit"]


def test_a_bad_notebooks_hook(experiment: Write, pytester: pytest.Pytester) -> None:
    """A hook that returns what is no notebook of the directory fails the experiment."""
    pytester.makeconftest("def pytest_experiment_notebooks(path): return [path / 'none.ipynb']\n")
    folder = experiment("experiments/A")
    assert failure(pytester) == (
        f"pytest_experiment_notebooks returned {str(folder / 'none.ipynb')!r}, which is not a file "
        f"directly in {folder}; return some of the paths in notebooks"
    )


def test_the_resources_hook(experiment: Write, pytester: pytest.Pytester) -> None:
    """A hook has the last word on resources, over experiment.toml."""
    pytester.makeconftest(
        """
        import dataclasses

        def pytest_experiment_resources(config, path, resources):
            assert resources.gpus == 1
            return dataclasses.replace(resources, gpus=0)
        """
    )
    experiment("experiments/A", toml="[resources]\ngpus = 1\ncpus = 2\n")
    found = experiments(pytester)["A"]
    assert (found.resources.gpus, found.resources.cpus) == (0, 2)


def test_hooks_in_a_subdirectory(experiment: Write, pytester: pytest.Pytester) -> None:
    """A conftest.py beside or above the notebooks has its say, for what lies there alone."""
    hook = "def pytest_experiment_notebooks(notebooks): return notebooks[:1]\n"
    for name in ("A", "group/B", "C"):
        experiment(f"experiments/{name}")
    (pytester.path / "experiments/A/conftest.py").write_text(hook)
    (pytester.path / "experiments/group/conftest.py").write_text(hook)
    counts = {name: len(each.notebooks) for name, each in experiments(pytester).items()}
    assert counts == {"A": 1, "group/B": 1, "C": 2}


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("raise RuntimeError('not now')", "RuntimeError: not now"),
        ("pytest.skip('not now')", "Skipped: not now"),
    ],
)
def test_the_event_hook(
    statement: str, told: str, experiment: Write, skipped: Write, pytester: pytest.Pytester
) -> None:
    """A hook hears of every experiment; what it raises becomes a warning at the end."""
    pytester.makeconftest(
        f"""
        import pytest

        def pytest_experiment_event(config, event):
            with open(config.rootpath / "heard", "a") as file:
                print(type(event).__name__, event.experiment, file=file)
            {statement}
        """
    )
    skipped("experiments/A")
    experiment("experiments/B", "1-load", toml='[notebooks."1-load.ipynb"]\nskip = "not needed"\n')
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(skipped=2)
    assert (pytester.path / "heard").read_text().splitlines() == [
        "ExperimentFinished A",
        "ExperimentStarted B",
        "NotebookFinished B",
        "ExperimentFinished B",
    ]
    warning = f"experiments: warning: pytest_experiment_event raised {told}"
    assert result.outlines.count(warning) == 1


ASSERTION = """\
import os, pathlib
assert os.environ["SHARED"] == "near", os.environ["SHARED"]
assert os.environ["ROOT"] == "1"
assert os.environ["DECLARED"] == "by the file", os.environ["DECLARED"]
assert os.environ["NBGROUPS"] == "1"
assert os.environ["NBGROUPS_EXPERIMENT"] == "A"
assert os.environ["NBGROUPS_NOTEBOOK"] == "1-check.ipynb"
assert "PYTEST_CURRENT_TEST" not in os.environ
assert pathlib.Path("experiment.toml").is_file()
"""


def test_the_environment_hook(experiment: Write, pytester: pytest.Pytester) -> None:
    """Kernels see what hooks add: the nearest conftest.py wins, and ``env`` over all of them."""
    hook = "def pytest_experiment_env(config, experiment): return {}\n"
    root = "{'ROOT': '1', 'SHARED': 'far', 'DECLARED': 'by a hook'}"
    pytester.makeconftest(hook.format(root).replace("{}", root))
    folder = experiment(
        "experiments/A",
        "1-check",
        code=ASSERTION,
        toml='[run]\nenv = { DECLARED = "by the file" }\n',
    )
    (folder / "conftest.py").write_text(hook.replace("{}", "{'SHARED': 'near'}"))
    pytester.runpytest_inprocess("--run-experiments").assert_outcomes(passed=1)


# The command line and the ini file


def test_precedence_of_deadlines(experiment: Write, pytester: pytest.Pytester) -> None:
    """An option wins over experiment.toml, and that over the ini file."""
    pytester.makeini(
        "[pytest]\nexperiment_timeout = 1h\nexperiment_notebook_timeout = 2h\n"
        "experiment_cell_timeout = 3h"
    )
    experiment("experiments/A", toml="[run]\ntimeout = 10\nnotebook_timeout = 20\n")
    found = experiments(pytester, "--experiment-timeout", "5s")["A"]
    first = found.notebooks[0]
    assert (found.timeout_s, first.timeout_s, first.cell_timeout_s) == (5, 20, 3 * 3600)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("experiment_order", "random", "expected natural or lexicographic"),
        ("experiment_unmet", "error", "expected skip or fail"),
        ("experiment_transport", "udp", "expected auto or ipc or tcp"),
        ("experiment_kernel_start", "hot", "expected warm or plain"),
        ("experiment_preload", "num-py", 'expected names of modules, such as "numpy" or "sklearn*'),
        ("experiment_cpus", "-2", "expected a number above zero, such as 4 or 0.5"),
        ("experiment_timeout", "soon", 'expected a duration such as "90s", "30min"*'),
        ("experiment_default_ram", "2XB", 'expected a size such as "4GB"*'),
        ("experiment_ram", "120%", '*such as ["]60%["] up to 100%'),
    ],
)
def test_a_bad_ini_value(
    key: str, value: str, message: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """A bad value is a usage error that names the file, the key, the value and what is accepted."""
    experiment("experiments/A")
    pytester.makefile(".ini", pytest=f"[pytest]\n{key} = {value}\n")
    result = pytester.runpytest_inprocess("--run-experiments")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: pytest.ini: {key} = '{value}': {message}"])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--experiment-cpus", "0", "expected a number above zero, such as 4 or 0.5"),
        ("--experiment-cpus", "nan", "expected a number above zero, such as 4 or 0.5"),
        ("--experiment-ram", "0%", "*a share such as *60%* up to 100%"),
        ("--experiment-ram", "lots", "expected a size such as *4GB*"),
        ("--experiment-timeout", "0", "expected more than zero: a duration such as *"),
        ("--experiment-cell-timeout", "1x", "expected a duration such as *"),
        ("--experiment-kernel", " ", "expected a name"),
    ],
)
def test_a_bad_option(option: str, value: str, message: str, pytester: pytest.Pytester) -> None:
    """A bad value of an option is a usage error that says what is accepted."""
    result = pytester.runpytest_inprocess("--run-experiments", option, value)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*error: argument {option}: '{value}': {message}"])


def test_more_cpus_than_there_are(skipped: Write, pytester: pytest.Pytester) -> None:
    """More CPUs than the budget has are clamped, with a note in the header."""
    skipped("experiments/A", toml="[resources]\ncpus = 8\n")
    result = pytester.runpytest_inprocess("--run-experiments", "--experiment-cpus", "1")
    result.stdout.fnmatch_lines(
        ["experiments: one at a time: 1 cpu, *", "  A: declares 8 cpus, the budget has 1"]
    )


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (
            "def pytest_experiment_notebooks(): raise ValueError('no')",
            "pytest_experiment_notebooks raised ValueError: no",
        ),
        (
            "def pytest_experiment_resources(): return {'cpus': 1}",
            (
                "pytest_experiment_resources returned {'cpus': 1}; return None or "
                "dataclasses.replace(resources, …)"
            ),
        ),
        (
            "def pytest_experiment_notebooks(): return 5",
            "pytest_experiment_notebooks returned 5; return None or a list of paths in notebooks",
        ),
        (
            (
                "import dataclasses\n"
                "def pytest_experiment_resources(resources):\n"
                "    return dataclasses.replace(resources, cpus=-1)"
            ),
            (
                "pytest_experiment_resources: [resources] cpus = -1: expected a number above zero, such "
                "as 2 or 0.5"
            ),
        ),
        (
            "def pytest_experiment_env(): raise KeyError('DATA')",
            "pytest_experiment_env raised KeyError: 'DATA'",
        ),
        (
            "def pytest_experiment_env(): return {'N': 1}",
            "environment variable 'N' = 1: expected a name and a text",
        ),
    ],
)
def test_a_hook_at_fault(
    hook: str, message: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """What a hook raises, or returns wrongly, fails the experiments that it is asked for."""
    experiment("experiments/A")
    pytester.makepyfile("def test_it(): pass")
    pytester.makeconftest(hook)
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1, passed=1)
    assert f"E   {message}" in result.outlines


@pytest.mark.parametrize("folder", [".", "experiments", ".."])
def test_artifacts_need_a_folder_of_their_own(
    folder: str, skipped: Write, pytester: pytest.Pytester
) -> None:
    """Else the project's own files would count as artifacts, and nothing would be collected."""
    skipped("experiments/A")
    result = pytester.runpytest_inprocess("--run-experiments", f"--experiment-artifacts={folder}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: experiment_artifacts = '{folder}' is or contains *; name a separate folder*"]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
@pytest.mark.parametrize("linked", ["artifacts", "root", "rootdir"])
def test_links_do_not_bring_a_root_into_the_artifacts(
    linked: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """Else a run would remove the notebooks as those of an earlier run."""
    heart = experiment("scratch/notebooks/Heart")
    root = pytester.path / "experiments"
    if linked == "rootdir":
        root = pytester.path / "scratch/notebooks"
        (pytester.path / ".experiments").symlink_to(".", target_is_directory=True)
        pytester.makeini("[pytest]\nexperiment_roots = scratch/notebooks\n")
    else:
        root.symlink_to("scratch/notebooks", target_is_directory=True)
    if linked == "artifacts":
        (pytester.path / ".experiments").symlink_to("scratch", target_is_directory=True)
    options = ["--experiment-artifacts=scratch"] if linked == "root" else []
    result = pytester.runpytest_inprocess("--run-experiments", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    shown = pytester.path if linked == "rootdir" else root
    folder = "scratch" if options else ".experiments"
    result.stderr.fnmatch_lines(
        [f"ERROR: experiment_artifacts = '{folder}' is or contains {shown}, *"]
    )
    assert (heart / "1-load.ipynb").exists()


def test_an_ini_list_that_cannot_be_split(experiment: Write, pytester: pytest.Pytester) -> None:
    """The file and the key are named, not only what the shell's rules miss."""
    experiment("experiments/A")
    pytester.makeini("[pytest]\nexperiment_preload = '\n")
    result = pytester.runpytest_inprocess("--run-experiments")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: tox.ini: experiment_preload cannot be split into a list: No closing quotation"]
    )
