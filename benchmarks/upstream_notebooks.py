"""Notebooks that nobody here wrote: ``python benchmarks/upstream_notebooks.py``.

Fetches the source distributions of nbclient and nbconvert with pip, lays the notebooks of their own
tests out as independent experiments, runs each with this plugin and with plain nbclient in the same
folder, and prints what became of it in both.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

SOURCES = ("nbclient", "nbconvert")
CELL_TIMEOUT_S = 15
"""One of the notebooks sleeps for ten seconds."""

PLAIN = """
import json, sys, warnings
warnings.simplefilter("ignore")
import nbformat
from nbclient import NotebookClient
path, timeout = sys.argv[1], int(sys.argv[2])
try:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=timeout).execute(cwd=sys.argv[3])
    said = ["passed", ""]
except BaseException as exc:
    lines = [line for line in str(exc).splitlines() if line.strip()]
    said = ["failed", f"{type(exc).__name__}: {lines[-1] if lines else ''}"]
print(json.dumps(said))
"""


def download(
    folder: Path, versions: Mapping[str, str], names: Sequence[str] = SOURCES
) -> list[Path]:
    """Fetch and unpack the source distributions; give their folders."""
    wanted = [f"{name}=={versions[name]}" if name in versions else name for name in names]
    only = ["--no-deps", "--no-binary", ",".join(names)]  # of what builds them a wheel will do
    pip = [sys.executable, "-m", "pip", "download", "--quiet", *only]
    subprocess.run([*pip, "--dest", str(folder), *wanted], check=True)
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return sorted(path for path in folder.iterdir() if path.is_dir())


def lay_out(sources: Iterable[Path], experiments: Path, pattern: str = "tests/**/*.ipynb") -> None:
    """Copy each folder that holds notebooks, with the files beside them."""
    for source in sources:
        for folder in sorted({path.parent for path in source.rglob(pattern)}):
            name = "-".join(folder.relative_to(source.parent).parts)
            shutil.copytree(
                folder,
                experiments / name,
                ignore=lambda _d, names: [n for n in names if n == "__init__.py"],
            )
            (experiments / name / "experiment.toml").write_text("[run]\nindependent = true\n")


def run_ours(folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Run all; give (directory, notebook) -> (outcome, reason)."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--run-experiments"]
    limits = [f"--experiment-cell-timeout={CELL_TIMEOUT_S}s", "--tb=no", "-n", "2"]
    subprocess.run([*command, *limits], cwd=folder, check=False, stdout=subprocess.DEVNULL)
    session = json.loads((folder / ".experiments" / "session.json").read_text())
    return {
        (Path(e["directory"]).name, e["attempts"][-1]["notebooks"][0]["name"]): (
            e["outcome"],
            e["reason"] or "",
        )
        for e in session["experiments"]
    }


def run_plain(notebook: Path) -> tuple[str, str]:
    """Run one with nbclient alone."""
    command = [
        sys.executable,
        "-c",
        PLAIN,
        str(notebook),
        str(CELL_TIMEOUT_S),
        str(notebook.parent),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        return "hung", "did not end within 120 s"
    lines = done.stdout.strip().splitlines()
    outcome, reason = json.loads(lines[-1]) if lines else ("failed", "no answer")
    return outcome, reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nbclient", help="version; default: the newest")
    parser.add_argument("--nbconvert", help="version; default: the newest")
    versions = {name: value for name, value in vars(parser.parse_args()).items() if value}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "sources").mkdir()
        sources = download(folder / "sources", versions)
        (folder / "pytest.ini").write_text("[pytest]\n")
        lay_out(sources, folder / "experiments")
        ours = run_ours(folder)
        print(f"{', '.join(path.name for path in sources)}: {len(ours)} notebooks")
        same = 0
        for (directory, name), (outcome, reason) in sorted(ours.items()):
            theirs, why = run_plain(folder / "experiments" / directory / name)
            same += outcome == theirs
            mark = " " if outcome == theirs else "*"
            print(f"{mark} {directory}/{name}\n      here     {outcome}  {reason[:110]}")
            print(f"      nbclient {theirs}  {why[:110]}")
        print(f"\nthe same outcome for {same} of {len(ours)} ({same / max(1, len(ours)):.0%})")


if __name__ == "__main__":
    main()
