from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.settings import Deadlines, Settings
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.declarations.directory import (
    Customization,
    experiment_name,
    read_experiments,
    read_pyproject,
)
from pytest_nbgroups.declarations.listing import walk

Read = Callable[..., Experiment]
links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")


def settings_in(root: Path, **options: Any) -> Settings:
    """Settings of a session whose only root is the usual one."""
    return Settings(
        rootdir=root,
        **{"roots": (root / "experiments",), "artifacts": root / ".experiments", **options},
    )


def write(directory: Path, *names: str, toml: str | bytes = "") -> Path:
    """A directory of empty notebooks."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).touch()
    if toml:
        data = toml.encode() if isinstance(toml, str) else toml
        (directory / "experiment.toml").write_bytes(data)
    return directory


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read the one experiment of ``experiments/A``."""

    def read_a(*names: str, toml: str | bytes = "", pyproject: str = "", **options: Any) -> Any:
        hooks = options.pop("hooks", {})
        directory = write(tmp_path / "experiments" / "A", *names, toml=toml)
        (tmp_path / "pyproject.toml").write_text(pyproject)
        (experiment,) = read_experiments(
            directory,
            settings_in(tmp_path, **options),
            customization=Customization(patterns=read_pyproject(tmp_path), **hooks),
        )
        return experiment

    return read_a


def names_of(experiment: Experiment) -> list[str]:
    """File names of the selected notebooks."""
    return [notebook.name for notebook in experiment.notebooks]


def test_a_directory_is_an_experiment(read: Read, tmp_path: Path) -> None:
    """Named after its path below its root, with its notebooks in order."""
    experiment = read("10-c.ipynb", "9-b.ipynb", "notes.md", ".hidden.ipynb")
    assert experiment.name == "A"
    assert experiment.directory == tmp_path / "experiments" / "A"
    assert names_of(experiment) == ["9-b.ipynb", "10-c.ipynb"]
    assert experiment.item_name == "notebooks"
    assert experiment.problem is None
    assert experiment.notes == (
        "runs in natural order: '9-b.ipynb', not '10-c.ipynb' as in lexicographic order",
    )


def test_without_notebooks_there_is_no_experiment(tmp_path: Path) -> None:
    """Nor with excluded ones alone; a faulty declaration beside none is nobody's."""
    empty = write(tmp_path / "experiments" / "empty", toml="bad")
    excluded = write(tmp_path / "experiments" / "x", "a.ipynb", toml='run.exclude = {"*" = "wip"}')
    assert read_experiments(empty, settings_in(tmp_path)) == ()
    assert read_experiments(excluded, settings_in(tmp_path)) == ()


@pytest.mark.parametrize(
    ("roots", "directory", "name"),
    [
        (["experiments"], "experiments/A", "A"),
        (["experiments"], "experiments/A/deep", "A/deep"),
        (["experiments"], "experiments", "experiments"),
        (["experiments"], "other/B", "other/B"),
        (["experiments"], ".", "project"),
        (["experiments"], "../beside/C", "C"),
        (["experiments", "experiments/sub"], "experiments/sub/A", "sub/A"),
        (["experiments/sub", "experiments"], "experiments/sub/A", "sub/A"),
        (["experiments", "experiments/sub"], "experiments/sub", "sub"),
        (["../elsewhere"], "../elsewhere/A", "A"),
        (["a", "b"], "b/A", "A"),
    ],
)
def test_names_of_experiments(tmp_path: Path, roots: list[str], directory: str, name: str) -> None:
    """Relative to the outermost root, else to the rootdir, else the directory's own."""

    def below(path: str) -> Path:
        return Path(os.path.normpath(tmp_path / "project" / path))

    settings = settings_in(tmp_path / "project", roots=tuple(map(below, roots)))
    assert experiment_name(below(directory), settings) == name


def test_the_root_of_a_file_system_has_a_name(tmp_path: Path) -> None:
    """Though its path has none."""
    root = Path(tmp_path.anchor)
    assert experiment_name(root, settings_in(root)) == "root"


