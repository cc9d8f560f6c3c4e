"""How far the plan is from the run that it foresees: ``python benchmarks/estimates.py``.

Runs a copy of `examples/` with ``-n 2``, predicts from its history a run with 2 workers, and runs another
copy with that history. Predicted and measured go from the first lease to the last release; the wall time
of pytest as a whole stands beside them. The rival, from the same history: the sum of all durations over
the workers, as pytest-split reckons. Needs the dependency group ``examples``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from workers import copy_examples, plan, run_examples

WORKERS = 2


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        first = copy_examples(Path(scratch) / "first")
        run_examples(first, WORKERS)
        planned = plan(first)
        second = copy_examples(Path(scratch) / "second", history_of=first)
        measured = run_examples(second, WORKERS)
    predictions = {
        "the plan": planned.predict(WORKERS).wall_s,
        "sum / workers": sum(planned.durations_s) / WORKERS,
    }
    print(f"{len(planned.units)} experiments, {WORKERS} workers")
    print(f"measured: {measured.span_s:.1f} s of leases, {measured.wall_s:.1f} s of pytest")
    for name, predicted_s in predictions.items():
        ratio = predicted_s / measured.span_s
        print(f"{name:<14}{predicted_s:>7.1f} s, predicted / measured {ratio:.3f}")


if __name__ == "__main__":
    main()
