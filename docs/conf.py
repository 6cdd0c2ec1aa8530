"""Sphinx configuration."""

from __future__ import annotations

import inspect
import os
import re
import sys
import warnings
from pathlib import Path

# Quoting old tables and drawing the landing page need these two folders.
DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "benchmarks")]

import landing_page  # noqa: E402
import measured  # noqa: E402
import publish  # noqa: E402
import sk_rqvae  # noqa: E402

project = "sk_rqvae"
author = "The sk_rqvae developers"
copyright = "2026, the sk_rqvae developers"
release = sk_rqvae.__version__
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "executed_page",
    "numpydoc",
    "quoted_table",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
    "sphinxext.opengraph",
]
exclude_patterns = [
    "_build",
    "auto_examples/**/*.ipynb",
    "auto_examples/**/*.py",
    "auto_examples/**/GALLERY_HEADER.rst",
]
templates_path = ["_templates"]
default_role = "literal"
language = "en"

# Every reference has to lead somewhere. Those into other projects' documentation lead
# there where intersphinx is on, below.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(enum|joblib|matplotlib|numpy|pandas|sklearn|skorch|torch)\..*"),
    # Attributes that are properties are documented with their class, on one page.
    (r"py:obj", r"[a-z_]+_|nbytes"),
]

# Links into other projects' documentation need the network at build time, and a build
# that turns warnings into errors fails without it: they are made where asked for.
if os.environ.get("DOCS_LINK_OTHER_PROJECTS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
    intersphinx_timeout = 20

# Estimators in the gallery, whose pages are two folders deep, link to their own pages.
os.environ["SK_RQVAE_DOCS_URL"] = "../.."

# API reference
autosummary_generate = True
autosummary_imported_members = False


def methods_of_ours(cls):
    """Names of the methods that a class has from this package, private bases included.

    Those that scikit-learn adds for metadata routing are omitted.
    """
    return [
        name
        for name, _ in inspect.getmembers(cls, inspect.isroutine)
        if not name.startswith("_") and not name.endswith("_request")
        if next(
            base for base in cls.__mro__ if name in vars(base)
        ).__module__.startswith("sk_rqvae.")
    ]


autosummary_context = {
    "methods_of_ours": {
        name: methods_of_ours(getattr(sk_rqvae, name))
        for name in sk_rqvae.__all__
        if inspect.isclass(getattr(sk_rqvae, name))
    }
}
autodoc_typehints = "none"  # numpydoc's sections have the types
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
numpydoc_validation_checks = {
    "GL01",  # summary starts on the line after the quotes
    "GL02",
    "GL03",  # blank lines
    "GL06",  # unknown section
    "GL07",  # order of sections
    "GL08",  # no docstring
    "PR01",  # parameters not documented
    "PR02",  # unknown parameters
    "PR03",  # order of parameters
    "PR10",  # space before the colon
    "SS01",  # no summary
    "SS03",  # summary without a full stop
    "SS06",  # summary longer than a line
}
# The parameters of an enumeration are `enum`'s own; those of a named tuple and of a
# data class are the attributes that its docstring has; of the module, one method is
# made to be overridden.
numpydoc_validation_exclude = {
    r"\.QuantizeForwardMode$",
    r"\.RQVAEOutput$",
    r"\.SemanticIDReport$",
    r"\.GeneratedIDScores$",
    r"\.[gs]et_params$",
    r"\.RQVAEModule\.(?!compute_loss$)",
}

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "subsection_order": "gallery_order.section",
    "within_subsection_order": "gallery_order.position",
    # What a cell shows, it prints: values as they are in memory say little.
    "capture_repr": ("_repr_html_",),
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sk_rqvae",),
    "reference_url": {"sk_rqvae": None},
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "image_scrapers": ("matplotlib",),
    "image_srcset": ["2x"],
}

# Pages in Markdown; the changelog and the contributor's page live at the root
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}

# Examples are copied without their prompts and output.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# `sphinx-build -b linkcheck` asks the network for every link that leaves the site.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False

# Look
html_theme = "pydata_sphinx_theme"
html_title = f"sk_rqvae {version}"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_copy_source = False
LANDING = DOCS / "generated" / "landing"
LANDING.mkdir(parents=True, exist_ok=True)
html_static_path = ["_static", str(LANDING)]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "sk_rqvae", "alt_text": "sk_rqvae"},
    "header_links_before_dropdown": 6,
    "show_nav_level": 2,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_align": "left",
    # A site that is built elsewhere has no other versions beside it.
    "navbar_end": ["this-version", "theme-switcher", "navbar-icon-links"],
    "footer_start": ["copyright"],
    "footer_end": [],
    # A table of all methods needs the whole width.
    "secondary_sidebar_items": {"**": ["page-toc"], "benchmarks": []},
}
html_sidebars = {"index": []}  # it has no section in which to be listed

# Where the workflow that publishes the site says which repository it is of, pages link
# to it and to other versions, and cards of links to pages have a picture.
repository = os.environ.get("GITHUB_REPOSITORY")
if repository:
    folder = publish.folder_of(os.environ)
    html_baseurl = f"{publish.address_of(repository)}{folder}/"
    html_theme_options |= {
        "icon_links": [
            {
                "name": "Repository",
                "url": f"https://github.com/{repository}",
                "icon": "fa-brands fa-github",
            }
        ],
        "navbar_end": ["version-switcher", "theme-switcher", "navbar-icon-links"],
        # The list lies beside the folders of all versions, and the build does not read
        # it: it may not be published yet, and there may be no network.
        "switcher": {"json_url": "../switcher.json", "version_match": folder},
        "check_switcher": False,
        "show_version_warning_banner": True,
    }

# Descriptions for search engines and for cards of links
ogp_site_url = html_baseurl if repository else ""
ogp_site_name = "sk_rqvae"
ogp_social_cards = {"enable": False}
ogp_enable_meta_description = True


def make_landing_page(app):
    """Draw the picture and the explorer of the landing page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        landing_page.make(LANDING, measured.recipe("model"))


def link_to_gallery(app, docname, source):
    """Link to the pages of examples where a source links to the examples.

    Sources link to what is in the repository, so that links also work where it is shown
    without being built.
    """
    text = source[0].replace("](../examples)", "](auto_examples/index.rst)")
    source[0] = re.sub(
        r"\]\(\.\./examples/([\w/]+)\.py\)", r"](auto_examples/\1.rst)", text
    )


def name_classes(app, what, name, obj, options, signature, annotation):
    """Show a class that is a default value by its name, not as it is in memory."""
    if signature and "<class" in signature:
        return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature), annotation
    return None


def setup(app):
    app.connect("builder-inited", make_landing_page)
    app.connect("source-read", link_to_gallery)
    app.connect("autodoc-process-signature", name_classes)
