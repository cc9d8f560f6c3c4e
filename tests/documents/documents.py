"""Run what the documents show: ``python tests/documents/documents.py [--write] [PAGE ...]``.

A comment in front of a fenced block in README.md or docs states what the block is:

``<!-- file: PATH -->``
    content of a file, which is written
``<!-- run -->``
    commands behind ``$``, which have to succeed; with ``run: fails`` each has to exit with 1
``<!-- output: NAME -->``
    what the last command printed; a first line behind ``$`` is a command that runs now
``<!-- excerpt: NAME -->``
    a part of an output, of this page or an earlier one, from the first line shown to the last;
    ``last`` is what the last command printed
``<!-- not run: REASON -->``
    commands that cannot run on every Linux machine
``<!-- command: NAME -->``
    a command that .ci/run, or a reader, runs

``<!-- prepare: COMMAND -->`` stands alone and runs a command that the page does not show; ``$NOTEBOOKS`` is the
program beside this one. Every page has a folder of its own. ``run in examples``, and the same for the other kinds, use a copy of the repository's ``examples`` there.

Exits with 1 if a command ends otherwise, if it prints something else than the page shows, or if a ``console`` block
has no comment. Numbers and the order of lines may differ. With ``--write``, writes the present outputs into the pages
and exits with 1 only if a command cannot run. The pages show a machine without GPU.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from comparison import difference, excerpt, portable

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^(?=<!--|```)"
    r"(?:<!-- (?P<kind>file|run|output|excerpt|not run|command|prepare)"
    r"(?: in (?P<copied>\w+))?(?:: (?P<name>.+?))? -->\n)?"
    r"(?:```(?P<info>[^\n]*)\n(?P<text>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
MADE_ELSEWHERE = re.compile(r"^<!-- \w+: made by .*?^<!-- end of ", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.+)$", re.MULTILINE)
BASH = shutil.which("bash") or "/bin/bash"
LIMIT_S = 300
FIXED = {"COLUMNS": "100", "PYTEST_ADDOPTS": "--experiment-cpus=2", "TERM": "dumb"}
"""Settings with which the outputs of two machines differ in numbers alone."""
FOREIGN = ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "FORCE_COLOR")
"""Variables that change what pytest and the plugin print."""


class WrongBlockError(Exception):
    """A block that does not show what happens."""


@dataclass(kw_only=True)
class Page:
    """One document, and the folder in which its commands run."""

    path: Path
    folder: Path
    env: Mapping[str, str]
    outputs: dict[str, str]
    """Outputs by name, shared by all pages."""
    write: bool
    last: str = ""
    faults: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Obey the comments in their order; return the text that the page should have."""
        page = self.path.read_text("utf-8")
        elsewhere = [made.span() for made in MADE_ELSEWHERE.finditer(page)]

        def replace(block: re.Match[str]) -> str:
            if any(start <= block.start() < end for start, end in elsewhere):
                return block[0]
            try:
                return self._block(block)
            except WrongBlockError as fault:
                line = page.count("\n", 0, block.start()) + 1
                self.faults.append(f"{self.path.relative_to(ROOT).as_posix()}:{line}: {fault}")
                return block[0]

        return BLOCK.sub(replace, page)

    def _block(self, block: re.Match[str]) -> str:
        name, shown = block["name"] or "", block["text"] or ""
        match block["kind"]:
            case None:
                _require_comment(block)
            case "prepare":
                self._run(name, self._folder(block), 0)
            case "file":
                target = self._folder(block) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(shown, "utf-8")
            case "run":
                for command in COMMAND.findall(shown):
                    self._run(command, self._folder(block), int(name == "fails"))
            case "output":
                self.outputs[name] = self._output(shown, self._folder(block))
                return self._checked(block, self.outputs[name])
            case "excerpt":
                found = excerpt(self.outputs.get(name, ""), shown)
                if found is None:
                    raise WrongBlockError(
                        f"output {name!r} lacks the first or the last line of this excerpt"
                    )
                return self._checked(block, found)
        return block[0]

    def _folder(self, block: re.Match[str]) -> Path:
        if block["copied"] is None:
            return self.folder
        folder = self.folder / block["copied"]
        if not folder.exists():
            hidden = shutil.ignore_patterns(".*", "__pycache__", "output")
            shutil.copytree(ROOT / block["copied"], folder, ignore=hidden)
        return folder

    def _output(self, shown: str, folder: Path) -> str:
        first = shown.partition("\n")[0]
        command = COMMAND.match(first)
        if command is None:
            return self.last
        self._run(command[1], folder, 0)
        return f"{first}\n{self.last}"

    def _run(self, command: str, folder: Path, expected: int) -> None:
        returncode, printed = _in_terminal(command, folder, self.env)
        self.last = self.outputs["last"] = portable(printed, str(self.folder), self.folder.name)
        if returncode != expected:
            raise WrongBlockError(
                f"exit code {returncode}, expected {expected}: {command}\n{self.last}"
            )

    def _checked(self, block: re.Match[str], text: str) -> str:
        changed = difference(block["text"], text)
        if changed and not self.write:
            raise WrongBlockError(f"{block['kind']} {block['name']} differs\n{changed}")
        head, _, _ = block[0].partition("```")
        return f"{head}```{block['info']}\n{text}```"


def _require_comment(block: re.Match[str]) -> None:
    if block["info"] == "console" or COMMAND.search(block["text"] or ""):
        raise WrongBlockError(
            "commands without a comment: add <!-- run --> or <!-- not run: REASON -->"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the outputs into the pages")
    parser.add_argument("pages", nargs="*", type=Path, help="pages to look at; default: all")
    arguments = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as scratch:
        for page in _pages(Path(scratch).resolve(), arguments.pages, write=arguments.write):
            text = page.run()
            faults += page.faults
            if arguments.write and text != page.path.read_text("utf-8"):
                page.path.write_text(text, "utf-8")
                print(f"{page.path.relative_to(ROOT)}: written")  # noqa: T201  a program
    print("\n\n".join(faults) or "Every output is as shown.")  # noqa: T201  a program
    return 1 if faults else 0


def _pages(scratch: Path, wanted: Iterable[Path], *, write: bool) -> Iterator[Page]:
    """Yield the pages; the README comes last, as it shows excerpts of others."""
    outputs: dict[str, str] = {}
    env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    env |= {**FIXED, "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    env |= {
        "NBGROUPS_POOL": str(scratch / "pool"),
        "NOTEBOOKS": str(Path(__file__).with_name("notebooks.py")),
    }
    chosen = {path.resolve() for path in wanted}
    for path in [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]:
        if "_build" not in path.parts and (not chosen or path in chosen):
            folder = scratch / ("pytest-nbgroups" if path.parent == ROOT else path.stem)
            folder.mkdir()
            yield Page(path=path, folder=folder, env=env, outputs=outputs, write=write)


def _in_terminal(command: str, folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in a pseudo-terminal; return its exit code and output.

    In a pipe, the plugin would add lines of progress that a reader at a terminal does not see.
    """
    ours, its = pty.openpty()
    with subprocess.Popen(
        [BASH, "-c", command],
        cwd=folder,
        env=env,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ) as process:
        os.close(its)
        watch = threading.Timer(LIMIT_S, os.killpg, (process.pid, signal.SIGKILL))
        watch.start()
        printed = b""
        with suppress(OSError):  # Linux raises EIO when the last process has closed the terminal
            while data := os.read(ours, 65536):
                printed += data
        process.wait()
        watch.cancel()
    os.close(ours)
    return process.returncode, printed.decode()


if __name__ == "__main__":
    sys.exit(main())
