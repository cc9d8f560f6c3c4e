from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Estimate, Resources
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.hints.finding import Hint, Hints, find_hints
from pytest_nbgroups.hints.suggestions import hint_lines


def no_python(source: str) -> str:
    """For cells in which there are no magics to undo."""
    raise SyntaxError(source)


def found(*cells: str) -> tuple[Hint, ...]:
    """The hints in a notebook of these cells."""
    return find_hints("1-a.ipynb", enumerate(cells, start=1), to_python=no_python)


def signs(*cells: str) -> list[str]:
    """Each with its kind in front."""
    return [f"{h.kind}: {h.sign}" for h in found(*cells)]


@pytest.mark.parametrize(
    ("cell", "sign"),
    [
        ("RandomForestClassifier(n_jobs=-1)", "n_jobs=-1"),
        ("cross_val_score(m, x, n_jobs=4)", "n_jobs=4"),
        ("p = {'n_jobs': -2}\nm.set_params(**p)", "n_jobs=-2"),
        ("p['num_threads'] = 8", "num_threads=8"),
        ("N_JOBS = -1\nf(n_jobs=N_JOBS)", "n_jobs=N_JOBS"),
        ("import os\nf(n_jobs=os.cpu_count())", "n_jobs=os.cpu_count()"),
        ("DataLoader(d, num_workers=4)", "num_workers=4"),
        ("differential_evolution(f, b, workers=-1)", "workers=-1"),
        ("with ProcessPoolExecutor() as e: pass", "ProcessPoolExecutor()"),
        ("concurrent.futures.ProcessPoolExecutor(max_workers=3)", "ProcessPoolExecutor(3)"),
        ("import multiprocessing as mp\nmp.Pool()", "Pool()"),
        ("from multiprocessing import Pool as P\nP(4)", "Pool(4)"),
        ("import multiprocessing\nmultiprocessing.get_context('spawn').Pool(2)", "Pool(2)"),
        ("LocalCluster(n_workers=4)", "LocalCluster(4)"),
        (
            "from dask.distributed import Client\nClient(processes=False)",
            "dask.distributed.Client()",
        ),
        ("import ray\nray.init()", "ray.init()"),
        ("import ray\nray.init(num_cpus=6)", "ray.init(6)"),
    ],
)
def test_parallel_code(cell: str, sign: str) -> None:
    """However it is spelled, and once."""
    assert signs(cell) == [f"parallel: {sign}"]
    assert not Hints(found=found(cell)).may_use_gpu


