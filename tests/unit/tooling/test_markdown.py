"""Links and paths in the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

from tooling.locks import ROOT

PAGES = [
    ROOT / name
    for name in (
        "README.md",
        ".github/CONTRIBUTING.md",
        ".github/SECURITY.md",
        "infra/README.md",
        "workflow/README.md",
    )
]
_CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:bot|infra|tests|workflow|\.ci|\.github)/[\w./-]+)`")


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of *page*."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    for path in _PATH.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path
