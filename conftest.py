"""For pytest over tests and notebooks alike: no network for the kernels that nbval starts, one thread a process."""

import os
from pathlib import Path

OFFLINE = str(Path(__file__).parent / "tests" / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
os.environ.setdefault("OMP_NUM_THREADS", "1")       # pytest runs two processes side by side
os.environ["COMPANION_PROGRESS"] = "0"              # a line of progress would end up in outputs