@pytest.mark.parametrize(
    ("cell", "sign"),
    [
        ("import cupy as cp", "import cupy"),
        ("from cuml.cluster import KMeans", "import cuml.cluster"),
        ("from numba import cuda", "from numba import cuda"),
        ("import numba.cuda", "import numba.cuda"),
        ("m = m.cuda()", ".cuda()"),
        ("net().cuda(0)", ".cuda()"),
        ("x.to('cuda')", 'to("cuda")'),
        ("d = torch.device('cuda:0')", 'device("cuda:0")'),
        ("torch.zeros(3, device='cuda')", 'device="cuda"'),
        ("DEVICE: str = 'cuda'\nx.to(DEVICE)", 'DEVICE="cuda"'),
        ("def f(device):\n    pass\nd = 'cuda:1'\nf(device=d)", 'device="cuda:1"'),
        ("with tf.device('/GPU:0'): pass", 'device("/GPU:0")'),
        ("jax.devices('gpu')[0]", 'devices("gpu")'),
        ("XGBClassifier(tree_method='hist', device='cuda')", 'device="cuda"'),
        ("params = {'tree_method': 'gpu_hist'}", 'tree_method="gpu_hist"'),
        ("CatBoostClassifier(task_type='GPU')", 'task_type="GPU"'),
        ("Trainer(accelerator='gpu')", 'accelerator="gpu"'),
        ("from_pretrained(n, device_map='cuda')", 'device_map="cuda"'),
        ("os.environ['JAX_PLATFORMS'] = 'cuda'", 'JAX_PLATFORMS="cuda"'),
        ("torch.cuda.set_device(0)", "torch.cuda.set_device()"),
        ("import torch", "import torch"),
        ("from tensorflow import keras", "import tensorflow"),
        ("assert torch.cuda.is_available()", "torch.cuda.is_available()"),
        ("d = 'cuda' if torch.cuda.is_available() else 'cpu'\nm.to(d)", 'd="cuda"'),
        ("try:\n    import cupy as xp\nexcept ImportError:\n    pass", "import cupy"),
        (
            "import contextlib\nwith contextlib.suppress(ImportError):\n    import cupy",
            "import cupy",
        ),
        ("if True:\n    m.cuda()", ".cuda()"),
        ("TRAIN = True\nif TRAIN:\n    m.cuda()", ".cuda()"),
        ("if __name__ == '__main__':\n    m.cuda()", ".cuda()"),
        ("try:\n    m.cuda()\nfinally:\n    close()", ".cuda()"),
        ("with torch.no_grad():\n    m.cuda()", ".cuda()"),
        ("class A:\n    async def f(self):\n        m.cuda()", ".cuda()"),
    ],
)
def test_code_that_may_use_a_gpu(cell: str, sign: str) -> None:
    """Also code that checks first, or has another way."""
    assert f"gpu: {sign}" in signs(cell)
    assert Hints(found=found(cell)).may_use_gpu


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "# n_jobs=-1, device='cuda', m.cuda()",
        "s = 'device=cuda n_jobs=-1'\n'''\nimport cupy\n'''",
        "print('cuda')",
        "torch.version.cuda",
        "f(n_jobs=1, num_workers=0, workers=None, max_workers=True)",
        "f(n_jobs=settings.jobs)",
        "f(n_jobs=compute(the, number))",
        "device = 'cuda'\nprint(device)",
        "def f(x, *, device='cuda'):\n    return x.to(device)",
        "f(device='cpu', accelerator='auto', tree_method='hist')",
        "ThreadPoolExecutor(max_workers=8)",
        "from multiprocessing.dummy import Pool\nPool(processes=8)",
        "from multiprocessing.pool import ThreadPool\nThreadPool(4)",
        "import multiprocessing\nmultiprocessing.Pool(1)",
        "Pool(4)",
        "workers = 4\nprocesses = 8",
        "from dask.distributed import Client\nClient('tcp://scheduler:8786')",
        "import ray\nray.init(address='auto')",
        "from . import cupy",
        "from .torch import x",
        "cudaless = 1",
        "device = 'cpu'\nx.to(device)",
        "(lambda device: x.to(device))('cpu')",
        "a, device = 'cuda', 'cpu'\nx.to(device)",
    ],
)
def test_code_that_tells_nothing(cell: str) -> None:
    """A false line costs more trust than a missing one costs time."""
    assert signs(cell) == []


def test_names_hold_in_later_cells() -> None:
    """As in the kernel; the last value counts."""
    assert signs("d = 'cuda'", "x.to(d)") == ['gpu: d="cuda"']
    assert signs("d = 'cuda'", "d = 'cpu'", "x.to(d)") == []
    assert signs("d = 'cuda'", "for d in others:\n    x.to(d)") == []
    assert signs("d = 'cuda'", "def f(d):\n    x.to(d)") == []
    assert signs("n = 4", "n += 1", "f(n_jobs=n)") == []
    assert signs("d = 'cuda'", "def f(d):\n    d = 3\n    x.to(d)", "x.to(d)") == ['gpu: d="cuda"']


def test_where_a_hint_is() -> None:
    """Notebook and cell; and the number that is asked for."""
    assert found("x = 1", "y = 2\n\nf(n_jobs=4)\nf(n_jobs=4)") == (
        Hint(kind="parallel", sign="n_jobs=4", notebook="1-a.ipynb", cell=2, count=4),
    )


def test_cells_that_are_no_python_are_passed_over() -> None:
    """The others still tell."""
    assert signs("def f(:", "a\0b", "'\ud800'", "m.cuda()") == ["gpu: .cuda()"]


def test_code_that_python_warns_of_is_read() -> None:
    """Not every pattern stands in a raw string."""
    assert signs(r"re.match('\d', x); m.cuda()") == ["gpu: .cuda()"]


def test_what_is_no_python_is_undone() -> None:
    """Only if the cell is no Python as it stands."""
    asked: list[str] = []

    def to_python(source: str) -> str:
        asked.append(source)
        return "m.cuda()"

    cells = [(1, "cuda = 1 % 2"), (4, "%magic")]
    hints = find_hints("1.ipynb", cells, to_python=to_python)
    assert [(hint.cell, hint.sign) for hint in hints] == [(4, ".cuda()")]
    assert asked == ["%magic"]
    assert find_hints("1.ipynb", [(1, "%magic")], to_python=to_python) == ()
    assert asked == ["%magic"]


