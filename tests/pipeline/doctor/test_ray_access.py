"""The reason why a cluster refuses a connection is found within seconds, on a real one with a token."""

import time
from pathlib import Path

import pytest

from pipeline.doctor import ray_access
from tests.ray_head import head_with_token

UNSET = "wants a token (RAY_AUTH_MODE=token) and none is set here"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
def test_a_missing_or_wrong_token_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with head_with_token() as (address, token):
        refused = [ray_access.try_to_connect(address)]
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        refused.append(ray_access.try_to_connect(address))
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 48)
        start = time.monotonic()
        refused.append(ray_access.try_to_connect(address))
        assert time.monotonic() - start < 15  # ray.init alone takes 20 seconds to say less
        expected = ["wants a token and got none", UNSET, "refuses the token"]
        assert [each and each.message for each in refused] == [f"at {address} {text}" for text in expected]
        assert all(each and "provide the token that `ray start` ran with" in each.remedy for each in refused)
        assert "0" * 48 not in str(refused)
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        assert ray_access.try_to_connect(address) is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import time; time.sleep(60)", "gives no answer in 0.5 s"),
        (
            "import sys; print('INFO connecting'); sys.exit('FAILED Version mismatch:\\n  Ray: 2.59.0')",
            "cannot be reached (Version mismatch: Ray: 2.59.0)",
        ),
        # Sentences of Ray 2.60's log.
        ("print('rpc_client.h:153: Failed to connect to GCS at address 10.0.0.1:6379')", "does not answer"),
        ("print('no authentication token was found')", UNSET),
        ("print('InvalidAuthToken')", "wants a token and got none"),
        ("print('INFO worker.py:1 -- Connecting to existing Ray cluster at address: 10.0.0.1')", None),
    ],
)
def test_a_failed_connection_is_explained(
    monkeypatch: pytest.MonkeyPatch, script: str, message: str | None
) -> None:
    monkeypatch.setattr(ray_access, "CONNECT", script)
    monkeypatch.setattr(ray_access, "SECONDS", 0.5 if "sleep" in script else 60.0)
    finding = ray_access.try_to_connect("10.0.0.1:6379")
    assert (finding and finding.message) == (message and f"at 10.0.0.1:6379 {message}")
