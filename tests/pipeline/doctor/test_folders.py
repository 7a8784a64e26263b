"""Folders are tried by writing to them, from the driver and from nodes; no file is left behind."""

from pathlib import Path

import pytest

from pipeline.doctor import folders
from pipeline.doctor.finding import Finding
from pipeline.doctor.folders import RunFolder, check_folders, folder_problem, probed_folders, write_probe
from tests.faults.servers import CREDENTIALS, S3Server
from tests.faults.stored import files_with
from tests.pipeline.small_run import make_settings


def test_writable_folders_with_room_pass_and_keep_their_content(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    settings = make_settings(tmp_path, "x", cluster={"storage_path": str(tmp_path / "deep" / "storage")})
    with probed_folders(settings) as probed:
        findings, too_large = check_folders(probed, {}, 1), check_folders(probed, {}, 10**18)
    assert [finding.ok for finding in findings] == [True] * 3
    assert "checkpoints take" in findings[1].message
    assert [finding.ok for finding in too_large] == [True, False, True]
    assert "cluster.keep_checkpoints" in too_large[1].remedy
    assert [path.name for path in tmp_path.rglob("*")] == ["prepared"]


@pytest.mark.parametrize(
    ("setting", "folder"),
    [
        ("run.output_dir", "{tmp_path}/file/below"),
        ("run.output_dir", "/proc/nothing/here"),
        ("cluster.storage_path", "nowhere://me:secret@bucket/runs"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named_with_its_setting(
    tmp_path: Path, setting: str, folder: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    folder, (section, name) = folder.format(tmp_path=tmp_path), setting.split(".")
    with probed_folders(make_settings(tmp_path, "x", **{section: {name: folder}})) as probed:
        findings = check_folders(probed, {}, 1)
    [failed] = [finding for finding in findings if not finding.ok]
    assert failed.message.startswith(folder.replace("me:secret", "***") + " cannot be written")
    assert failed.remedy == f"set another {setting}"
    assert "secret" not in str(findings)


def test_a_node_that_sees_another_folder_fails(tmp_path: Path) -> None:
    probe = write_probe(str(tmp_path))
    assert folder_problem(str(tmp_path), probe) == ""
    assert "the driver's file is missing" in folder_problem(str(tmp_path), probe + "x")
    (tmp_path / probe).write_text("other")
    assert "other content" in folder_problem(str(tmp_path), probe)
    folder = RunFolder("data.prepared_dir", str(tmp_path), str(tmp_path), True, probe, "")
    [finding] = check_folders([folder], {"a": {}, "b": {str(tmp_path): "is not there"}}, 0)
    assert finding.ok is False
    assert "seen from node b" in finding.message
    assert "all nodes share" in finding.remedy


def test_a_bucket_is_tried_like_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    bucket = S3Server(tmp_path)

    def check(uri: str) -> Finding:
        with probed_folders(make_settings(tmp_path, "x", cluster={"storage_path": uri})) as probed:
            storage = probed[1]
            problem = folder_problem(storage.existing, storage.probe)
            return check_folders([storage], {"a": {storage.existing: problem}}, 10)[0]

    uri = bucket.uri("runs")
    passed = check(uri)
    assert (passed.ok, passed.message) == (True, f"{uri} can be written, also from 1 node")
    assert files_with("", uri) == []
    absent = check(uri.replace("//bucket/", "//another/"))
    assert (absent.ok, absent.remedy) == (False, "set another cluster.storage_path")
    bucket.stop()
    monkeypatch.setattr(folders, "SECONDS", 2)
    silent = check(uri)
    assert (silent.ok, "cannot be written" in silent.message) == (False, True)
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in f"{passed}{absent}{silent}"
