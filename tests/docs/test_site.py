"""The site is built from the pages and a lesson, without a warning, and asks no network for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.lessons


class Links(HTMLParser):
    """What a page loads, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.led_to: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value for name, value in attrs if value is not None}
        if tag in ("script", "img", "iframe", "source", "link"):
            self.loaded += [said[name] for name in ("src", "href") if name in said]
        elif tag == "a" and "href" in said:
            self.led_to.append(said["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, str(ROOT / "docs/site/build.py"), str(out), "--lessons", "attention-3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


def links(page: Path) -> Links:
    found = Links()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_every_page_is_there(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert {path.stem for path in (site / "docs").glob("*.html")} == pages
    lesson = (site / "lessons" / "attention-3.html").read_text(encoding="utf-8")
    assert "moved by 0.000" in lesson
    assert len(re.findall(r'<img[^>]+src="\.\./_images/attention-3-\d\.png"', lesson)) == 3
    assert "vidro.model.attention" in (site / "source" / "model.attention.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_a_network_and_no_link_is_dead(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        found = links(page)
        for target in found.loaded:
            assert not re.match(r"(https?:)?//", target), f"{page.name} loads {target}"
        for target in [*found.loaded, *found.led_to]:
            path = unquote(re.split(r"[?#]", target)[0])
            if path and not re.match(r"[a-z]+:", target):
                assert (page.parent / path).exists(), f"{page.name} leads to {target}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import\s*)['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style.name