def test_deadlines_have_their_precedence(read: Read) -> None:
    """Command line, notebook, experiment.toml, pyproject pattern, ini file."""
    pyproject = """
        [tool.nbgroups.experiments."*".run]
        timeout = 300
        notebook_timeout = 30
        cell_timeout = 3
    """
    ini = Deadlines(experiment_s=400, notebook_s=40, cell_s=4)
    first, second = "1.ipynb", "2.ipynb"

    def limits(toml: str = "", **options: Any) -> list[float | None]:
        experiment = read(first, second, toml=toml or " ", **options)
        one, two = experiment.notebooks
        return [
            experiment.timeout_s,
            one.timeout_s, one.cell_timeout_s, two.timeout_s, two.cell_timeout_s,
        ]  # fmt: skip

    own = """
        run = { timeout = 200, notebook_timeout = 20, cell_timeout = 2 }
        notebooks."1.ipynb" = { timeout = 10, cell_timeout = 1 }
    """
    option = Deadlines(experiment_s=100, notebook_s=5, cell_s=0.5)
    assert limits() == [None] * 5
    assert limits(ini_deadlines=ini) == [400, 40, 4, 40, 4]
    assert limits(ini_deadlines=ini, pyproject=pyproject) == [300, 30, 3, 30, 3]
    assert limits(own, ini_deadlines=ini, pyproject=pyproject) == [200, 10, 1, 20, 2]
    assert limits(own, option_deadlines=option) == [100, 5, 0.5, 5, 0.5]


def test_what_is_declared_ends_up_in_the_experiment(read: Read) -> None:
    """All of the tables."""
    experiment = read(
        "1.ipynb",
        "2.ipynb",
        "x.ipynb",
        toml="""
            [resources]
            ram = "4GB"
            [run]
            exclude = { "x*" = "draft" }
            env = { A = "1" }
            kernel = "ir"
            requires = ["env:A"]
            skip = "slow"
            marks = ["slow"]
            [notebooks."2.ipynb"]
            skip = "broken"
            kernel = "bash"
            requires = ["env:B"]
        """,
    )
    assert experiment.resources == Resources(ram=Size(4 * 10**9))
    assert experiment.excluded == {"x.ipynb": "draft"}
    assert experiment.env == {"A": "1"}
    assert (experiment.requires, experiment.skip, experiment.marks) == (
        ("env:A",),
        "slow",
        ("slow",),
    )
    first, second = experiment.notebooks
    assert (first.kernel, first.skip, first.requires) == ("ir", None, ())
    assert (second.kernel, second.skip, second.requires) == ("bash", "broken", ("env:B",))


def test_patterns_join_by_specificity(read: Read) -> None:
    """The most specific wins, the later of equals, and ``env`` and ``exclude`` are joined."""
    experiment = read(
        "1.ipynb",
        "2.ipynb",
        "3.ipynb",
        toml='run.env = { D = "toml" }\nrun.exclude = { "3*" = "toml" }',
        pyproject="""
            [tool.nbgroups.experiments]
            A.run = { env = { A = "exact", B = "exact", C = "exact", D = "exact" } }
            "?".run = { env = { A = "?", E = "?" } }
            "*".run = { env = { A = "*", E = "*" }, exclude = { "2*" = "pattern" } }
            "B*".run.env.A = "other"
        """,
    )
    assert experiment.env == {"A": "exact", "B": "exact", "C": "exact", "D": "toml", "E": "*"}
    assert experiment.excluded == {"2.ipynb": "pattern", "3.ipynb": "toml"}


def test_patterns_match_whole_names(tmp_path: Path) -> None:
    """Slashes are like any character; a name with brackets means itself too."""
    directory = write(tmp_path / "experiments" / "Heart [CT]" / "deep", "1.ipynb")
    (tmp_path / "pyproject.toml").write_text(
        """
        [tool.nbgroups.experiments]
        "Heart*".resources.cpus = 2
        "Heart [CT]/deep".resources.ram = "1GB"
        "heart*".resources.gpus = 1
        "deep".resources.exclusive = true
        """
    )
    customization = Customization(patterns=read_pyproject(tmp_path))
    (experiment,) = read_experiments(directory, settings_in(tmp_path), customization=customization)
    assert experiment.resources == Resources(cpus=2.0, ram=Size(10**9))


ALL_RESOURCES = '[tool.nbgroups.experiments."*".resources]\n'


