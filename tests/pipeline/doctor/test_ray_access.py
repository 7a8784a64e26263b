"""A cluster that will not have us is told within seconds, and why: on a real one that asks for a token."""

import socket
import time
from collections.abc import Iterator

import pytest

from pipeline.doctor.ray_access import Trouble, trouble_of, try_to_connect
from tests.ray_head import head_with_token


@pytest.fixture(scope="module")
def guarded_ray() -> Iterator[tuple[str, str]]:
    with head_with_token() as found:
        yield found


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def asked(address: str) -> Trouble:
    began = time.monotonic()
    trouble = try_to_connect(address)
    assert time.monotonic() - began < 15  # ray.init alone takes 20 seconds to say less
    assert trouble is not None
    return trouble


def test_a_missing_token_is_told(guarded_ray: tuple[str, str]) -> None:
    trouble = asked(guarded_ray[0])
    assert trouble.told == "asks for a token and got none"
    assert "export RAY_AUTH_MODE=token" in trouble.mend


def test_a_wrong_token_is_told_and_not_shown(
    guarded_ray: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "0" * 48
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", wrong)
    trouble = asked(guarded_ray[0])
    assert trouble.told == "refuses our token"
    assert "~/.ray/auth_token" in trouble.mend
    assert wrong not in str(trouble)


def test_a_token_that_is_not_there_is_told(
    guarded_ray: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert asked(guarded_ray[0]).told == "wants a token (RAY_AUTH_MODE=token) and none is here"


def test_the_right_token_is_let_in(guarded_ray: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    address, token = guarded_ray
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    assert try_to_connect(address) is None


def test_a_cluster_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        trouble = try_to_connect(f"127.0.0.1:{silent.getsockname()[1]}", seconds=0.5)
    assert trouble is not None
    assert trouble.told == "gives no answer in 0.5 s"


@pytest.mark.parametrize(
    ("text", "told"),
    [  # as Ray 2.60 writes them
        (
            "W 1 rpc_client.h:153: Failed to connect to GCS at address 10.0.0.1:6379 within 5 seconds.",
            "does not",
        ),
        ("ConnectionError: Could not find any running Ray instance. Please specify", "does not answer"),
        ("RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.59.0", "Ray: 2.59.0"),
    ],
)
def test_rays_words_are_understood(text: str, told: str) -> None:
    trouble = trouble_of(text, {})
    assert trouble is not None
    assert told in trouble.told


def test_what_ray_says_while_all_is_well_is_no_trouble() -> None:
    assert (
        trouble_of("INFO worker.py:1 -- Connecting to existing Ray cluster at address: 10.0.0.1", {}) is None
    )
