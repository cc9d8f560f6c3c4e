"""Write small notebooks: ``python notebooks.py FOLDER NAME[=SOURCE] ...``; without source, an empty step."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path, steps: list[str]) -> None:
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        name, _, source = step.partition("=")
        notebook = new_notebook(cells=[new_code_cell(source or "print('done')")])
        nbformat.write(notebook, folder / f"{name}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
