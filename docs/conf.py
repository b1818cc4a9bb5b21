"""Sphinx: the pages of docs/ and a reference made from the docstrings, as static HTML that needs no network."""

from __future__ import annotations

import importlib.util

from tumorscope import _version

project = "tumorscope"
author = "The tumorscope developers"
copyright = f"2026, {author}"
version = release = _version.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["figures", "images"]

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
