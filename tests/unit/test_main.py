"""``python -m pytest_nbgroups``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from report_samples import result

from pytest_nbgroups.__main__ import main
from pytest_nbgroups.core.errors import HistoryError
from pytest_nbgroups.core.settings import Shard
from pytest_nbgroups.history import merge_databases as history
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.store import Session, open_history
from pytest_nbgroups.reports.record import SessionRecord
from pytest_nbgroups.reports.session_file import SessionMetadata, session_dict
from pytest_nbgroups.scheduling.sharding import shard_record


def shard(folder: Path, index: int, *, count: int = 2) -> str:
    """Write the record of a shard to which no experiment fell; give its folder."""
    metadata = SessionMetadata(
        id=f"session-{index}",
        pytest_version="9.2.0",
        plugin_version="1.0",
        python_version="3.11.7",
        argv=(),
        rootdir=folder,
        started_at=1000.0,
        shard=shard_record(Shard(index=index, count=count), {}),
    )
    target = folder / f"shard-{index}"
    target.mkdir()
    (target / "session.json").write_text(json.dumps(session_dict(SessionRecord(), metadata)))
    return str(target)


@pytest.fixture
def histories(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[Path]]]:
    """What was asked of the history: the target, and the sources."""
    asked: list[tuple[Path, list[Path]]] = []

    def merge_histories(target: Path, sources: Sequence[Path]) -> None:
        asked.append((target, list(sources)))

    monkeypatch.setattr(history, "merge_histories", merge_histories)
    return asked


def test_merge(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    histories: list[Any],
) -> None:
    """The joined record goes to .experiments, by its name and as the newest."""
    monkeypatch.chdir(tmp_path)
    assert main(["merge", shard(tmp_path, 1), shard(tmp_path, 2)]) == 0
    written = tmp_path / ".experiments" / "session.json"
    content = json.loads(written.read_text())
    assert [each["id"] for each in content["shards"]] == ["session-1", "session-2"]
    named = written.parent / "sessions" / f"{content['id']}.json"
    assert named.read_text() == written.read_text()
    shown = Path(".experiments", "session.json")
    assert capsys.readouterr().out == f"2 shards, 0 experiments: {shown}\n"
    assert histories == [], "there was none"


def test_histories_are_merged(tmp_path: Path, histories: list[Any]) -> None:
    """Those that there are; the one in the output folder holds its own already."""
    folders = [shard(tmp_path, index, count=3) for index in (1, 2, 3)]
    for index in (1, 3):
        (tmp_path / f"shard-{index}" / "history.sqlite").touch()
    assert main(["merge", *folders, "--output", str(tmp_path / "out")]) == 0
    sources = [tmp_path / f"shard-{index}" / "history.sqlite" for index in (1, 3)]
    assert histories == [(tmp_path / "out" / "history.sqlite", sources)]
    histories.clear()
    assert main(["merge", *folders, "--output", folders[0]]) == 0
    assert histories == [(sources[0], sources[1:])]


def test_what_shards_have_learnt_is_merged(tmp_path: Path) -> None:
    """The whole way, with real histories: the next session knows the experiments of all shards."""
    machine = Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=2**35)
    folders = [shard(tmp_path, index) for index in (1, 2)]
    for folder, name in zip(folders, ("Heart", "Lung"), strict=True):
        session = Session(
            id=name, started_at=1.0, machine=machine, plugin_version="1", python_version="3.11"
        )
        with open_history(Path(folder), session) as written:
            written.record_experiment(result("passed", name=name), nodeid=name)
    out = tmp_path / "out"
    assert main(["merge", *folders, "--output", str(out)]) == 0
    with open_history(out, session) as merged:
        assert set(merged.estimates(machine.kind)) == {"Heart", "Lung"}


def test_a_history_that_cannot_be_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is written, and the message is the history's own."""

    def merge_histories(target: Path, _sources: Sequence[Path]) -> None:
        raise HistoryError(f"{target}: is damaged")

    monkeypatch.setattr(history, "merge_histories", merge_histories)
    folder, out = shard(tmp_path, 1, count=1), tmp_path / "out"
    Path(folder, "history.sqlite").touch()
    assert main(["merge", folder, "--output", str(out)]) == 1
    assert capsys.readouterr().err == f"{out / 'history.sqlite'}: is damaged\n"
    assert not out.exists()


def test_a_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, the reason on stderr, and nothing is written."""
    out = tmp_path / "out"
    assert main(["merge", shard(tmp_path, 1), "--output", str(out)]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("shard 2/2 is missing among ")
    assert (told.out, out.exists()) == ("", False)


def test_an_output_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that is not there is no warning here."""
    (tmp_path / "out").touch()
    folder = shard(tmp_path, 1, count=1)
    assert main(["merge", folder, "--output", str(tmp_path / "out")]) == 1
    assert "the session record could not be written" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["merge"], ["join"], ["merge", "a", "--into", "b"]])
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, as with every program."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m pytest_nbgroups")


def test_help_of_merge(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it joins, when it fails, and where it writes to."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as raised:
        main(["merge", "--help"])
    assert raised.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "usage: python -m pytest_nbgroups merge [-h] [--output DIR] DIR [DIR ...]" in told
    assert "Join the records of the shards of one run: session.json and, if there is one" in told
    assert "artifacts folder of a shard, with its session.json; all shards of the run" in told
    assert "artifacts folder to write to (default: .experiments)" in told