def test_ram_and_its_limit_may_come_from_different_places(read: Read) -> None:
    """What counts is what is declared in the end."""
    experiment = read(
        "1.ipynb", toml="resources.ram_limit = true", pyproject=f'{ALL_RESOURCES}ram = "1GB"'
    )
    assert experiment.problem is None
    assert experiment.resources == Resources(ram=Size(10**9), ram_limit=True)


def test_a_limit_without_ram_is_a_problem_where_it_stands(read: Read) -> None:
    """In pyproject.toml too."""
    experiment = read("1.ipynb", pyproject=f"{ALL_RESOURCES}ram_limit = true")
    assert experiment.problem is not None
    assert experiment.problem.startswith("pyproject.toml: [resources] ram_limit = true: ")


def test_independent_notebooks(tmp_path: Path) -> None:
    """Each is an experiment of its own with all that is declared for the directory."""
    directory = write(
        tmp_path / "experiments" / "T",
        "b.ipynb",
        "a c.ipynb",
        toml="run = { independent = true, timeout = 5 }",
    )
    first, second = read_experiments(directory, settings_in(tmp_path))
    assert (first.name, first.item_name, names_of(first)) == ("T/a c", "a c", ["a c.ipynb"])
    assert (second.name, second.item_name, names_of(second)) == ("T/b", "b", ["b.ipynb"])
    assert first.timeout_s == second.timeout_s == 5
    assert first.notes == ()


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("run.skip = 1", 'experiments/A/experiment.toml: [run] skip = 1: expected the reason as text, such as "needs Docker"'),
        ("run.order = ['b.ipynb']", "experiments/A/experiment.toml: order names 'b.ipynb', which is not in the directory; it has '1.ipynb', '2.ipynb'"),
        ("[notebooks.'missing.ipynb']", 'experiments/A/experiment.toml: [notebooks."missing.ipynb"]: there is no such notebook; the directory has 1.ipynb, 2.ipynb'),
        ("resources.ram_limit = true", 'experiments/A/experiment.toml: [resources] ram_limit = true: there is no ram to limit it to; declare the most that it may take, such as ram = "4GB", or remove ram_limit'),
        ("run = [", "{path}: is not valid TOML: "),
        ("resources.cpus = nan", "experiments/A/experiment.toml: [resources] cpus = NaN: expected a number above zero, such as 2 or 0.5"),
        ("resources.ram = " + "9" * 5000, "{path}: is not valid TOML: Exceeds the limit"),
        ("x = " + "[" * 5000, "{path}: is not valid TOML: "),
        (b"run.skip = '\xff'", "{path}: is not UTF-8 ('utf-8' codec can't decode byte 0xff in position 12: invalid start byte); save it as UTF-8"),
        ("run.skip = 'é'".encode("utf-16"), "{path}: is not UTF-8 ("),
    ],
)  # fmt: skip
def test_a_faulty_declaration_is_a_problem(
    read: Read, tmp_path: Path, toml: str | bytes, problem: str
) -> None:
    """Of that experiment alone: it comes back with the file and the fault."""
    experiment = read("1.ipynb", "2.ipynb", toml=toml)
    path = tmp_path / "experiments" / "A" / "experiment.toml"
    assert experiment.problem is not None
    assert experiment.problem.startswith(
        problem.format(path=path) if "{path}" in problem else problem
    )
    assert experiment.name == "A"
    assert experiment.notebooks == ()


def test_a_byte_order_mark_is_passed_over(read: Read) -> None:
    """Some editors on Windows write it."""
    assert read("1.ipynb", toml=b"\xef\xbb\xbfrun.skip = 'x'\r\n").skip == "x"


def test_a_directory_that_cannot_be_listed_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions may be wrong for one directory of many."""
    directory = write(tmp_path / "experiments" / "A", "1.ipynb")

    def refuse(_path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    (experiment,) = read_experiments(directory, settings_in(tmp_path))
    assert experiment.problem == f"{directory}: cannot be listed: Permission denied"
    assert list(walk(directory, lambda _path: False)) == [directory]


def test_a_directory_that_cannot_be_entered_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the permission to list, but not to enter, names can be had and nothing else."""
    directory = write(tmp_path / "experiments" / "A", "1.ipynb")

    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    (experiment,) = read_experiments(directory, settings_in(tmp_path))
    assert experiment.problem == f"{directory}: cannot be read: Permission denied"


