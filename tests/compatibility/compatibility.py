"""Runs real experiments beside other plugins, each in an environment of its own, and prints a table.

For each of them, with the lowest and with the newest pytest and pytest-xdist: an experiment that passes, one that
fails at its second notebook and a test, with ``-n0`` and ``-n2``; then what is particular to that plugin. Needs the
network or a filled cache, and takes some minutes. Ends with exit code 1 where something is not as it should be.

    python tests/compatibility/compatibility.py [--write] [--folder DIR] [NAME ...]

``--write`` puts the table into docs/reference/compatibility.md. Environments are kept in the folder and used again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tree import Bench, basic_findings
from worlds import (
    NEIGHBOURS,
    WORLDS,
    Neighbour,
    NotInstallableError,
    Versions,
    World,
    install,
    versions,
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/compatibility.md"
BEGIN, END = "<!-- table: made by nox -s compatibility -->", "<!-- end of the table -->"
HEADING = ("plugin", "version", "pytest", "pytest-xdist", "result")
_AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one plugin in one world."""

    neighbour: Neighbour
    world: World
    found: Versions | None = None
    unmet: str = ""
    findings: tuple[str, ...] = ()

    @property
    def row(self) -> tuple[str, ...]:
        name = self.neighbour.distribution
        if self.found is None:
            return name, "", *self.world.requirements, f"cannot be installed: {self.unmet}"
        works = f"works, {note}" if (note := self.neighbour.note) else "works"
        told = "; ".join(self.findings) or works
        numbers = (self.found[each] for each in (name, "pytest", "pytest-xdist"))
        return name, *numbers, told


def look(neighbour: Neighbour, world: World, folder: Path) -> Outcome:
    """Install, run and check one plugin in one world."""
    place = folder / f"{neighbour.distribution}-{world.name}"
    wheel = os.environ.get("NBGROUPS_WHEEL")
    package = [wheel] if wheel else ["-e", str(ROOT)]
    try:
        python = install(place / "venv", [*package, neighbour.distribution, *world.requirements])
    except NotInstallableError as exc:
        return Outcome(neighbour=neighbour, world=world, unmet=str(exc))
    shutil.rmtree(place / "runs", ignore_errors=True)
    bench = Bench(python=python, folder=place / "runs")
    return Outcome(
        neighbour=neighbour,
        world=world,
        found=versions(python, (neighbour.distribution, "pytest", "pytest-xdist")),
        findings=tuple(_findings(neighbour, bench)),
    )


def _findings(neighbour: Neighbour, bench: Bench) -> Iterator[str]:
    try:
        for workers in ("-n0", "-n2"):
            yield from basic_findings(bench.run(workers), where=workers)
        yield from neighbour.check(bench)
    except Exception as exc:  # noqa: BLE001  what a check did not expect is a finding as well
        yield f"{type(exc).__name__}: {exc}"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    all_rows = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in all_rows)


def report(outcomes: Sequence[Outcome]) -> str:
    """What came of it, and what was looked at."""
    neighbours = dict.fromkeys(outcome.neighbour for outcome in outcomes)
    checks = [(n.distribution, n.meaning) for n in neighbours]
    results = table(HEADING, [outcome.row for outcome in outcomes])
    return f"{results}\n\n{table(('plugin', 'what is checked too'), checks)}"


def write(text: str) -> None:
    """Put the table into the page, between its marks."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
    PAGE.write_text(new, encoding="utf-8", newline="\n")


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(description="experiments beside other plugins")
    parser.add_argument("names", nargs="*", help="the plugins; all where none is named")
    parser.add_argument("--folder", type=Path, default=ROOT / ".compatibility")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - {n.distribution for n in NEIGHBOURS}:
        parser.error(f"no such plugin here: {', '.join(sorted(unknown))}")
    if given.write and given.names:
        parser.error("the table in the page has all plugins: --write goes without names")
    chosen = [n for n in NEIGHBOURS if not given.names or n.distribution in given.names]
    pairs = [(neighbour, world) for neighbour in chosen for world in WORLDS]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looked = [pool.submit(look, *pair, given.folder.absolute()) for pair in pairs]
        outcomes = [each.result() for each in looked]
    text = report(outcomes)
    print(text)  # noqa: T201  a program
    if given.write:
        write(text)
    return int(any(outcome.findings for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
