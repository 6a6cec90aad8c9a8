"""The rules that keep the package simple: arrows, size, docstrings, cost of importing."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "companion"
MODULES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(m.relative_to(ROOT)) for m in MODULES]

# Which modules of the package a module may import, as regular expressions. What is not listed imports none.
ARROWS = {
    r"train": r".*",
    r"studies\..*": r"(?!train|plotting).*",
    r"models": r"models\..*",
    r"models\.(?!blocks).*": r"models\.blocks",
    r"doctor": r"folders|hardware",
    r"engine": r"checkpoints|checks|distributed|hardware|progress|resume",
    r"checks": r"distributed|hardware",
    r"resume": r"checkpoints|checks|distributed",
    r"datasets\.batches": r"distributed",
    r"datasets\.(dicom.*|nifti)": r"datasets\.(volume|dicom_.*)",
    r"datasets\.grid": r"datasets\.(cases|volume)",
    r"datasets\.(medmnist|folder|splits|augment)": r"folders|datasets\.(cases|folder_table)",
    r"datasets\.reports.*": r"datasets\.(reports.*|cases)",
    r"datasets\.phantoms\..*": r"ct|mri|datasets\.(cases|phantoms\..*)",
    r"plotting\.(?!style).*": r"plotting\..*",
    r"claims": r"plotting\.strip",
    r"radiomics": r"datasets\.cases",
}
LIMIT = 300


def name(path: Path) -> str:
    """``models.blocks`` for companion/models/blocks.py."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Every module that the file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: write imports in full, not relative"
            found |= {node.module} if not submodules(node) else submodules(node)
    return found


def submodules(node: ast.ImportFrom) -> set[str]:
    names = {f"{node.module}.{alias.name}" for alias in node.names}
    return {n for n in names if (ROOT / n.replace(".", "/")).with_suffix(".py").exists()
            or (ROOT / n.replace(".", "/") / "__init__.py").exists()}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_arrows_point_one_way(path):
    ours = {i.removeprefix("companion.") for i in imported(path) if i.startswith("companion.")}
    allowed = [target for source, target in ARROWS.items() if re.fullmatch(source, name(path))]
    for target in ours:
        assert any(re.fullmatch(a, target) for a in allowed), f"{name(path)} must not import companion.{target}"


def test_no_two_modules_import_each_other():
    graph = {name(p): {i.removeprefix("companion.") for i in imported(p) if "companion." in i} for p in MODULES}
    closed = []

    def visit(module, trail):
        if module in trail:
            closed.append(" -> ".join([*trail, module]))
        else:
            for target in graph.get(module, ()):
                visit(target, [*trail, module])

    for module in graph:
        visit(module, [])
    assert not closed


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_only_plotting_imports_matplotlib(path):
    if not name(path).startswith("plotting"):
        assert not {i for i in imported(path) if i.split(".")[0] == "matplotlib"}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_modules_stay_small(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LIMIT, f"{lines} lines: split it by idea"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_public_names_have_docstrings(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has none"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_") and is_public(node, tree):
            assert ast.get_docstring(node), f"{node.name} has none"


def is_public(node, tree) -> bool:
    """At the top of the module, or a member of a public class there."""
    tops = [tree, *(c for c in tree.body if isinstance(c, ast.ClassDef) and not c.name.startswith("_"))]
    return any(node in top.body for top in tops)


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_no_hidden_device_or_shelf_for_odds_and_ends(path):
    code = path.read_text(encoding="utf-8")
    assert not re.search(r"\.cuda\(\)|device\s*=\s*[\"']cuda", code)
    assert path.stem not in {"utils", "helpers", "common", "util"}


def test_every_module_has_a_test():
    # test_lung.py tests lung.py and its parts lung_wall.py, lung_tubes.py, ...
    tests = {p.stem.removeprefix("test_") for p in (ROOT / "tests").glob("test_*.py")}
    tested = {m for m in map(name, MODULES) for t in tests
              if any(part == t or part.startswith(f"{t}_") for part in m.split("."))}
    untested = {name(p) for p in MODULES if p.name != "__init__.py"} - tested
    assert not untested


def test_readme_tree_lists_every_module():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [str(p.relative_to(ROOT)) for p in MODULES if p.name != "__init__.py" and not re.search(
        rf"^\s+{re.escape(p.name)}\s", readme, re.MULTILINE)]
    assert not missing


def test_importing_companion_costs_nothing():
    code = "import sys; before = set(sys.modules); import companion; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['companion']" and not done.stderr


def test_importing_any_module_says_and_changes_nothing():
    modules = [f"companion.{name(p)}" for p in MODULES if name(p) not in ("", "__init__")]
    code = ("import importlib, random, torch; before = torch.initial_seed(), random.getstate()\n"
            f"for module in {modules}:\n"
            "    importlib.import_module(module)\n"
            "    assert before == (torch.initial_seed(), random.getstate()), module")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_toc_and_packaging_agree_with_the_tree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["companion*"]
    assert (ROOT / "LICENSE").is_file()
