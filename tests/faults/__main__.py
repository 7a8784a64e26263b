"""`python -m tests.faults`: see `tests/faults/run_faults.py`."""

import sys

from tests.faults.run_faults import main

sys.exit(main(sys.argv[1:]))
