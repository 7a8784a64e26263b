"""Error texts about MLflow servers, and settings as MLflow parameters, contain no password."""

import pytest

from pipeline.tracking.server import summarize_error
from pipeline.tracking.texts import flatten


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("pool: (Caused by NewConnectionError('[Errno 111] Connection refused'))", "Connection refused"),
        (
            "pool: (Caused by ProtocolError('Connection aborted.', ConnectionResetError(104, 'reset by peer')))",
            "reset by peer",
        ),
        ("pool: Read timed out. (read timeout=4)", "no answer in time"),
        ("no user\nname p@ss at http://me:p%40ss@host", "no user"),
        ("login me:p@ss at http://me:p%40ss@host failed", "login me:*** at http://***@host failed"),
    ],
)
def test_causes_are_short_and_hide_the_password(text: str, cause: str) -> None:
    assert summarize_error(OSError(text), "http://me:p%40ss@host") == cause


def test_a_password_in_a_uri_is_not_logged() -> None:
    flat = flatten({"run": {"tracking_uri": "https://me:secret@host/mlflow", "other": ["http://a:b@c"]}})
    assert flat == {"run.tracking_uri": "https://***@host/mlflow", "run.other": '["http://***@c"]'}
