"""Build the site, `python docs/site/build.py OUT`: the pages of docs/, and every lesson run, with output and figures.

Sphinx with MyST reads the Markdown as it lies in the repository; the theme is Furo, which loads nothing from a network,
so the site can be read from the disk (open OUT/index.html) as well as from a server. The repository's layout is kept,
so that links between pages are the same on GitHub and here. Needs `pip install 'vidro[docs]'`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sphinx.application import Sphinx

import vidro
from vidro.learn.exercise import exercise_names
from vidro.learn.lesson_run import run_lesson
from vidro.learn.page import fenced, linked, page
from vidro.learn.path import CHAPTERS, LESSONS, find

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(vidro.__file__).parent
LINK = re.compile(r"\]\(([^)#\s]+)")
GUIDE = (
    "tour", "learning", "experiments", "book", "glossary", "papers", "checking", "data", "tokenizer", "model",
    "training", "generating", "finetuning", "evaluating", "import", "export", "runs", "errors", "results", "formats",
    "decisions", "diary",
)  # fmt: skip
SETTINGS = {
    "project": "Vidro",
    "extensions": ["myst_parser"],
    "html_theme": "furo",
    "html_title": f"Vidro {vidro.__version__}",
    "html_copy_source": False,
    "html_show_sphinx": False,
    "html_show_copyright": False,
    "myst_heading_anchors": 4,
    "exclude_patterns": [],
    "pygments_style": "friendly",
}


def main() -> int:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--lessons", nargs="+", default=list(LESSONS), metavar="NAME", help="only these lessons")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        gather(source, said.lessons)
        application = Sphinx(
            source, None, said.out, Path(folder) / "doctrees", "html", SETTINGS, status=None, warningiserror=True
        )
        application.build()
    print(said.out / "index.html")
    return application.statuscode


def gather(source: Path, names: Sequence[str]) -> None:
    """Everything that Sphinx reads: the repository's pages, the lessons run, the code they lead to, and the index."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for path in pages:
        copy(path, source)
    (source / "lessons").mkdir()
    (source / "source").mkdir()
    for name in names:
        print(f"lesson {name}", file=sys.stderr, flush=True)
        write_lesson(name, source, names)
    (source / "index.md").write_text(index(names, [path.stem for path in pages[1:]]), encoding="utf-8")


def copy(path: Path, source: Path) -> None:
    """A page of the repository and the files it leads to (pages of others among them are copied for themselves)."""
    target = source / path.relative_to(ROOT)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    if path.suffix != ".md":
        return
    text = path.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        linked_file = (path.parent / link).resolve()
        if "://" not in link and linked_file.is_file():
            copy(linked_file, source)
    if path.parent != ROOT / "docs" and path.name != "README.md":
        target.write_text(f"---\norphan: true\n---\n\n{text}", encoding="utf-8")


def write_lesson(name: str, source: Path, names: Sequence[str]) -> None:
    """Run a lesson and write its page, and a page for each module that it leads to."""
    lesson = find(name)
    file = Path(str(lesson.file))
    pieces = run_lesson(file.read_text(encoding="utf-8"), where=file)
    text = page(lesson, pieces, source / "lessons", exercise=name in exercise_names())
    for other in set(LESSONS) - set(names):  # a part of the site has no pages for them
        text = re.sub(rf"\[([^\]]+)\]\({other}\.md\)", r"\1", text)
    (source / "lessons" / f"{name}.md").write_text(text, encoding="utf-8")
    for module in lesson.modules:
        code = PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        words = f"---\norphan: true\n---\n\n# vidro.{module}\n\n{fenced(code.rstrip(), 'python')}\n"
        (source / "source" / f"{module}.md").write_text(words, encoding="utf-8")


def index(names: Sequence[str], pages: Sequence[str]) -> str:
    """The first page, and the order of all others."""
    missing = sorted(set(pages) - set(GUIDE))
    parts = [
        "# Vidro",
        "Give it a book and ten minutes; get a language model of your own, and see through it.",
        "[What it is and how to begin](README.md) · [A tour of one training run](docs/tour.md)",
        contents("", ["README"]),
        "## Lessons",
        "Each is one idea, run before you read it: what you see is what the code gave. The same on your machine, with "
        "exercises: `vidro learn`.",
    ]
    for chapter in CHAPTERS:
        here = [lesson for lesson in chapter.lessons if lesson.name in names]
        if here:
            rows = "\n".join(f"- [{lesson.title}](lessons/{lesson.name}.md): {lesson.idea}" for lesson in here)
            parts += [f"### {chapter.title}", linked(rows)]
            parts.append(contents(chapter.title, [f"lessons/{lesson.name}" for lesson in here]))
    guide = [f"docs/{name}" for name in (*GUIDE, *missing) if name in pages]
    rows = "\n".join(f"- []({name}.md)" for name in guide)  # the link is the page's title
    return "\n\n".join([*parts, "## Guide", rows, contents("Guide", guide)]) + "\n"


def contents(caption: str, entries: Sequence[str]) -> str:
    """MyST's list of pages, not shown: it fills the bar at the left."""
    options = [*([f":caption: {caption}"] if caption else []), ":maxdepth: 1", ":hidden:"]
    return "\n".join(["```{toctree}", *options, "", *entries, "```"])


if __name__ == "__main__":
    sys.exit(main())
