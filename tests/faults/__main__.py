"""`python -m tests.faults`: see `tests/faults/run_faults.py`."""

import os
import signal
import sys

os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # Ray reads it when it is imported

from tests.faults.run_faults import main

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
sys.exit(main(sys.argv[1:]))
