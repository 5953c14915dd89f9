"""Settings of the documentation."""

from flask_bgtask.__about__ import __version__

project = "Flask-BgTask"
author = "the Flask-BgTask authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "pallets_sphinx_themes"]
exclude_patterns = ["_build"]
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
toc_object_entries = False
python_use_unqualified_type_names = True

html_theme = "flask"
html_static_path = ["_static"]
html_show_sourcelink = False
html_title = f"Flask-BgTask {version}"
html_sidebars = {
    "404": [],  # it has no place in the table of contents, which fails for it
    "index": ["searchbox.html", "globaltoc.html"],
    "**": ["searchbox.html", "localtoc.html", "globaltoc.html"],
}
