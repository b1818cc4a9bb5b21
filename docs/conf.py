"""Sphinx: the pages of docs/ and a reference made from the docstrings, as static HTML that needs no network."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from tumorscope import _version

project = "tumorscope"
author = "The tumorscope developers"
copyright = f"2026, {author}"
version = release = _version.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["figures", "images", "_templates"]
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"tumorscope {release}"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
myst_links_external_new_tab = False

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the NumPy docstrings, with shapes
napoleon_google_docstring = False
napoleon_use_rtype = False

# The reference is also built where the training libraries are absent.
_HEAVY = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "monai", "lightning", "transformers", "optuna")
autodoc_mock_imports = [name for name in _HEAVY if importlib.util.find_spec(name) is None]

suppress_warnings = ["ref.footnote", "ref.python"]  # references that stand below a text; names that live twice


def _one_page(_app: Any, _what: str, name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Make a docstring fit on one page with others: reference [1] becomes its own, |x| stays an absolute value."""
    label = re.sub(r"\W+", "-", name)
    for index, line in enumerate(lines):
        line = re.sub(r"^(\s*\.\. )\[(\d+)\]", rf"\1[#{label}-\2]", line)
        line = re.sub(r"\[(\d+)\]_", rf"[#{label}-\1]_", line)
        lines[index] = line if ">>>" in line or "``" in line else re.sub(r"\|(\w+)\|", r"\|\1\|", line)


def setup(app: Any) -> None:
    """Register the hook; Sphinx calls this."""
    app.connect("autodoc-process-docstring", _one_page)
