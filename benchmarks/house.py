"""The shape of the source and its words: ``python benchmarks/house.py [REVISION ...]``.

Prints a column for each revision of this repository, by default the working tree alone: modules, lines, sizes of
modules and functions, entries at the top level, modules that import each other in a circle, comments, and how often
docs and docstrings use words that are hard to read. Counts the package, its tests only in a row of their own.
Needs git.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import subprocess
import tarfile
import tempfile
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

PACKAGE = "pytest_nbgroups"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (*FUNCTION, ast.ClassDef, ast.Module)
OPENING = re.compile(r"(?:What|Whether|Where|How|Why|When|Who|Which)\b")
FENCE = re.compile(r"^(```|~~~|:::).*?^\1", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
TELLING = {"tell", "tells", "told", "telling", "say", "says", "said", "saying"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("revisions", nargs="*", help="commits to compare")
    arguments = parser.parse_args()
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as scratch:
        trees = {name: _checkout(root, name, Path(scratch)) for name in arguments.revisions}
        columns = {name: _measure(tree) for name, tree in (trees or {"now": root}).items()}
    _print(columns)


def _checkout(root: Path, revision: str, scratch: Path) -> Path:
    done = subprocess.run(
        ["git", "archive", "--format=tar", revision], cwd=root, capture_output=True, check=True
    )
    tree = scratch / revision.replace("/", "-")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(tree, filter="data")
    return tree


def _measure(tree: Path) -> dict[str, str]:
    package = tree / "src" / PACKAGE
    files = [path for path in package.rglob("*.py") if path.name != "_version.py"]
    texts = {_module(path, package): path.read_text("utf-8") for path in files}
    parsed = {name: ast.parse(text) for name, text in texts.items()}
    modules = sorted(text.count("\n") for text in texts.values())
    functions = sorted(map(_length, _nodes(parsed.values(), FUNCTION)))
    docstrings = [text for node in _nodes(parsed.values(), DOCUMENTED) if (text := _doc(node))]
    pages = [*tree.glob("*.md"), *(tree / "docs").rglob("*.md")]
    prose = [FENCE.sub("", path.read_text("utf-8")) for path in pages if "_build" not in path.parts]
    lines, comments = sum(modules), sum(map(_comments, texts.values()))
    opening = sum(bool(OPENING.match(text)) for text in docstrings)
    circles = _circles({name: _imports(module, texts) for name, module in parsed.items()})
    return {
        "modules": f"{len(modules)}",
        "lines": f"{lines}",
        "lines of a module, median / p90 / most": _spread(modules),
        "lines of a function, median / p90 / most": _spread(functions),
        "loose modules at the top level": f"{sum(path.parent == package for path in files)}",
        "rooms at the top level": f"{sum((path / '__init__.py').exists() for path in package.iterdir())}",
        "import circles (modules in them)": f"{len(circles)} ({sum(map(len, circles))})",
        "comment lines": f"{comments / lines:.1%}",
        "docstrings": f"{len(docstrings)}",
        "docstrings that open with a question word": f"{opening / len(docstrings):.1%}",
        '"where" per 1,000 words of docs': _rate(prose, {"where"}),
        '"where" per 1,000 words of docstrings': _rate(docstrings, {"where"}),
        "tell, say per 1,000 words of docs": _rate(prose, TELLING),
        "tell, say per 1,000 words of docstrings": _rate(docstrings, TELLING),
        "lines of tests": f"{sum(p.read_text('utf-8').count(chr(10)) for p in (tree / 'tests').rglob('*.py'))}",
    }


def _module(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")


def _nodes(trees: Iterable[ast.AST], kinds: tuple[type[ast.AST], ...]) -> Iterator[ast.AST]:
    return (node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds))


def _doc(node: ast.AST) -> str | None:
    return ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None


def _length(node: ast.AST) -> int:
    length: int = node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]  # a function has both
    return length


def _comments(text: str) -> int:
    """Lines that are or end in a comment; those for linters alone do not count."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    told = (token.string for token in tokens if token.type == tokenize.COMMENT)
    return sum(not re.match(r"#\s*(?:noqa|type:|ruff:)(?!.*  \S)", comment) for comment in told)


def _imports(tree: ast.Module, known: Mapping[str, str]) -> set[str]:
    """The modules of the package that one imports when it is loaded, or later."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            base = (node.module or "").removeprefix(PACKAGE).lstrip(".")
            names = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
            found |= {name if name in known else base for name in names}
    return found & known.keys()


def _circles(imports: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Groups of modules each of which imports all others of its group, if not at once."""
    reached = {name: _reached(name, imports) for name in imports}
    groups = (
        frozenset(other for other in reached[name] if name in reached[other]) for name in imports
    )
    return {group for group in groups if group}


def _reached(start: str, imports: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        new = imports[ahead.pop()] - reached
        reached |= new
        ahead += new
    return reached


def _spread(sizes: Sequence[int]) -> str:
    return f"{statistics.median(sizes):.0f} / {statistics.quantiles(sizes, n=10)[-1]:.0f} / {max(sizes)}"


def _rate(texts: Iterable[str], wanted: set[str]) -> str:
    words = [word.lower() for text in texts for word in WORD.findall(text)]
    return f"{1000 * sum(word in wanted for word in words) / len(words):.1f}"


def _print(columns: Mapping[str, Mapping[str, str]]) -> None:
    rows = next(iter(columns.values()))
    title = max(map(len, rows))
    widths = {name: max(len(name), *map(len, column.values())) for name, column in columns.items()}
    print(" " * title, *(f"{name:>{widths[name]}}" for name in columns), sep="  ")
    for row in rows:
        values = (f"{columns[name][row]:>{widths[name]}}" for name in columns)
        print(f"{row:{title}}", *values, sep="  ")


if __name__ == "__main__":
    main()
