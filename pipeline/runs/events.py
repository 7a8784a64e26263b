"""What happened to a run beside its training, in words: `events.jsonl` in the run directory.

Workers lost, steps done again, checkpoints passed over. Written on the driver's node, by one process at a
time, a line each; the driver shows new lines as they come.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

EVENTS = "events.jsonl"


def log_event(run_dir: str | Path, text: str) -> None:
    """Add a line."""
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), "text": text})
    try:
        with (Path(run_dir) / EVENTS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:  # a run does not end because this cannot be written
        print(f"{text} ({EVENTS} cannot be written: {error.strerror})", flush=True)


def read_events(run_dir: str | Path) -> list[str]:
    """All lines' texts in order; a last one that is just being written is left for later."""
    path = Path(run_dir) / EVENTS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line)["text"] for line in lines if line.endswith("\n")]
