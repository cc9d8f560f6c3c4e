"""Sphinx configuration. Needs no network: nothing is fetched for cross-references."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from pytest_nbgroups.core import model, resources

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "pytest-nbgroups"
version = release = version_of("pytest-nbgroups").partition("+")[0]
copyright = "the pytest-nbgroups contributors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "nbgroups_reference"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "any"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_class_signature = "separated"  # the fields below a class say what its signature would
autodoc_default_options = {"undoc-members": True, "exclude-members": "__init__"}
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
# Sphinx would print the bounds in the annotation of each number, twenty digits long.
for module in (model, resources):
    vars(module).update(Amount=float, Count=int, Position=int)
# Annotations name what other projects document, and what is this project's own affair.
nitpick_ignore_regex = [
    (r"py:.*", r"(?:pytest|_pytest|collections|os|pathlib|typing)\..*"),
    (r"py:.*", r"(?:Path|Mapping|Sequence)"),
]

html_theme = "furo"
html_title = project
html_show_copyright = False
