"""Feeds every target with many inputs, and prints what became of them.

    python tests/fuzz/fuzz.py --examples 20000 --seconds 120 notebook "lease pool"

Exits with 1 where a target has crashed; the smallest input of each kind of crash is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "unit"), str(HERE.parent / "unit" / "reports")]

import hypothesis  # noqa: E402
from fuzz_targets import TARGETS, Target, alarm  # noqa: E402


@dataclass(kw_only=True)
class Tally:
    """What became of the inputs of one target."""

    target: Target
    tried: int = 0
    accepted: int = 0
    rejections: set[str] = field(default_factory=set)
    crashes: dict[str, str] = field(default_factory=dict)
    """Where and what -> the shortest input."""


class TimeIsUp(BaseException):
    """No exception that a target could take for one of its own."""


def fuzz(target: Target, *, examples: int, seconds: float) -> Tally:
    """Try so many inputs, or fewer where the time is up."""
    tally, end = Tally(target=target), time.monotonic() + seconds

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        verbosity=hypothesis.Verbosity.quiet,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(target.inputs)
    def each(value: Any) -> None:
        if time.monotonic() > end:
            raise TimeIsUp
        _try(tally, value)

    with contextlib.suppress(TimeIsUp):
        each()
    return tally


def _try(tally: Tally, value: object) -> None:
    tally.tried += 1
    with tempfile.TemporaryDirectory() as folder:
        try:
            with alarm():
                said = tally.target.check(value, Path(folder))
        except (Exception, SystemExit) as exc:  # noqa: BLE001  to be counted
            shown, key = f"{exc!r:.300}\n      {value!r}", _where(exc)
            if key not in tally.crashes or len(shown) < len(tally.crashes[key]):
                tally.crashes[key] = shown
            return
    if said:
        tally.rejections.add(_shape(said.replace(folder, "")))
    else:
        tally.accepted += 1


def _where(exc: BaseException) -> str:
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [f for f in frames if "pytest_nbgroups" in f.filename or "fuzz_" in f.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{type(exc).__name__} at {Path(last.filename).name}:{last.lineno} {last.line}"


def _shape(text: str) -> str:
    """A rejection without what it quotes, so that kinds of them can be counted."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|= [^:\n]*:|\d+|\(.*?\)", "…", text.partition("\n")[0])[:90]


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz what is named, else everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each target at most")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.targets) - {target.name for target in TARGETS}:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    warnings.simplefilter("error")
    chosen = [t for t in TARGETS if not arguments.targets or t.name in arguments.targets]
    sys.stdout.write(
        f"{'target':22}{'inputs':>8}{'accepted':>10}{'rejections':>12}{'crashes':>9}\n"
    )
    crashes = 0
    for target in chosen:
        tally = fuzz(target, examples=arguments.examples, seconds=arguments.seconds)
        crashes += len(tally.crashes)
        counts = (tally.tried, tally.accepted, len(tally.rejections), len(tally.crashes))
        row = "".join(
            f"{count:>{width}}" for count, width in zip(counts, (8, 10, 12, 9), strict=True)
        )
        sys.stdout.write(f"{target.name:22}{row}\n")
        for where, value in tally.crashes.items():
            sys.stdout.write(f"    {where}\n      {value[:1500]}\n")
        sys.stdout.flush()
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