def test_a_declaration_that_cannot_be_read_is_a_problem(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named with the reason."""
    path = tmp_path / "experiments" / "A" / "experiment.toml"
    read_text = Path.read_text

    def refuse(self: Path, **options: Any) -> str:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return read_text(self, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert read("1.ipynb", toml="x").problem == f"{path}: cannot be read: Permission denied"


def test_hooks_choose_notebooks(read: Read) -> None:
    """In the order that they give; remarks on the order before it are void."""

    def reverse(_directory: Path, notebooks: Sequence[Path]) -> Sequence[Path]:
        return notebooks[:0:-1]

    experiment = read("1.ipynb", "2.ipynb", "10.ipynb", hooks={"notebooks": reverse})
    assert names_of(experiment) == ["10.ipynb", "2.ipynb"]
    assert experiment.notes == ()


@pytest.mark.parametrize("chosen", ["3.ipynb", "../other.ipynb", "sub/x.ipynb"])
def test_hooks_cannot_bring_in_other_files(read: Read, chosen: str) -> None:
    """An experiment is what lies directly in its directory."""

    def other(directory: Path, _notebooks: Sequence[Path]) -> Sequence[Path]:
        write(directory / "sub", "x.ipynb")
        write(directory.parent, "other.ipynb")
        return [directory / chosen]

    experiment = read("1.ipynb", hooks={"notebooks": other})
    assert experiment.problem == (
        f"pytest_experiment_notebooks returned {str(experiment.directory / chosen)!r}, which is not a "
        f"file directly in {experiment.directory}; return some of the paths in notebooks"
    )


def test_hooks_cannot_repeat_a_notebook(read: Read) -> None:
    """The second run would overwrite what the first has left."""
    experiment = read("1.ipynb", hooks={"notebooks": lambda _path, found: [*found, *found]})
    assert experiment.problem == (
        "pytest_experiment_notebooks returned '1.ipynb' twice; return each notebook once"
    )


@pytest.mark.parametrize(
    "once", [iter, reversed, lambda found: (n for n in found), lambda found: filter(None, found)]
)
def test_hooks_can_return_what_is_read_once(
    read: Read, once: Callable[[Sequence[Path]], object]
) -> None:
    """Iterators and generators are lists too."""
    experiment = read("1.ipynb", "2.ipynb", hooks={"notebooks": lambda _path, found: once(found)})
    assert sorted(names_of(experiment)) == ["1.ipynb", "2.ipynb"]


@pytest.mark.parametrize("chosen", [5, "1.ipynb", True])
def test_hooks_must_return_several(read: Read, chosen: object) -> None:
    """Any other value fails the experiment, and says what is accepted."""
    experiment = read("1.ipynb", hooks={"notebooks": lambda _path, _found: chosen})
    assert experiment.problem == (
        f"pytest_experiment_notebooks returned {chosen!r}; return None or a list of paths in notebooks"
    )


def test_hooks_must_return_paths(read: Read) -> None:
    """An item that is no path is no notebook."""
    experiment = read("1.ipynb", hooks={"notebooks": lambda _path, _found: [3]})
    assert experiment.problem is not None
    assert experiment.problem.startswith("pytest_experiment_notebooks returned '3', which is not")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cpus": -1}, "cpus = -1: expected a number above zero, such as 2 or 0.5"),
        ({"cpus": 0}, "cpus = 0: expected a number above zero, such as 2 or 0.5"),
        ({"cpus": math.nan}, "cpus = NaN: expected a number above zero, such as 2 or 0.5"),
        ({"cpus": "2"}, 'cpus = "2": expected a number above zero, such as 2 or 0.5'),
        ({"gpus": -1}, "gpus = -1: expected a whole number, 0 or more"),
        ({"locks": [3]}, 'locks = [3]: expected a list of names, such as ["slicer-data"]'),
        ({"locks": "abc"}, 'locks = "abc": expected a list of names, such as ["slicer-data"]'),
        ({"exclusive": "yes"}, 'exclusive = "yes": expected true or false'),
    ],
)
def test_resources_of_hooks_are_checked(read: Read, values: dict[str, Any], message: str) -> None:
    """As those of a file: a bad value fails this experiment, and no other."""

    def change(_directory: Path, declared: Resources) -> Resources:
        return replace(declared, **values)

    problem = read("1.ipynb", hooks={"resources": change}).problem
    assert problem == f"pytest_experiment_resources: [resources] {message}"


def test_hooks_may_give_sizes_as_texts(read: Read) -> None:
    """As in a file; and they may take a value back."""

    def change(_directory: Path, declared: Resources) -> Resources:
        return replace(declared, ram="4GB", locks=["x"], gpus=0, cpus=None)  # type: ignore[arg-type]

    toml = 'resources.cpus = 2\nresources.gpu_memory = "1GB"\nresources.exclusive = true'
    assert read("1.ipynb", toml=toml, hooks={"resources": change}).resources == Resources(
        ram=Size(4 * 10**9), locks=("x",), gpus=0, exclusive=True
    )


def test_hooks_change_resources(read: Read) -> None:
    """With the last word, over what is declared."""
    hooks = {"resources": lambda _path, declared: Resources(cpus=declared.cpus + 1)}
    assert read("1.ipynb", toml="resources.cpus = 2", hooks=hooks).resources.cpus == 3


def test_pyproject_may_say_nothing(tmp_path: Path) -> None:
    """It may be missing, or without the table."""
    assert read_pyproject(tmp_path) == {}
    for text in ("", "tool = 3", "[tool.other]", "[tool.nbgroups]"):
        (tmp_path / "pyproject.toml").write_text(text)
        assert read_pyproject(tmp_path) == {}


def test_a_faulty_pyproject_is_named(tmp_path: Path) -> None:
    """It concerns every experiment, so it is raised."""
    (tmp_path / "pyproject.toml").write_text('[tool.nbgroups.experiments."A*".run]\nskip = 1')
    with pytest.raises(
        DeclarationError,
        match=r'^pyproject\.toml: \[tool\.nbgroups\.experiments\."A\*"\.run\] skip = 1: expected',
    ):
        read_pyproject(tmp_path)


@links
def test_links_to_nowhere_are_steps(tmp_path: Path) -> None:
    """A step that is gone must fail rather than be left out in silence."""
    directory = write(tmp_path / "experiments" / "A", "1.ipynb")
    (directory / "self.ipynb").symlink_to(directory / "self.ipynb")
    (directory / "gone.ipynb").symlink_to(tmp_path / "gone.ipynb")
    (experiment,) = read_experiments(directory, settings_in(tmp_path))
    assert names_of(experiment) == ["1.ipynb", "gone.ipynb", "self.ipynb"]


@pytest.mark.parametrize("name", ["../B/1.ipynb", "/etc/1.ipynb", "sub/1.ipynb", "./1.ipynb", ".."])
def test_a_declaration_reaches_no_other_directory(read: Read, tmp_path: Path, name: str) -> None:
    """Its names are those of the directory's own listing: no path is one of them."""
    for other in ("B", "A/sub"):
        write(tmp_path / "experiments" / other, "1.ipynb")
    for toml in (f'run.order = ["{name}", "1.ipynb"]', f'[notebooks."{name}"]\nkernel = "x"'):
        problem = read("1.ipynb", toml=toml).problem
        assert problem is not None
        assert name in problem
    excluding = read("1.ipynb", toml=f'run.exclude = {{ "{name}" = "not ours" }}')
    assert names_of(excluding) == ["1.ipynb"]


@links
def test_links_are_followed(read: Read, tmp_path: Path) -> None:
    """A notebook may be a link to one elsewhere: it is the tree's author who has made it."""
    elsewhere = write(tmp_path / "elsewhere", "1.ipynb")
    directory = write(tmp_path / "experiments" / "A", "2.ipynb")
    (directory / "1.ipynb").symlink_to(elsewhere / "1.ipynb")
    assert names_of(read()) == ["1.ipynb", "2.ipynb"]


@links
@pytest.mark.parametrize("target", ["nowhere", "."])
def test_a_declaration_that_is_no_file(read: Read, tmp_path: Path, target: str) -> None:
    """What it would say is not known, so the experiment does not run without it."""
    directory = write(tmp_path / "experiments" / "A", "1.ipynb")
    (directory / "experiment.toml").symlink_to(target)
    assert read().problem == (
        "experiments/A/experiment.toml: is not a file, or is a broken link; restore it, or remove it"
    )
