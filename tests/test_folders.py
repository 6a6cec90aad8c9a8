"""Where data are looked for."""

from pathlib import Path

from companion import folders


def test_the_variable_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    assert folders.data() == tmp_path


def test_a_clone_uses_its_own_folder(monkeypatch):
    monkeypatch.delenv("COMPANION_DATA", raising=False)
    assert folders.data() == Path(__file__).resolve().parents[1] / "data"


def test_an_installed_wheel_uses_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("COMPANION_DATA", raising=False)
    monkeypatch.setattr(folders, "__file__", str(tmp_path / "site-packages" / "companion" / "folders.py"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert folders.data() == tmp_path / ".cache" / "companion"
