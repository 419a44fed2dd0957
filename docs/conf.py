# SPDX-License-Identifier: Apache-2.0
"""Sphinx: the pages of this folder, the Python API from docstrings, the C API from fst3fs.h, also as fst3fs(3)."""

import os

import fastsafetensor_3fs_reader

project = "fastsafetensor-3fs-reader"
author = "its authors"
copyright = "its authors, Apache-2.0"
release = version = fastsafetensor_3fs_reader.__version__

extensions = ["sphinx.ext.autodoc", "breathe", "myst_parser"]
exclude_patterns = ["man", "schemas"]
html_theme = "furo"
html_title = f"{project} {release}"
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the tree, which are no pages

autodoc_mock_imports = ["fastsafetensors", "numpy", "torch"]
autodoc_member_order = "bysource"

breathe_projects = {"fst3fs": os.environ["FST3FS_DOXYGEN_XML"]}  # hack/docs.py
breathe_default_project = "fst3fs"
breathe_domain_by_extension = {"h": "c"}

man_pages = [("api/c", "fst3fs", "bytes of files on 3FS into host or GPU memory, at the speed of the link", author, 3)]