pieces = st.sampled_from(
    [
        "import torch\n", "if x:\n ", "device", "='cuda'", "n_jobs", "=-1", "=", "f(", ")", "{", "}",
        ":", "lambda ", "'", '"""', "\\d", "\0", "\ud800", "9" * 5000, "-" * 3000, "(" * 300,
        "1+" * 3000, "x" + ".a" * 3000, "not " * 3000, "\n", " is 1", "0x", "1_", "try:\n ", "Pool(",
    ]
)  # fmt: skip


@given(st.lists(st.text(max_size=30) | st.lists(pieces, max_size=8).map("".join), max_size=4))
def test_whatever_a_cell_holds(cells: list[str]) -> None:
    """No error and, under ``filterwarnings = error``, no warning."""
    assert all(hint.cell <= len(cells) for hint in found(*cells))


@pytest.mark.parametrize(
    "cell",
    [
        "1+" * 50_000 + "1",
        "x" + ".a" * 900,
        "x" + ".a" * 900 + ".cuda()",
        "-" * 10**5 + "1",
        "if a: pass\n" + "elif a: pass\n" * 2000,
        "f(n_jobs=" * 80 + ")" * 80,
        "n_jobs = -" + "9" * 4300 + "\nf(n_jobs=n_jobs)",
        "f(n_jobs=" + "9" * 4300 + ")",
    ],
)
def test_code_as_deep_as_a_pit(cell: str) -> None:
    """Parser and visitor give up in one of several ways; the next cell still tells."""
    assert "gpu: import cupy" in signs(cell, "import cupy")


def lines(
    *cells: str, estimate: Estimate | None = None, resources: Resources | None = None
) -> tuple[str, ...]:
    """What is said of an experiment with one notebook."""
    experiment = Experiment(
        name="Heart", directory=Path("Heart"), notebooks=(), resources=resources or Resources()
    )
    hints = Hints(found=found(*cells))
    return hint_lines(experiment, hints, estimate, toml_path="experiments/Heart/experiment.toml")


def test_what_to_declare() -> None:
    """Where it was found, and what to put where."""
    assert lines("import torch", "fit(n_jobs=-1)\nfit(n_jobs=2)", "m.cuda()") == (
        (
            "Heart: 1-a.ipynb cell 2 uses n_jobs=-1 and no cpus are declared; "
            "put cpus = N into [resources] of experiments/Heart/experiment.toml"
        ),
    )
    assert "put cpus = 4 into" in lines("Parallel(n_jobs=4)")[0]


@pytest.mark.parametrize(
    "resources",
    [
        Resources(gpus=1, cpus=4),
        Resources(gpus=0, cpus=1),
        Resources(gpu_memory=Size(10**9), cpus=0.5),
        Resources(gpu_min_memory=Size(10**9), cpus=2),
    ],
)
def test_what_is_declared_needs_no_line(resources: Resources) -> None:
    """None at all included: it is the user's word."""
    assert lines("m.cuda()\nf(n_jobs=-1)", resources=resources) == ()
    assert lines("m.cuda()\nf(n_jobs=-1)", resources=resources, estimate=HEAVY) == ()


HEAVY = Estimate(runs=4, cpus=6.3, gpu_bytes=3 * 2**30)
LIGHT = Estimate(runs=4, cpus=1.2, gpu_bytes=0)


def test_history_decides() -> None:
    """What was used is used, and what was not is not, whatever the source says."""
    assert lines("m.cuda()\nf(n_jobs=-1)", estimate=LIGHT) == ()
    assert lines("import torch\nf(n_jobs=2)", estimate=HEAVY) == (
        (
            "Heart: used 3 GiB of GPU memory in 4 runs and no gpus are declared; "
            "put gpus = 1 into [resources] of experiments/Heart/experiment.toml"
        ),
        (
            "Heart: 1-a.ipynb cell 1 uses n_jobs=2, 6.3 cpus were busy in 4 runs and no cpus are "
            "declared; put cpus = 6 into [resources] of experiments/Heart/experiment.toml"
        ),
    )
    assert "in 1 run and" in lines(estimate=Estimate(runs=1, gpu_bytes=2**30))[0]


def test_history_that_does_not_know_leaves_it_to_the_source() -> None:
    """Nothing has measured it yet."""
    assert lines("f(n_jobs=3)", estimate=Estimate(runs=3)) == lines("f(n_jobs=3)") != ()
    assert lines("m.cuda()", estimate=Estimate(runs=3)) == ()
