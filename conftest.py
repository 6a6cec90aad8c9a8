"""For pytest over tests and notebooks alike: the kernels that nbval starts run without a network."""

import os
from pathlib import Path

OFFLINE = str(Path(__file__).parent / "tests" / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
