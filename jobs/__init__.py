"""Commands, one thin file each; `cli/` parses settings and prints reports."""

import sys
from pathlib import Path

# Python puts a script's folder first on the path, where evaluate.py would hide the library of that name.
if sys.path and Path(sys.path[0]).absolute() == Path(__file__).parent.absolute():
    sys.path[0] = str(Path(__file__).parents[1])
