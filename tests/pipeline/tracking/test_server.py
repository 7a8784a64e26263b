"""What a person is told of a server that cannot be used."""

import pytest

from pipeline.tracking.server import reason_of


@pytest.mark.parametrize(
    ("text", "reason"),
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
def test_reasons_are_short_and_hide_the_password(text: str, reason: str) -> None:
    assert reason_of(OSError(text), "http://me:p%40ss@host") == reason
