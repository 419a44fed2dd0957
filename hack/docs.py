# SPDX-License-Identifier: Apache-2.0
"""Builds the documentation. Usage: docs.py FOLDER

FOLDER/html is the site, FOLDER/man the C API as fst3fs(3), with a page that leads there for each function and type.
Doxygen reads include/fst3fs.h, Sphinx makes the pages; a warning is an error.
"""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]


def _doxygen(xml: Path) -> None:
    xml.mkdir(parents=True, exist_ok=True)
    settings = (ROOT / "docs" / "Doxyfile").read_text(encoding="utf-8") + f"OUTPUT_DIRECTORY = {xml.parent}\n"
    subprocess.run(["doxygen", "-"], input=settings, cwd=ROOT, text=True, check=True)


def _sphinx(builder: str, folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        builder,
        "-d",
        folder / "cache" / builder,
    ]
    environment = {**os.environ, "FST3FS_DOXYGEN_XML": str(folder / "doxygen" / "xml")}
    subprocess.run([*command, ROOT / "docs", folder / builder], env=environment, check=True)


def _aliases(xml: Path, man: Path) -> None:
    """So that man fst3fs_open finds it."""
    for member in ElementTree.parse(xml / "fst3fs_8h.xml").iter("memberdef"):
        if member.get("kind") in ("function", "enum", "typedef"):
            (man / f"{member.findtext('name')}.3").write_text(".so man3/fst3fs.3\n", encoding="utf-8")
    for struct in xml.glob("structfst3fs*.xml"):
        name = ElementTree.parse(struct).findtext("compounddef/compoundname")
        (man / f"{name}.3").write_text(".so man3/fst3fs.3\n", encoding="utf-8")


def main(target: str) -> None:
    folder = Path(target).resolve()
    xml = folder / "doxygen" / "xml"
    _doxygen(xml)
    for builder in ("html", "man"):
        _sphinx(builder, folder)
    _aliases(xml, folder / "man")


if __name__ == "__main__":
    main(*sys.argv[1:])
