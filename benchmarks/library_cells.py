"""Cells that show whether libraries work in a kernel as they should, for `equivalence.py`.

They print the same in every kernel, and True where the answer is that something differs from kernel to kernel.
"""

from __future__ import annotations

from pathlib import Path

import trees

PRELOAD = "numpy pandas matplotlib.pyplot sklearn.linear_model joblib"
_DIFFERS = """
from pathlib import Path
before, value = Path("before"), repr([{value}])
print(not before.exists() or before.read_text() != value)
_ = before.write_text(value)
"""
"""Run in two notebooks, one after the other."""
_SPAWN = """
with multiprocessing.get_context({method!r}).Pool(2) as pool: print(pool.map(math.sqrt, [1, 4, 9]))
"""
EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "figures": (
        "import matplotlib, matplotlib.pyplot as plt\nplt.plot([1, 2, 3])",
        "figure, axes = plt.subplots(figsize=(2, 2))\naxes.plot([3, 1, 2])",
        "print(matplotlib.get_backend(), plt.isinteractive(), plt.get_fignums())",
        "print({k: v for k, v in sorted(plt.rcParams.items())})",
        "%config InlineBackend.figure_formats = ['svg']\nplt.plot([1])\nplt.show()",
        "%matplotlib agg\nprint(matplotlib.get_backend())",
    ),
    "settings of matplotlib": (
        "import matplotlib.pyplot as plt\nprint(plt.rcParams['lines.linewidth'])\nplt.plot([1, 2])",
        "import matplotlib\nprint(matplotlib.matplotlib_fname(), matplotlib.rcParamsOrig['lines.linewidth'])",
        "matplotlib.rc_file_defaults()\nprint(plt.rcParams['lines.linewidth'], plt.rcParams['backend'])",
    ),
    "magic": ("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 3])",),
    "tables": (
        "import pandas as pd\ntable = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\ntable",
        "table.a.plot()",
        "table.style",
        "print(table)\npd.options.display.max_rows",
    ),
    "linear algebra": (
        "import numpy as np\nmatrix = np.random.default_rng(0).random((400, 400))",
        "print(np.linalg.svd(matrix)[1][:3], (matrix @ matrix).sum())",
        (
            "from threadpoolctl import threadpool_info\n"
            "print({(p['internal_api'], p['num_threads']) for p in threadpool_info() if p['user_api'] == 'blas'})"
        ),
    ),
    "models": (
        (
            "import numpy as np\nfrom sklearn.cluster import KMeans\nfrom sklearn.linear_model import LogisticRegression\n"
            "from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier\n"
            "x = np.random.default_rng(0).random((500, 5))\ny = x[:, 0] > 0.5"
        ),
        "print(LogisticRegression().fit(x, y).coef_)",
        "print(RandomForestClassifier(20, n_jobs=2, random_state=0).fit(x, y).score(x, y))",
        "print(HistGradientBoostingClassifier(random_state=0).fit(x, y).score(x, y))",
        "print(KMeans(3, random_state=0, n_init=2).fit(x).inertia_)",
    ),
    "processes": (
        "import math, multiprocessing\nfrom joblib import Parallel, delayed",
        "def twice(x): return 2 * x\nprint(Parallel(2)(delayed(twice)(n) for n in range(5)))",
        *(_SPAWN.format(method=method) for method in ("spawn", "fork", "forkserver")),
    ),
    "randomness": (
        "import random, tempfile, uuid\nimport numpy as np",
        _DIFFERS.format(value="np.random.rand(), np.random.get_state()[1][:3]"),
        _DIFFERS.replace('"before"', '"other"').format(value="random.random(), uuid.uuid4()"),
        _DIFFERS.replace('"before"', '"third"').format(value="np.random.default_rng().random()"),
        "np.random.seed(3)\nprint(np.random.rand())",
    ),
}


def lay_out(experiments: Path) -> None:
    """Two notebooks of each, as one kernel may work and the next one not."""
    for name, cells in EXPERIMENTS.items():
        for number in (1, 2):
            trees.write_notebook(experiments / name / f"{number}-run.ipynb", cells)
        (experiments / name / "experiment.toml").write_text('[run.env]\nOMP_NUM_THREADS = "2"\n')
    (experiments / "settings of matplotlib" / "matplotlibrc").write_text("lines.linewidth: 7\n")
