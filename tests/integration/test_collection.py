"""Which directories are experiments, and what else is collected with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]
Collect: TypeAlias = Callable[..., list[str]]

A_TEST = "def test_ordinary(): pass\n"
NATIVE_TOML = pytest.mark.skipif(
    pytest.version_tuple < (9,), reason="pytest 9 was the first with native TOML"
)


def test_every_directory_with_notebooks_below_the_default_root(
    experiment: Write, collected: Collect
) -> None:
    """Each directory in experiments/ that directly holds a notebook is one item."""
    experiment("experiments/B")
    experiment("experiments/A")
    experiment("experiments/group/C")
    assert collected() == [
        "experiments/A::notebooks",
        "experiments/B::notebooks",
        "experiments/group/C::notebooks",
    ]


def test_the_root_itself(experiment: Write, collected: Collect) -> None:
    """Notebooks that lie directly in a root are an experiment as well."""
    experiment("experiments")
    assert collected() == ["experiments::notebooks"]


def test_other_directories_are_left_alone(
    experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """Notebooks outside of the roots and of the arguments are none of our business."""
    experiment("docs/tutorial")
    experiment("experiments/A")
    pytester.makepyfile(A_TEST)
    assert collected() == [
        "experiments/A::notebooks",
        "test_other_directories_are_left_alone.py::test_ordinary",
    ]


def test_no_default_root(pytester: pytest.Pytester) -> None:
    """A repository without experiments/ is tested as ever; the header says that none was found."""
    pytester.makepyfile(A_TEST)
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["experiments: none found below experiments"])


def test_the_roots_are_collected_beside_testpaths(
    experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """Where no path is given, the roots come in addition to testpaths."""
    experiment("experiments/A")
    pytester.makeini("[pytest]\ntestpaths = tests")
    (pytester.mkdir("tests") / "test_unit.py").write_text(A_TEST)
    (pytester.mkdir("other") / "test_other.py").write_text(A_TEST)
    assert collected() == ["tests/test_unit.py::test_ordinary", "experiments/A::notebooks"]


def test_a_path_given_replaces_the_roots(
    experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """Where paths are given, nothing else is collected."""
    experiment("experiments/A")
    (pytester.mkdir("tests") / "test_unit.py").write_text(A_TEST)
    assert collected("tests") == ["tests/test_unit.py::test_ordinary"]


def test_configured_roots(experiment: Write, collected: Collect, pytester: pytest.Pytester) -> None:
    """Several roots may be configured; the default one then counts no more."""
    experiment("experiments/A")
    experiment("studies/B")
    experiment("docs/how to/C")
    pytester.makeini("[pytest]\nexperiment_roots = studies 'docs/how to'")
    assert collected() == ["docs/how to/C::notebooks", "studies/B::notebooks"]


@pytest.mark.parametrize(
    "root",
    ["../{name}/experiments", "experiments/A/..", "./experiments/", "experiments/../experiments"],
)
def test_roots_with_dots(
    root: str, skipped: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """A root is the folder that it leads to, however it is spelled, and only once."""
    skipped("experiments/A")
    (pytester.path / "test_a.py").write_text("def test_ordinary(): pass\n")
    spelled = root.format(name=pytester.path.name)
    pytester.makeini(f"[pytest]\nexperiment_roots = {spelled} experiments")
    assert collected() == ["experiments/A::notebooks", "test_a.py::test_ordinary"]
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["A * skipped * needs Docker"])


@pytest.mark.parametrize("root", ["../elsewhere", "..", "{path}/elsewhere"])
def test_a_root_outside_of_the_rootdir(
    root: str, skipped: Write, pytester: pytest.Pytester
) -> None:
    """It is refused with the reason; a link into the project is a way to have it."""
    skipped("elsewhere/A")
    project = pytester.mkdir("project")
    (project / "tox.ini").write_text(
        f"[pytest]\nexperiment_roots = {root.format(path=pytester.path)}"
    )
    os.chdir(project)
    refused = pytester.runpytest_inprocess("--run-experiments")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        [f"ERROR: tox.ini: experiment_roots names '{pytester.path}*', which is outside of the *"]
    )
    (project / "linked").symlink_to("../elsewhere", target_is_directory=True)
    options = ["--run-experiments", "-o", "experiment_roots=linked", "--co", "-q"]
    linked = pytester.runpytest_inprocess(*options)
    assert linked.outlines[0] == "linked/A::notebooks"


def test_the_rootdir_has_two_names(skipped: Write, pytester: pytest.Pytester) -> None:
    """A root that the ini file names is below the rootdir, although --rootdir leads through a link."""
    skipped("project/experiments/A")
    (pytester.path / "link").symlink_to("project", target_is_directory=True)
    (pytester.path / "project" / "tox.ini").write_text("[pytest]\nexperiment_roots = experiments")
    os.chdir(pytester.path / "project")
    options = ["--run-experiments", f"--rootdir={pytester.path / 'link'}", "--co", "-q"]
    result = pytester.runpytest_inprocess(*options)
    assert result.outlines[0] == "experiments/A::notebooks"


def test_a_configured_root_that_does_not_exist(
    experiment: Write, pytester: pytest.Pytester
) -> None:
    """A configured root that is missing is a usage error that names the file, key and path."""
    experiment("experiments/A")
    pytester.makeini("[pytest]\nexperiment_roots = experiments studies")
    result = pytester.runpytest_inprocess("--run-experiments")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                f"ERROR: tox.ini: experiment_roots names '{pytester.path / 'studies'}', which is not a "
                "directory; create it or correct the path"
            )
        ]
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\nexperiment_roots = ["studies"]\n'),
        pytest.param(
            "pyproject.toml", '[tool.pytest]\nexperiment_roots = ["studies"]\n', marks=NATIVE_TOML
        ),
        pytest.param(
            "pytest.toml", '[pytest]\nexperiment_roots = ["studies"]\n', marks=NATIVE_TOML
        ),
        ("pytest.ini", "[pytest]\nexperiment_roots = studies\n"),
        ("tox.ini", "[pytest]\nexperiment_roots = studies\n"),
        ("setup.cfg", "[tool:pytest]\nexperiment_roots = studies\n"),
    ],
)
def test_every_kind_of_configuration(
    file: str, text: str, experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """The ini keys are read from each file that pytest reads, native TOML included."""
    (pytester.path / file).write_text(text)
    experiment("experiments/A")
    experiment("studies/B")
    assert collected() == ["studies/B::notebooks"]


@NATIVE_TOML
def test_numbers_in_native_toml(skipped: Write, pytester: pytest.Pytester) -> None:
    """In pytest's native TOML mode values are texts, as the ini keys declare them."""
    pytester.makepyprojecttoml(
        '[tool.pytest]\nexperiment_cpus = "0.5"\nexperiment_order = "lexicographic"\n'
    )
    skipped("experiments/A", "2-b", "10-a")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.stdout.fnmatch_lines(["experiments: one at a time: 0.5 cpus, *"])


