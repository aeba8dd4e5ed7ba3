"""How Sphinx makes a site of these pages: `make docs`."""

import cfrsam_d2  # (first: it may stand in for Detectron2)

project = "cfrsam_d2"
author = "The cfrsam_d2 developers"
version = release = cfrsam_d2.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# The root of the repository is the source: links lead to the same files as where it is browsed.
include_patterns = [
    *("docs/*.md", "docs/*.ipynb", "*.md"),
    *("benchmarks/README.md", "datasets/README.md"),
]
root_doc = "docs/index"
html_theme = "furo"
html_title = f"cfrsam_d2 {version}"
myst_heading_anchors = 3
# The tutorial is run anew, and an error in it is one of the site.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove"
myst_enable_extensions = ["colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
