"""``python -m pytest_nbgroups``: commands for the records of finished sessions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_nbgroups.core.errors import NbgroupsError
from pytest_nbgroups.core.settings import ARTIFACTS_FOLDER
from pytest_nbgroups.core.text import plain_text


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 1 if the command fails. argparse exits with 2 for a bad command line."""
    arguments = _parser().parse_args(argv)
    try:
        text = merge(arguments.folders, arguments.output)
    except NbgroupsError as exc:
        sys.stderr.write(f"{plain_text(str(exc))}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_nbgroups",
        description="Work with the records of pytest-nbgroups sessions.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    text = "join the records of the shards of one run"
    merging = commands.add_parser(
        "merge",
        help=text,
        description=f"{text.capitalize()}: session.json and, if there is one, history.sqlite. Fails if a "
        "shard is missing or given twice, if an experiment was not run or was run twice, and if the "
        "shards are from different runs.",
    )
    merging.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="artifacts folder of a shard, with its session.json; all shards of the run",
    )
    merging.add_argument(
        "--output",
        type=Path,
        default=Path(ARTIFACTS_FOLDER),
        metavar="DIR",
        help="artifacts folder to write to (default: %(default)s)",
    )
    return parser


def merge(folders: Sequence[Path], output: Path) -> str:
    """Write the joined record and history of shards; return a report. Raises NbgroupsError."""
    from pytest_nbgroups.history.merge_databases import merge_histories
    from pytest_nbgroups.history.store import FILE_NAME
    from pytest_nbgroups.reports.merge_records import merge_sessions, read_shard
    from pytest_nbgroups.reports.session_file import write_record

    merged = merge_sessions([read_shard(folder) for folder in folders])
    target = output / FILE_NAME
    sources = [folder / FILE_NAME for folder in folders]
    if present := [s for s in sources if s.is_file() and s.resolve() != target.resolve()]:
        merge_histories(target, present)
    if unwritten := write_record(output, merged):
        raise NbgroupsError("\n".join(unwritten))
    return (
        f"{len(merged['shards'])} shards, {len(merged['experiments'])} experiments: "
        f"{output / 'session.json'}"
    )


if __name__ == "__main__":
    sys.exit(main())