def test_the_rootdir_only_when_it_is_named(experiment: Write, collected: Collect) -> None:
    """Notebooks in the rootdir are collected with ``pytest .`` and not without."""
    experiment(".", "scratch")
    experiment("experiments/A")
    assert collected() == ["experiments/A::notebooks"]
    assert collected(".") == [".::notebooks", "experiments/A::notebooks"]


def test_folders_that_are_never_experiments(
    experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """Checkpoints, hidden folders, norecursedirs and artifacts are never experiments."""
    experiment("experiments/A")
    experiment("experiments/A/.ipynb_checkpoints", "1-load-checkpoint")
    experiment("experiments/.hidden/B")
    experiment("experiments/build/C")
    results = experiment("experiments/results/notebooks/A")
    (results / "test_result.py").write_text(A_TEST)
    experiment(".experiments/notebooks/A")
    pytester.makeini("[pytest]\nexperiment_artifacts = experiments/results")
    assert collected() == ["experiments/A::notebooks"]
    assert collected("experiments") == ["experiments/A::notebooks"]


def test_norecursedirs_of_the_user(
    experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """The user's own norecursedirs are kept to."""
    experiment("experiments/A")
    experiment("experiments/archive/B")
    pytester.makeini("[pytest]\nnorecursedirs = archive")
    assert collected() == ["experiments/A::notebooks"]


def test_ignored_directories(experiment: Write, collected: Collect) -> None:
    """--ignore and --ignore-glob leave experiments out."""
    experiment("experiments/A")
    experiment("experiments/B")
    experiment("experiments/C")
    assert collected("--ignore", "experiments/B", "--ignore-glob", "*/C") == [
        "experiments/A::notebooks"
    ]


def test_ignored_notebooks(
    experiment: Write, pytester: pytest.Pytester, collected: Collect
) -> None:
    """A notebook that is ignored is not run; without any other the directory is no experiment."""
    experiment("experiments/A", "1-load", "2-draft", "3-fit")
    experiment("experiments/B", "1-draft")
    experiment("experiments/C", "1-old")
    pytester.makeconftest('collect_ignore_glob = ["*/C/*-old.ipynb"]')
    assert collected("--ignore-glob", "*-draft.ipynb") == ["experiments/A::notebooks"]
    items, _ = pytester.inline_genitems("--run-experiments", "--ignore-glob", "*-draft.ipynb")
    assert [n.name for n in items[0].experiment.notebooks] == ["1-load.ipynb", "3-fit.ipynb"]  # type: ignore[attr-defined]


def test_a_directory_without_selected_notebooks(experiment: Write, collected: Collect) -> None:
    """Where every notebook is excluded there is no experiment."""
    experiment("experiments/A", "draft", toml='[run]\nexclude = { "*.ipynb" = "not yet" }\n')
    assert collected() == []


def test_tests_beside_the_notebooks(experiment: Write, collected: Collect) -> None:
    """Test files and subdirectories are collected as ever, after the experiment's own item."""
    folder = experiment("experiments/B")
    (folder / "a_test.py").write_text(A_TEST)
    (folder / "test_z.py").write_text(A_TEST)
    experiment("experiments/B/A-nested")
    assert collected() == [
        "experiments/B::notebooks",
        "experiments/B/A-nested::notebooks",
        "experiments/B/a_test.py::test_ordinary",
        "experiments/B/test_z.py::test_ordinary",
    ]


def test_a_package(experiment: Write, collected: Collect) -> None:
    """A directory with notebooks that is a Python package stays one."""
    folder = experiment("experiments/A")
    (folder / "__init__.py").write_text("")
    (folder / "values.py").write_text("VALUE = 1\n")
    (folder / "test_its_values.py").write_text(
        "from .values import VALUE\ndef test_value(): assert VALUE == 1\n"
    )
    assert collected() == [
        "experiments/A::notebooks",
        "experiments/A/test_its_values.py::test_value",
    ]


def test_package_fixtures_reach_their_tests(skipped: Write, pytester: pytest.Pytester) -> None:
    """Setup of a package that is an experiment works as in any package."""
    folder = skipped("experiments/A")
    (folder / "__init__.py").write_text("")
    (folder / "conftest.py").write_text(
        "import pytest\n@pytest.fixture(scope='package')\ndef value(): return 1\n"
    )
    (folder / "test_its_values.py").write_text("def test_value(value): assert value == 1\n")
    pytester.runpytest_inprocess("--run-experiments").assert_outcomes(passed=1, skipped=1)


@pytest.mark.parametrize("name", ["with blanks", "Füße - 試験", "a+b", "1.5 T", "it's", "a,b"])
def test_unusual_names(name: str, experiment: Write, collected: Collect) -> None:
    """Names with blanks, brackets and letters of any kind are collected, and may be given back."""
    experiment(f"experiments/{name}", f"1-{name}", "2-fit")
    nodeid = f"experiments/{name}::notebooks"
    assert collected() == [nodeid]
    assert collected(nodeid) == [nodeid]
    assert collected(f"experiments/{name}/1-{name}.ipynb") == [nodeid]


def test_brackets_in_a_name(experiment: Write, collected: Collect) -> None:
    """Brackets are no obstacle, except that pytest takes no path with brackets as an argument."""
    experiment("experiments/a[1]", "1-[x]")
    assert collected() == ["experiments/a[1]::notebooks"]


def test_a_linked_experiment(
    experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """A link to a directory elsewhere is an experiment of its own name."""
    target = experiment("data/study")
    pytester.mkdir("experiments")
    (pytester.path / "experiments" / "linked").symlink_to(target, target_is_directory=True)
    assert collected() == ["experiments/linked::notebooks"]


def test_a_loop_of_links(experiment: Write, pytester: pytest.Pytester) -> None:
    """A link that leads back to its own ancestor ends neither the collection nor the header."""
    folder = experiment("experiments/A", toml='[run]\nskip = "not now"\n')
    (folder / "again").symlink_to(folder.parent, target_is_directory=True)
    result = pytester.runpytest_inprocess("--run-experiments", "experiments")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["experiments/A s*"])


@pytest.mark.parametrize(
    ("folder", "arguments", "expected"),
    [
        ("experiments", (), ["experiments/A::notebooks", "experiments/B::notebooks"]),
        ("experiments", ("A",), ["experiments/A::notebooks"]),
        ("experiments/A", (), ["experiments/A::notebooks"]),
        ("experiments", ("A::notebooks",), ["experiments/A::notebooks"]),
        ("experiments/A", ("../B/1-load.ipynb",), ["experiments/B::notebooks"]),
        ("docs", (), []),
        ("docs", (".",), ["docs::notebooks"]),
    ],
)
def test_called_from_a_subdirectory(  # noqa: PLR0913, PLR0917  fixtures and parameters
    folder: str,
    arguments: tuple[str, ...],
    expected: list[str],
    experiment: Write,
    collected: Collect,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a subdirectory pytest collects what lies there, and arguments are relative to it."""
    pytester.makeini("[pytest]")
    experiment("experiments/A")
    experiment("experiments/B")
    experiment("docs")
    monkeypatch.chdir(pytester.path / folder)
    assert collected(*arguments) == expected


def test_the_notebooks_are_not_read(experiment: Write, collected: Collect) -> None:
    """Collection reads listings and experiment.toml: what is in a notebook does not matter yet."""
    folder = experiment("experiments/A")
    (folder / "1-load.ipynb").write_bytes(b"\x00\xff no notebook")
    assert collected() == ["experiments/A::notebooks"]


def test_directories_that_end_in_ipynb(experiment: Write, collected: Collect) -> None:
    """A directory is no notebook, whatever its name."""
    folder = experiment("experiments/A")
    (folder / "9-odd.ipynb").mkdir()
    assert collected() == ["experiments/A::notebooks"]


@pytest.mark.xdist
def test_keywords_and_markers_of_an_item(experiment: Write, pytester: pytest.Pytester) -> None:
    """An item carries its markers, and xdist's group is its directory."""
    experiment("experiments/A", toml="[resources]\ngpus = 1\n[run]\nmarks = ['slow']\n")
    pytester.makeini("[pytest]\nmarkers = slow")
    items, _ = pytester.inline_genitems("--run-experiments", "-p", "timeout")
    markers = {mark.name: mark.args for mark in items[0].iter_markers()}
    assert markers == {
        "slow": (),
        "experiment": (),
        "gpu": (),
        "xdist_group": ("experiments/A",),
        "timeout": (0,),
    }


def test_tests_stay_behind_their_notebooks(
    pytester: pytest.Pytester, skipped: Write, collected: Collect
) -> None:
    """Whatever reorders the session, the tests in an experiment's directory come after it."""
    skipped("experiments/A")
    (pytester.path / "experiments/A/test_a.py").write_text(A_TEST)
    pytester.makeconftest("def pytest_collection_modifyitems(items): items.reverse()")
    assert collected() == ["experiments/A::notebooks", "experiments/A/test_a.py::test_ordinary"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_to_what_is_collected_anyway(
    pytester: pytest.Pytester, skipped: Write, collected: Collect
) -> None:
    """A directory is run once, and a link to what it lies in is not followed."""
    skipped("experiments/A")
    (pytester.path / "experiments/B").symlink_to(pytester.path / "experiments/A")
    (pytester.path / "experiments/loop").symlink_to(pytester.path / "experiments")
    assert collected() == ["experiments/A::notebooks", "experiments/B::notebooks"]
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1, skipped=1)
    line = "its directory is that of experiments/A::notebooks, by a link; a directory is run once"
    assert f"E   {line}" in result.outlines


def test_fixtures_do_not_reach_experiments(skipped: Write, pytester: pytest.Pytester) -> None:
    """Autouse fixtures of any scope are for tests; the hooks around an item are called for experiments too."""
    skipped("experiments/A")
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(autouse=True, scope="session")
        def _session(): pytest.exit("a session fixture was set up")

        @pytest.fixture(autouse=True)
        def _function(): pytest.exit("a fixture was set up")

        def pytest_runtest_setup(item):
            print("setup of", item.nodeid)
        """
    )
    result = pytester.runpytest_inprocess("--run-experiments", "-s")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*setup of experiments/A::notebooks*"])


def test_scripts_below_a_root_that_testpaths_leaves_out(
    skipped: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """Pytest would import them, which runs them; tests beside notebooks are collected, and all if they are asked for."""
    folder = skipped("experiments/A")
    (folder / "test_a.py").write_text(A_TEST)
    script = pytester.mkdir("experiments/Scripts") / "registration_test.py"
    script.write_text("def test_script(): pass\nopen('ran', 'a').close()\n")
    pytester.mkdir("tests").joinpath("test_b.py").write_text(A_TEST)
    pytester.makeini("[pytest]\ntestpaths = tests")
    beside = ["experiments/A::notebooks", "experiments/A/test_a.py::test_ordinary"]
    assert sorted(collected()) == sorted([*beside, "tests/test_b.py::test_ordinary"])
    assert not (pytester.path / "ran").exists()
    given = collected("experiments")
    assert given == [*beside, "experiments/Scripts/registration_test.py::test_script"]
