"""`python -m tests.faults`: see `tests/faults/run_faults.py`."""

import signal
import sys

from tests.faults.run_faults import main

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends all processes that it started
sys.exit(main(sys.argv[1:]))
