"""Events of a run in words, such as lost workers, repeated steps and damaged checkpoints: `events.jsonl`.

One process at a time, on the driver's node, appends a line per event; the driver shows new lines as they appear.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

EVENTS = "events.jsonl"


def log_event(run_dir: str | Path, text: str) -> None:
    """Appends an event; prints it where the file cannot be written, so that the run continues."""
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), "text": text})
    try:
        with (Path(run_dir) / EVENTS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        print(f"{text} ({EVENTS} cannot be written: {error.strerror})", flush=True)


def read_events(run_dir: str | Path) -> list[str]:
    """The texts of all events in order, without a last line that is still being written."""
    path = Path(run_dir) / EVENTS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line)["text"] for line in lines if line.endswith("\n")]
