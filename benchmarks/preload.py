"""What `experiment_preload` saves: ``python benchmarks/preload.py``.

Runs one experiment of notebooks that each import numpy, pandas, matplotlib and scikit-learn, fit a line and show a
small plot: warm with these modules preloaded, warm without, with plain starts, each in one pytest without workers, and
in a loop of nbclient in one Python. Every run starts from nothing, so that the imports of the fork server and the start
of pytest are in it. The kinds run in turn; prints for each the median of the seconds for a notebook, its ratio to
nbclient, and how many milliseconds less than nbclient a notebook takes. Needs these libraries.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trees

MODULES = "numpy pandas matplotlib.pyplot sklearn.linear_model"
CELLS = (
    (
        "import matplotlib.pyplot as plt\nimport numpy as np\nimport pandas as pd\n"
        "from sklearn.linear_model import LinearRegression"
    ),
    (
        "x = np.arange(10.0).reshape(-1, 1)\ntable = pd.DataFrame({'x': x[:, 0], 'y': 2 * x[:, 0] + 1})\n"
        "table.describe()"
    ),
    "print(LinearRegression().fit(x, table.y).coef_.round(6))",
    "plt.figure(figsize=(2, 2))\nplt.plot(table.x, table.y)",
)
PLAIN_START = ("-o", "experiment_kernel_start=plain")
OPTIONS = {
    "warm, preloaded": ("-o", f"experiment_preload={MODULES}"),
    "warm": (),
    "plain start": PLAIN_START,
}
NBCLIENT = "nbclient in a loop"


def seconds(kind: str, root: Path) -> float:
    """Of one run, which must succeed."""
    shutil.rmtree(root / ".experiments", ignore_errors=True)
    shutil.rmtree(root / "out", ignore_errors=True)
    command = (
        trees.nbclient_command(root / "experiments" / "Lines", root / "out")
        if kind == NBCLIENT
        else trees.pytest_command("-n0", *OPTIONS[kind])
    )
    env = trees.environment(root)
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    if done.returncode or "preload:" in done.stdout:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notebooks", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    kinds = [*OPTIONS, NBCLIENT]
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        root = trees.root(Path(name))
        for number in range(arguments.notebooks):
            trees.write_notebook(root / f"experiments/Lines/{number:03}-fit.ipynb", CELLS)
        seconds("warm", root)  # compiles what is not yet compiled
        for _ in range(arguments.runs):
            for kind in kinds:
                took[kind].append(seconds(kind, root) / arguments.notebooks)
    medians = {kind: statistics.median(each) for kind, each in took.items()}
    print(f"{arguments.notebooks} notebooks, medians of {arguments.runs} runs")
    print(f"{'':<20}{'a notebook':>12}{'ratio':>8}{'saved':>10}")
    for kind, median_s in medians.items():
        saved_ms = 1000 * (medians[NBCLIENT] - median_s)
        ratio = median_s / medians[NBCLIENT]
        print(f"{kind:<20}{median_s:>10.3f} s{ratio:>8.2f}{saved_ms:>7.0f} ms")


if __name__ == "__main__":
    main()
