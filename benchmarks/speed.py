"""All that is said of speed, in one run: ``nox -s speed``, or ``python benchmarks/speed.py [--write] [PROGRAM ...]``.

Runs the programs below one after the other with the Python that runs this one, whose environment needs the
package itself and benchmarks/requirements.txt. ``--write`` puts what they print into docs/reference/speed.md. Takes about
twenty minutes; nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import trees

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reference" / "speed.md"
BEGIN, END = "<!-- results: made by nox -s speed -->", "<!-- end of the results -->"
PROGRAMS: dict[str, tuple[str, Sequence[Sequence[str]]]] = {
    "notebook_cost": ("The cost of a notebook", [[], ["--profile"]]),
    "preload": ("Preloaded libraries", [["--runs=2"]]),
    "off_cost": ("A run of pytest that does not use the plugin", [[]]),
    "collection": ("Collection", [[]]),
    "scale": ("Thousands of experiments", [[]]),
    "kernel_memory": ("Memory", [[]]),
    "large_outputs": ("Large outputs", [[]]),
}
"""Name of a program -> what it is about, and the arguments with which it is run."""


def environment() -> Iterator[str]:
    """What was measured, and with what."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield f"{python}, {platform.system()}, {len(os.sched_getaffinity(0))} CPUs"
    pinned = re.findall(r"^([\w-]+)==", (HERE / "requirements.txt").read_text(), re.MULTILINE)
    yield ", ".join(f"{name} {importlib.metadata.version(name)}" for name in pinned)


def said(program: str, arguments: Sequence[str]) -> str:
    """Run a program and give what it prints. Ends this one where it fails."""
    command = [sys.executable, str(HERE / f"{program}.py"), *arguments]
    done = subprocess.run(
        command, env=trees.compiling(), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")
    return done.stdout.strip()


def section(program: str) -> str:
    title, runs = PROGRAMS[program]
    blocks = []
    for arguments in runs:
        call = " ".join(["python", f"benchmarks/{program}.py", *arguments])
        print(f"\n$ {call}", flush=True)
        text = said(program, arguments)
        print(text, flush=True)
        blocks.append(f"```text\n$ {call}\n{text}\n```")
    return "\n\n".join([f"## {title}", *blocks])


def write(sections: Sequence[str]) -> None:
    """Replace the results in the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    measured = "Measured with " + "; ".join(environment()) + "."
    text = "\n\n".join([f"{before}{BEGIN}", measured, *sections, f"{END}{after}"])
    PAGE.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    parser.add_argument("--write", action="store_true", help=f"write the results to {PAGE.name}")
    given = parser.parse_args()
    if unknown := set(given.programs) - PROGRAMS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if given.write and given.programs:
        parser.error("the page has the results of one whole run: --write goes without names")
    print("\n".join(environment()), flush=True)
    sections = [section(program) for program in given.programs or PROGRAMS]
    if given.write:
        write(sections)


if __name__ == "__main__":
    main()
