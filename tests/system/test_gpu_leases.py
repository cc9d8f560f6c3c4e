"""GPUs from the declaration to what a kernel sees: real kernels, on machines that the fake NVML makes up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import Finished, Json, Running, Tree, await_condition, gone, printed

from pytest_nbgroups.core.errors import LeaseTimeoutError
from pytest_nbgroups.core.resources import Claim, Need
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.scheduling.obstacles import Obstacle

if sys.platform != "linux":
    pytest.skip("the fake NVML is for Linux", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)

TELLING = """
import json, os, pathlib, subprocess, sys, time

FOLDER = pathlib.Path(__file__).parent / "told"

def told(name):
    return (FOLDER / name).exists()

def tell(name, **more):
    seen = {key: os.environ.get(key) for key in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")}
    new = FOLDER / f"{name}.new"
    new.write_text(json.dumps({**seen, **more}))
    new.rename(FOLDER / name)

def in_child():
    code = "import os; print(repr(os.environ.get('CUDA_VISIBLE_DEVICES')))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()

def wait_for(*names):
    end = time.monotonic() + 60
    while missing := [name for name in names if not told(name)]:
        assert time.monotonic() < end, f"meanwhile not told: {missing}"
        time.sleep(0.01)
"""
"""By what notebooks say what they see, and wait for one another: who waits in vain fails."""

SMALL = '[resources]\ncpus = 0.1\nram = "50MB"\n'
"""So that nothing but GPUs keeps experiments apart."""
ONE = "gpus = 1\n"

ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PLUGINS = ("-p", "nbgroups", "-p", "xdist")
"""Each process of these runs starts in half the time without the others."""

GPU = "gpu uuid=GPU-{} name=NVIDIA_A100 total={} used={} util={}\n"
GIB_12 = GPU.format("a", 12288, 0, 0)
"""12.9 GB: two shares of 5 GB fit, three do not."""
TWO = GPU.format("a", 40960, 0, 0) + GPU.format("b", 40960, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A tree on a machine with GPUs."""

    tree: Tree
    nvml: Mapping[str, str]

    @property
    def description(self) -> Path:
        return self.tree.root / "gpus.txt"

    def describe(self, gpus: str) -> None:
        """Change the hardware at once, as NVML would see it."""
        new = self.description.with_suffix(".new")
        new.write_text(gpus)
        new.replace(self.description)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Running:
        return self.tree.start(*PLUGINS, *arguments, env={**ALONE, **self.nvml, **(env or {})})

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run pytest to its end, in which all pass."""
        finished = self.start(*arguments, env=env).wait()
        assert finished.returncode == 0, finished.text
        return finished

    def experiment(self, name: str, code: str = "", *, toml: str = SMALL + ONE) -> None:
        source = f"from telling import *\ntell({name!r})\n{code}"
        self.tree.notebook(name, "1-only.ipynb", source)
        self.tree.toml(name, toml)

    def told(self, name: str) -> Json:
        told: Json = json.loads((self.tree.root / "told" / name).read_text())
        return told

    def visible(self, name: str) -> str:
        """What a notebook has found in CUDA_VISIBLE_DEVICES."""
        return str(self.told(name)["CUDA_VISIBLE_DEVICES"])


@pytest.fixture
def make_machine(
    fake_nvml: Callable[[Path], Mapping[str, str]],
) -> Iterator[Callable[..., Machine]]:
    trees: list[Tree] = []

    def make(root: Path, gpus: str) -> Machine:
        tree = Tree(root)
        trees.append(tree)
        (root / "told").mkdir()
        (root / "telling.py").write_text(TELLING)
        machine = Machine(tree=tree, nvml=fake_nvml(root / "gpus.txt"))
        machine.describe(gpus)
        return machine

    yield make
    for tree in trees:
        tree.close()


@pytest.fixture(autouse=True)
def _outer_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process may see is nothing to the runs."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def lease(finished: Finished, name: str) -> Json:
    """What session.json says of an experiment's lease."""
    return dict(finished.experiment(name)["attempts"][-1]["lease"])


@pytest.mark.xdist
def test_two_at_once_see_one_each(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """While both run each sees one GPU, not the same; the session's record names what they saw."""
    machine = make_machine(tmp_path, TWO)
    machine.experiment("A", "wait_for('B')")
    machine.experiment("B", "wait_for('A')")
    finished = machine.run("-n2")
    assert {machine.visible("A"), machine.visible("B")} == {"GPU-a", "GPU-b"}
    assert machine.told("A")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    for name in "AB":
        assert lease(finished, name)["gpus"] == [machine.visible(name)]


def test_without_a_lease_none_is_seen(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """Nor by a child of the kernel; whatever the shell, the kernel's spec or [run] env says."""
    machine = make_machine(tmp_path, TWO)
    python = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    machine.tree.kernelspec("seven", python, env={"CUDA_VISIBLE_DEVICES": "7", "OF_SPEC": "1"})
    code = "tell('child', child=in_child(), spec=os.environ.get('OF_SPEC'))"
    toml = '[run]\nkernel = "seven"\nenv = { CUDA_VISIBLE_DEVICES = "1" }\n'
    machine.experiment("A", code, toml=SMALL + toml)
    machine.experiment("B", toml=SMALL + ONE)
    machine.run(env={"CUDA_VISIBLE_DEVICES": "0"})
    assert machine.visible("A") == ""
    assert machine.told("child")["child"] == "''"
    assert machine.told("child")["spec"] == "1"
    assert machine.visible("B") == "GPU-a"  # there are some


def test_indices_are_nvmls(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """Whatever number a GPU has among those that the shell shows."""
    machine = make_machine(tmp_path, TWO + GPU.format("c", 40960, 20000, 0))
    machine.experiment("A", toml=SMALL + "gpus = 2")
    finished = machine.run("-o", "experiment_gpu_env=index", env={"CUDA_VISIBLE_DEVICES": "2,1"})
    assert machine.visible("A") == "1,2"
    assert lease(finished, "A")["gpus"] == ["GPU-b", "GPU-c"]


@pytest.mark.xdist
def test_shares_of_one_gpu(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """Two shares are held at once; the third waits, and what needs no GPU goes before it."""
    machine = make_machine(tmp_path, GIB_12)
    share = SMALL + 'gpu_memory = "5GB"\n'
    machine.experiment("A", "wait_for('B', 'D')", toml=share)
    machine.experiment("B", "wait_for('A', 'D')", toml=share)
    machine.experiment("C", toml=share)
    machine.experiment("D", "wait_for('A', 'B')\nassert not told('C')", toml=SMALL)
    finished = machine.run("-n3", "--experiment-schedule", "collection")
    assert [machine.visible(name) for name in "ABCD"] == ["GPU-a", "GPU-a", "GPU-a", ""]
    a, b, c = (lease(finished, name) for name in "ABC")
    assert c["granted_at"] >= min(a["released_at"], b["released_at"])
    assert c["gpu_share_bytes"] == 5 * 10**9


USES_GPU = """
class Model:
    def to(self, device): return self

device = "cuda"
Model().to(device)
"""


@pytest.mark.parametrize(("default", "seen"), [("auto", "GPU-a"), ("none", "")])
def test_default_for_the_undeclared(
    default: str, seen: str, tmp_path: Path, make_machine: Callable[..., Machine]
) -> None:
    """With auto, one whose notebook shows that it uses a GPU is leased one, the other none."""
    machine = make_machine(tmp_path, TWO)
    machine.experiment("uses", USES_GPU, toml=SMALL)
    machine.experiment("plain", toml=SMALL)
    finished = machine.run("-o", f"experiment_gpu_default={default}")
    assert machine.visible("uses") == seen
    assert lease(finished, "uses")["gpus"] == [*filter(None, [seen])]
    assert machine.visible("plain") == ""
    assert lease(finished, "plain")["gpus"] == []


def test_the_idlest_is_leased(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """The GPU with the most free memory and the least utilization, not the first."""
    gpus = [("a", 40960, 0, 90), ("b", 40960, 30000, 0), ("c", 40960, 1000, 5)]
    machine = make_machine(tmp_path, "".join(GPU.format(*gpu) for gpu in gpus))
    machine.experiment("A")
    machine.run()
    assert machine.visible("A") == "GPU-c"


def test_memory_of_other_programs(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """Where they hold too much of it the GPU is waited for, and granted as soon as they let go."""
    machine = make_machine(
        tmp_path, GPU.format("a", 16384, 12000, 0) + "process pid=1 used=12000\n"
    )
    machine.experiment("A", toml=SMALL + 'gpus = 1\ngpu_min_memory = "8GB"\n')
    running = machine.start("-v")
    waits = "needs 1 gpu with 8GB free, other programs use their memory: at most 4.3 GiB of one are"
    assert await_condition(lambda: waits in running.text()), running.text()
    machine.describe(GPU.format("a", 16384, 1000, 0))
    finished = running.wait()
    assert finished.returncode == 0, finished.text
    assert machine.visible("A") == "GPU-a"
    assert waits in lease(finished, "A")["waited_for"]


def test_after_a_kill(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """A GPU of a killed pytest is leased to another session once the kernel is gone, and not before."""
    first = make_machine(tmp_path / "first", GIB_12)
    second = make_machine(tmp_path / "second", GIB_12)
    pool = {"NBGROUPS_POOL": str(tmp_path / "pool")}
    first.experiment("A", "tell('pid', pid=os.getpid())\nwait_for('never')")
    killed = first.start(env=pool)
    killed.await_file(first.tree.root / "told" / "pid")
    killed.look()
    kernel = psutil.Process(first.told("pid")["pid"])
    is_there = (
        f"psutil.pid_exists({kernel.pid}) and psutil.Process({kernel.pid}).status() != 'zombie'"
    )
    second.experiment("B", f"import psutil\nassert not ({is_there})")
    waiting = second.start("-v", env=pool)
    assert await_condition(lambda: "needs 1 gpu; held by A" in waiting.text()), waiting.text()
    host = kernel.parent()
    assert host is not None
    host.suspend()  # which keeps it from ending the kernel
    killed.process.kill()
    killed.process.wait()
    _refused(Path(pool["NBGROUPS_POOL"]))
    assert not gone(kernel)
    assert not (second.tree.root / "told" / "B").exists()
    host.resume()
    finished = waiting.wait()
    assert finished.returncode == 0, finished.text
    assert second.visible("B") == "GPU-a"


def _refused(pool: Path) -> None:
    """Ask for the GPU behind whoever waits, long enough for each of them to look again."""

    def admission(_claim: Claim, holders: Sequence[Claim], _ahead: Sequence[Claim]) -> Obstacle:
        return Obstacle(lacking="needs GPU-a", blockers=tuple(h for h in holders if h.gpus))

    need = Need(cpus=0, ram_bytes=0, ram_source="declared", gpus=1)
    claim = Claim(need=need, experiment="test", session="test", gpu_choices=("GPU-a",))
    with (
        pytest.raises(LeaseTimeoutError, match="needs GPU-a; held by A"),
        LeasePool(pool).lease(claim, admission=admission, wait_s=2),
    ):
        pass


@pytest.mark.xdist
def test_unified_memory(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """Where a GPU has no memory of its own, shares of it are RAM: of two that fill it one waits."""
    machine = make_machine(tmp_path, "gpu uuid=GPU-a name=GB10 total=none\n")
    share = '[resources]\ncpus = 0.1\nram = "50MB"\ngpu_memory = "200MB"\n'
    machine.experiment("A", "wait_for('D')", toml=share)
    machine.experiment("C", toml=share)
    machine.experiment("D", "wait_for('A')\nassert not told('C')", toml=SMALL)
    finished = machine.run("-n2", "--experiment-schedule=collection", "--experiment-ram=350MB")
    a, c = (lease(finished, name) for name in "AC")
    assert machine.visible("A") == machine.visible("C") == "GPU-a"
    assert a["ram_bytes"] == c["ram_bytes"] == 250_000_000
    assert c["granted_at"] >= a["released_at"]


NESTED = """
import os, sys
from pytest_nbgroups import run_experiment
result = run_experiment("../{}", rootdir=".")
print(result.outcome, result.reason)
"""


def test_what_runs_inside(tmp_path: Path, make_machine: Callable[..., Machine]) -> None:
    """A run in a notebook gets the GPU of its lender though there is a free one, and none from one without."""
    machine = make_machine(
        tmp_path, GPU.format("a", 40960, 20000, 0) + GPU.format("b", 40960, 0, 0)
    )
    need = "gpu_min_memory = '30GB'\n"
    machine.experiment("In", toml=SMALL + need)
    machine.experiment("Outer", NESTED.format("In"), toml=SMALL + need)
    machine.experiment("Without", NESTED.format("In"), toml=SMALL)
    finished = machine.run("experiments/Outer", "experiments/Without")
    assert machine.visible("Outer") == machine.visible("In") == "GPU-b"
    (cell,) = finished.executed("Outer", "1-only.ipynb").cells
    assert printed(cell) == "passed None\n"
    (cell,) = finished.executed("Without", "1-only.ipynb").cells
    assert printed(cell) == (
        "skipped needs 1 GPU; this run is inside Without, whose lease holds none. "
        "Declare gpus = 1 in Without's experiment.toml\n"
    )
