"""Where data and results lie."""

import os
from pathlib import Path


def data() -> Path:
    """The data folder: ``COMPANION_DATA`` where set, else ``data/`` of the repository, else ``~/.cache/companion``.

    The repository's folder is found beside the package, so it serves a clone; an installed wheel uses the cache folder
    of the user. The folder need not exist yet.
    """
    if chosen := os.environ.get("COMPANION_DATA"):
        return Path(chosen).expanduser()
    repository = Path(__file__).resolve().parents[1]
    if (repository / "data" / "README.md").is_file() and (repository / "pyproject.toml").is_file():
        return repository / "data"
    return Path.home() / ".cache" / "companion"
