"""Folders are tried by writing to them, from the driver and from nodes; nothing is left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileType

from pipeline.doctor import places
from pipeline.doctor.finding import Finding
from pipeline.doctor.node import NodeReport, leave_mark, problem_with
from pipeline.doctor.places import Place, check_places, checkpoint_bytes, marked
from pipeline.runs.checkpoints.storage import open_filesystem
from tests.faults.servers import CREDENTIALS, S3Server
from tests.pipeline.small_run import make_settings


def report(**folders: str) -> NodeReport:
    return NodeReport({}, None, (), folders)


def test_folders_that_can_be_written_are_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    settings = make_settings(tmp_path, "x", cluster={"storage_path": str(tmp_path / "deep" / "storage")})
    with marked(settings) as found:
        findings = check_places(found, {"a": NodeReport({}, None, (), {})}, 1)
    assert [finding.ok for finding in findings] == [True, True, True]
    assert [finding.name for finding in findings] == [
        "run.output_dir",
        "cluster.storage_path",
        "data.prepared_dir",
    ]
    assert "checkpoints take" in findings[1].told
    assert [path.name for path in tmp_path.rglob("*")] == ["prepared"]


@pytest.mark.parametrize("where", ["file/below", "/proc/nothing/here"])
def test_a_folder_that_cannot_be_written_is_named_with_the_setting(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = str(tmp_path / where)
    with marked(make_settings(tmp_path, "x", run={"output_dir": folder})) as found:
        findings = check_places(found, {}, 1)
    assert [finding.ok for finding in findings] == [False, True]
    assert folder in findings[0].told
    assert "cannot be written" in findings[0].told
    assert findings[0].mend == "give another run.output_dir"


def test_storage_of_an_unknown_kind_is_told(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "x", cluster={"storage_path": "nowhere://me:secret@bucket/runs"})
    with marked(settings) as found:
        findings = check_places(found, {}, 1)
    assert [finding.ok for finding in findings] == [True, False, True]
    assert "secret" not in str(findings)


def test_a_node_that_sees_another_folder_is_told(tmp_path: Path) -> None:
    mark = leave_mark(str(tmp_path), remove=False)
    assert problem_with(str(tmp_path), mark) == ""
    assert "is not the driver's folder" in problem_with(str(tmp_path), mark + "x")
    place = Place("data.prepared_dir", str(tmp_path), str(tmp_path), True, mark)
    seen = {"a": report(), "b": report(**{str(tmp_path): "is not there"})}
    [finding] = check_places([place], seen, 0)
    assert finding.ok is False
    assert "seen from node b" in finding.told
    assert "all nodes share" in finding.mend


def test_checkpoints_that_would_fill_the_disk_are_told(tmp_path: Path) -> None:
    with marked(make_settings(tmp_path, "x")) as found:
        findings = check_places(found, {}, checkpoint_bytes(10**15, keep=2))
    assert [finding.ok for finding in findings] == [False, True]
    assert "cluster.keep_checkpoints" in findings[0].mend


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "server").mkdir()
    server = S3Server(tmp_path / "server")
    yield server
    server.stop()


def test_a_bucket_is_tried_like_a_folder(
    bucket: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at(path: str) -> Finding:
        with marked(make_settings(tmp_path, "x", cluster={"storage_path": path})) as found:
            [stored] = [place for place in found if place.setting == "cluster.storage_path"]
            seen = {"a": report(**{stored.folder: problem_with(stored.folder, stored.mark)})}
            return check_places([stored], seen, 10)[0]

    uri = bucket.uri("runs")
    well = looked_at(uri)
    assert (well.ok, well.told) == (True, f"{uri} can be written, from 1 node too")
    store, path = open_filesystem(uri)
    left = store.get_file_info(FileSelector(path.partition("/")[0], recursive=True))
    assert not [info for info in left if info.type == FileType.File]
    absent = looked_at(uri.replace("//bucket/", "//another/"))
    assert (absent.ok, absent.mend) == (False, "give another cluster.storage_path")
    bucket.gate.shut()
    monkeypatch.setattr(places, "SECONDS", 2)
    silent = looked_at(uri)
    assert (silent.ok, "cannot be written" in silent.told) == (False, True)
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in f"{well}{absent}{silent}"
