"""Every link on every page leads somewhere: files exist, headings exist, nothing points into the builders' machines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FLOORS = "core|config|text|data|model|checkpoint|infer|evals|inspect|train|learn|api|cli"
MODULE = re.compile(rf"`((?:{FLOORS})/\w+(?:\.py)?)`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """The targets of a page's links, those inside code left out."""
    return LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


CASES = [(page, target) for page in PAGES for target in links(page)]


@pytest.mark.parametrize(("page", "target"), CASES, ids=lambda value: value if isinstance(value, str) else value.name)
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    if re.match(r"https?://", target):
        assert target.startswith("https://"), "plain http"
        return
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    if found.parent == ROOT / "docs" / "images" and not found.exists():
        pytest.skip("this picture is made from a real run")
    assert found.is_relative_to(ROOT), "a link out of the repository"
    assert found.exists(), f"{page.name} points to {path}, which is not there"
    if anchor:
        assert anchor in anchors(found), f"{path} has no heading {anchor}"


def test_there_are_links() -> None:
    assert len(CASES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_on_a_page_exist(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+\w)`", page.read_text(encoding="utf-8"))
    for name in named:
        assert (ROOT / name).exists() or name == "benchmarks/RESULTS.md", f"{page.name} names {name}"
    modules = MODULE.findall(page.read_text(encoding="utf-8"))
    for name in modules:
        path = ROOT / "src" / "vidro" / name.removesuffix(".py")
        assert path.with_suffix(".py").exists() or path.is_dir(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_tidy(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(r"# \S", text), "a page begins with its title"
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"[ \t]$", text, re.MULTILINE), "blanks at the end of a line"
    assert "\t" not in text
    assert text.count("\n```") % 2 == 0, "a code block is not closed"
