"""Facts about the project as a whole: what may import what, what is pinned, what is in the tree."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tumorscope import _version

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "tumorscope"

# The house (docs/dev/architecture.md): a module imports, when it is itself imported, only from what stands above it.
HOUSE = [
    "errors", "_version", "scan", "registry", "io", "imaging", "datasets", "evaluation", "inference", "audit", "report",
    "annotation", "models", "training", "client", "server", "cli", "__main__", "__init__",
]  # fmt: skip
LIGHT = [layer for layer in HOUSE if layer not in ("models", "training")]
TRAIN_LIBRARIES = {
    "torch", "torchvision", "timm", "segmentation_models_pytorch", "monai", "lightning", "pytorch_lightning",
    "transformers", "optuna", "onnxscript",
}  # fmt: skip
SLOW_TO_IMPORT = {
    "numpy", "scipy", "cv2", "PIL", "skimage", "sklearn", "onnxruntime", "polars", "matplotlib", "nibabel", "pydicom",
}  # fmt: skip

TREES = ("src", "tests", "docs", "benchmarks", "tools", "web", ".ci")
SKIPPED = {"node_modules", "__pycache__", "dist", "site", ".hypothesis"}
MEGABYTE = 2**20
SIZE_LIMITS = {  # every other file: 2 MB; both halves of the engine click together: 8 MB
    "src/tumorscope/weights/scout.onnx": 14 * MEGABYTE,
    "src/tumorscope/weights/click-embedder.onnx": 6 * MEGABYTE,
}


def module_level_imports(path: Path) -> Iterator[str]:
    """Dotted names imported when the file is imported: not those in functions, nor under TYPE_CHECKING."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    package = ["tumorscope", *path.relative_to(PACKAGE).parent.parts]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)
        else:
            pending.extend(ast.iter_child_nodes(node))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def sources(*layers: str) -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if layer_of(path) in layers)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for tree in TREES:
        for folder, folders, names in os.walk(ROOT / tree):
            folders[:] = [name for name in folders if name not in SKIPPED]
            yield from (Path(folder, name) for name in names)


def test_every_source_file_has_a_place_in_the_house() -> None:
    strangers = {layer_of(path) for path in PACKAGE.rglob("*.py")} - set(HOUSE)
    assert not strangers, "name it in docs/dev/architecture.md and in HOUSE"


def test_imports_are_found_where_they_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    path = tmp_path / "io" / "x.py"
    path.parent.mkdir()
    path.write_text(
        "from __future__ import annotations\nimport torch.nn as nn\n"
        "from ..training import engine\nfrom . import raster\n"
        "if TYPE_CHECKING:\n    import hidden_a\ntry:\n    import monai\nexcept ImportError:\n    pass\n"
        "def f():\n    import hidden_b\nclass C:\n    import timm\n"
    )
    assert set(module_level_imports(path)) - {"__future__.annotations"} == {
        "torch.nn", "tumorscope.training.engine", "tumorscope.io.raster", "monai", "timm",
    }  # fmt: skip


@pytest.mark.parametrize("path", sources(*LIGHT), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_light_layers_do_not_import_torch(path: Path) -> None:
    heavy = [name for name in module_level_imports(path) if name.partition(".")[0] in TRAIN_LIBRARIES]
    assert not heavy, "import it inside the function that needs it; the light install has no torch"


@pytest.mark.parametrize(
    "path", sources("cli", "__init__", "__main__"), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_command_line_imports_nothing_slow(path: Path) -> None:
    slow = [name for name in module_level_imports(path) if name.partition(".")[0] in SLOW_TO_IMPORT]
    assert not slow, "import it inside the command; --help has to answer at once"


@pytest.mark.parametrize("path", sources(*HOUSE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_import_only_from_above(path: Path) -> None:
    here = HOUSE.index(layer_of(path))
    below = [
        name
        for name in module_level_imports(path)
        if name.startswith("tumorscope.") and name.split(".")[1] in HOUSE and HOUSE.index(name.split(".")[1]) > here
    ]
    assert not below, "data walks down the list once (docs/dev/architecture.md)"


def test_command_line_starts_without_slow_libraries() -> None:
    code = f"import sys, tumorscope.cli; print(*sorted(({SLOW_TO_IMPORT!r} | {TRAIN_LIBRARIES!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_command_tells_its_version() -> None:
    command = Path(sys.executable).with_name("tumorscope")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert _version.__version__ in done.stdout
    assert done.stderr == ""


def test_version_stands_in_changelog_and_citation() -> None:
    version = _version.__version__
    assert re.search(rf"^## .*{re.escape(version)}", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)


def test_constraints_pin_exactly_and_name_no_registry() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    loose = [line for line in pins() if not re.match(r"[a-z0-9._-]+==[^=*\s]+( ;.*)?$", line)]
    assert not loose


def test_constraints_pin_every_dependency() -> None:
    pinned = {line.split("==")[0] for line in pins()}
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *(entry for extra in extras.values() for entry in extra), "uv", "hatchling"]
    names = {re.split(r"[\[<>=!~;\s]", entry)[0].lower().replace("_", "-") for entry in wanted} - {"tumorscope"}
    assert names - pinned == set(), "run: make constraints"


def test_no_registry_is_named_in_the_build() -> None:
    for name in ("Makefile", "pyproject.toml", "tools/uv.py", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"pypi\.org|pythonhosted|--(extra-)?index-url|--find-links", text), name


def test_no_copyleft_in_the_light_install() -> None:
    """Declared licences of everything that ``pip install tumorscope`` brings."""
    pending, seen = {"tumorscope"}, set[str]()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on another platform or Python only
        short = [text for text in found.metadata.get_all("License") or [] if len(text) < 100]
        classifiers = [text for text in found.metadata.get_all("Classifier") or [] if text.startswith("License")]
        declared = [*(found.metadata.get_all("License-Expression") or []), *short, *classifiers]
        assert not re.search(r"GPL|General Public", " ".join(declared)), name
        needed = [entry for entry in found.requires or [] if "extra ==" not in entry]
        pending |= {re.split(r"[\[<>=!~;\s(]", entry)[0] for entry in needed}
    assert {"numpy", "onnxruntime", "pydicom"} <= seen


def test_no_big_files() -> None:
    limits = {path: SIZE_LIMITS.get(path.relative_to(ROOT).as_posix(), 2 * MEGABYTE) for path in files()}
    assert len(limits) > 20
    assert [str(path) for path, limit in limits.items() if path.stat().st_size > limit] == []


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            inside = "://" not in target and not target.startswith(("#", "mailto:"))
            if inside and not (page.parent / target.partition("#")[0]).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert pages
    assert broken == []
