"""`push_to_hub` is transformers' own: what reaches a server that speaks the Hub's protocol is the model."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from camtl import CaMtlModel
from tests.toy import make_model

ROOT = Path(__file__).parents[2]
PUSH = """
import sys
from camtl import CaMtlModel
print(CaMtlModel.from_pretrained(sys.argv[1]).push_to_hub("someone/model", token="hf_test"))
"""


class Hub(ThreadingHTTPServer):
    """Takes what is pushed: small files come with the commit, large ones by themselves, named by their hash."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.blobs: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}


class Answers(BaseHTTPRequestHandler):
    """The few answers that a push needs."""

    server: Hub

    def answer(self) -> None:
        body = self._body()
        path = self.path.split("?")[0]
        found: dict[str, Any] | None = None
        if path == "/api/repos/create":
            found = {"url": f"{self.server.url}/someone/model"}
        elif path == "/api/validate-yaml":
            found = {"errors": [], "warnings": []}
        elif path.startswith("/api/models/") and "/preupload/" in path:
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in files}
            listed = [
                {"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()
            ]
            found = {"files": listed}
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            uploads = [{"upload": {"href": f"{self.server.url}/blob/{entry['oid']}"}} for entry in objects]
            listed = [entry | {"actions": action} for entry, action in zip(objects, uploads, strict=True)]
            found = {"transfer": "basic", "objects": listed}
        elif path.startswith("/blob/"):
            self.server.blobs[path.removeprefix("/blob/")] = body
            found = {}
        elif "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.server.files[value["path"]] = self.server.blobs[value["oid"]]
            found = {"commitUrl": f"{self.server.url}/someone/model/commit/{'0' * 40}", "commitOid": "0" * 40}
        elif path.startswith("/api/models/"):
            found = {"id": "someone/model", "sha": "0" * 40, "siblings": []}
        self._send(404 if found is None else 200, found or {})

    do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not told."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_is_pushed_is_the_model(hub: Hub, tmp_path: Path) -> None:
    model = make_model("large")
    model.save_pretrained(tmp_path / "saved")
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(tmp_path / "saved")],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"config.json", "model.safetensors"} <= set(hub.files)
    (tmp_path / "pushed").mkdir()
    for name, content in hub.files.items():
        (tmp_path / "pushed" / name).write_bytes(content)
    pushed = CaMtlModel.from_pretrained(tmp_path / "pushed").state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(pushed[name], value), name
