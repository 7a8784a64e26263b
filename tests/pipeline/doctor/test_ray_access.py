"""The reason why a cluster refuses a connection is found within seconds, on a real one with a token."""

import socket
import time
from collections.abc import Iterator

import pytest

from pipeline.doctor.ray_access import explain, try_to_connect
from tests.ray_head import head_with_token


@pytest.fixture(scope="module")
def head() -> Iterator[tuple[str, str]]:
    with head_with_token() as address_and_token:
        yield address_and_token


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "message", "remedy"),
    [
        ({}, "wants a token and got none", "export RAY_AUTH_MODE=token and provide the token"),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 48},
            "refuses the token",
            "provide the token that `ray start` ran with, in ~/.ray/auth_token",
        ),
        ({"RAY_AUTH_MODE": "token"}, "wants a token (RAY_AUTH_MODE=token) and none is set here", "provide"),
    ],
)
def test_a_missing_or_wrong_token_is_named_and_not_shown(
    head: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
    environment: dict[str, str],
    message: str,
    remedy: str,
) -> None:
    for name, value in {"HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    start = time.monotonic()
    finding = try_to_connect(head[0])
    assert time.monotonic() - start < 15  # ray.init alone takes 20 seconds to say less
    assert finding is not None
    assert finding.message == f"at {head[0]} {message}"
    assert finding.remedy.startswith(remedy)
    assert "0" * 48 not in str(finding)


@pytest.mark.slow
def test_the_right_token_connects(head: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", head[1])
    assert try_to_connect(head[0]) is None


def test_a_cluster_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = try_to_connect(f"127.0.0.1:{silent.getsockname()[1]}", seconds=0.5)
    assert finding is not None
    assert finding.message.endswith("gives no answer in 0.5 s")


def test_an_error_of_ray_is_quoted_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys; print('INFO connecting'); sys.exit('FAILED Version mismatch:\\n  Ray: 2.59.0')"
    monkeypatch.setattr("pipeline.doctor.ray_access.CONNECT", script)
    finding = try_to_connect("10.0.0.1:6379")
    assert finding is not None
    assert finding.message == "at 10.0.0.1:6379 cannot be reached (Version mismatch: Ray: 2.59.0)"


@pytest.mark.parametrize(
    ("output", "message"),
    [  # as Ray 2.60 writes them
        ("rpc_client.h:153: Failed to connect to GCS at address 10.0.0.1:6379 within", "does not answer"),
        ("no authentication token was found", "wants a token"),
        ("InvalidAuthToken", "got none"),
        ("INFO worker.py:1 -- Connecting to existing Ray cluster at address: 10.0.0.1", None),
    ],
)
def test_sentences_of_rays_log_are_explained(output: str, message: str | None) -> None:
    finding = explain(output, "10.0.0.1", {})
    assert (message is None) == (finding is None)
    assert finding is None or str(message) in finding.message
