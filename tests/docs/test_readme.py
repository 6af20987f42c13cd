"""What the README and the pages of `docs/` say, run: commands parse, quick ones work, snippets fit, sums are right.

A command is a line that begins with ``vidro`` in a ``sh`` block. All are parsed by the real command line and, where
they train, checked as wishes; those that take no time run in a folder that holds the files the pages speak of.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

import vidro
from vidro.cli.main import COMMANDS, EXAMPLES, load_app, main
from vidro.core import errors
from vidro.data.tinyworld import instructions, messages, text

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK = ("data list", "data show", "runs list", "tokenizer train", "--help", "--dry-run")
NEEDS_A_RUN = ("last", "book-1", "book-2", "spam-1", "tasks-1")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [body for found, body in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def commands(page: Path) -> list[str]:
    """The vidro commands of a page, without comments and without what stands before a ``&&``."""
    whole = [body.replace("\\\n", " ") for body in blocks(page, "sh")]
    lines = [line.split("&&")[-1].strip() for body in whole for line in body.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.startswith("vidro ")]


TAUGHT = [(page.name, command) for page in PAGES for command in commands(page)]
ADVERTISED = [("main.py", command) for command, _ in EXAMPLES]
ALL_COMMANDS = sorted(set(TAUGHT + ADVERTISED))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the texts that the pages speak of, and a cache of its own."""
    for name in ("book.txt", "other-book.txt", "new.txt", "the-verdict.txt", "books/one.txt", "books/two.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text(len(name), 60_000), encoding="utf-8")
    make_epub(tmp_path / "book.epub", text(3, 20_000))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDRO_CACHE", str(tmp_path / "cache"))
    return tmp_path


def make_epub(path: Path, story: str) -> None:
    """The smallest book: one chapter, as the EPUB standard wants it wrapped."""
    container = "urn:oasis:names:tc:opendocument:xmlns:container"
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": (
            f'<container xmlns="{container}" version="1.0"><rootfiles><rootfile full-path="book.opf" '
            'media-type="application/oebps-package+xml"/></rootfiles></container>'
        ),
        "book.opf": (
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><manifest><item id="c" href="c.xhtml" '
            'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/></spine></package>'
        ),
        "c.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{story}</p></body></html>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def parse(command: str) -> inspect.BoundArguments | None:
    """What the real command line makes of a command, without running it. Raises what it would say is wrong."""
    words = shlex.split(command)[1:]
    if words[0].startswith("-"):
        assert words in (["--help"], ["--version"]), command
        return None
    assert words[0] in COMMANDS, f"there is no command {words[0]}"
    app = load_app(words[0])
    if "--help" in words:
        return None
    return app.parse_args(words[1:], exit_on_error=False, print_error=False)[1]


def test_the_pages_teach_commands() -> None:
    assert len(TAUGHT) >= 30
    assert {shlex.split(command)[1] for _, command in TAUGHT} >= set(COMMANDS) - {"info"}


@pytest.mark.parametrize(("page", "command"), ALL_COMMANDS, ids=lambda value: value)
def test_every_command_is_one(page: str, command: str, desk: Path) -> None:
    bound = parse(command)
    if bound is not None and shlex.split(command)[1] == "pretrain":
        check_wish(bound)


def check_wish(bound: inspect.BoundArguments) -> None:
    """The settings of a ``vidro pretrain`` fit together."""
    from vidro.api.pretrain import request

    settings = {name: value for name, value in bound.arguments.items() if name not in ("file", "dry_run", "json")}
    settings |= settings.pop("settings", {})
    request(bound.arguments.get("file"), {k: v for k, v in settings.items() if k != "debug"})


@pytest.mark.parametrize(
    "command",
    [command for _, command in ALL_COMMANDS if any(word in command for word in QUICK)]
    + ["vidro --help", "vidro --version", *(f"vidro {name} --help" for name in COMMANDS)],
)
def test_quick_commands_run(command: str, desk: Path) -> None:
    if any(word in shlex.split(command) for word in NEEDS_A_RUN):
        pytest.skip("this one runs below, with a run")
    code, out, err = run_quietly(shlex.split(command)[1:])
    assert code == 0, err
    assert out.strip() or err.strip()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with very small runs (book-1, book-2, spam-1, tasks-1) and the rows that two of them learned from."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDRO_CACHE", str(folder / "cache"))
        Path("book.txt").write_text(text(8, 30_000), encoding="utf-8")
        flags = ["--steps", "4", "--evals", "2", "--checkpoint-steps", "2", "--preset", "toy", "--threads", "1"]
        for seed in ("1", "2"):
            assert run_quietly(["pretrain", "book.txt", *flags, "--seed", seed])[0] == 0
        write_rows(folder)
        quick = ["--steps", "2", "--evals", "1", "--threads", "1"]
        for kind, data, out in (("classify", "messages.tsv", "spam-1"), ("instruct", "tasks.json", "tasks-1")):
            words = ["finetune", kind, "book-1", "--data", data, "--out", f"runs/{out}", *quick]
            assert run_quietly(words)[0] == 0
    return folder


def write_rows(folder: Path) -> None:
    """The labelled messages and the instructions that the pages speak of."""
    for number, name in enumerate(("messages.tsv", "new-messages.tsv")):
        rows = messages(seed=number, n=60, task="spam")
        (folder / name).write_text("".join(f"{label}\t{words}\n" for label, words in rows), encoding="utf-8")
    tasks = [row._asdict() for row in instructions(seed=1, n=40)]
    (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")


def write_harness_task(folder: Path) -> None:
    """The task of lm-evaluation-harness that docs/evaluating.md shows, letter by letter."""
    page = ROOT / "docs" / "evaluating.md"
    for language, name in (("yaml", "capitals.yaml"), ("json", "capitals.jsonl")):
        (body,) = blocks(page, language)
        (folder / name).write_text(body, encoding="utf-8")


def the_last(words: list[str]) -> str:
    """Which run the page means by ``last``."""
    return "spam-1" if words[0] == "predict" or "--labels" in words else "book-2"


def needs_only_a_run(command: str) -> bool:
    """Whether a small run is enough to try the command: it does not train, and does not wait for a person."""
    words = shlex.split(command)[1:]
    kinds = ("generate", "evaluate", "predict", "runs", "tokenizer")
    named = any(word.partition("@")[0] in NEEDS_A_RUN for word in words)
    return words[0] in kinds and named and "--judge" not in words  # a judge is a server


@pytest.mark.parametrize("command", sorted({command for _, command in ALL_COMMANDS if needs_only_a_run(command)}))
def test_commands_on_a_run_run(command: str, desk: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(trained / "runs", desk / "runs")
    for file in ("new-messages.tsv", "tasks.json"):
        shutil.copy(trained / file, desk)
    write_harness_task(desk)
    words = shlex.split(command)[1:]
    if "--tasks" in words:
        pytest.importorskip("lm_eval")
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(desk / "cache"))
    (desk / "runs" / the_last(words) / "run.toml").touch()
    removes = words[:2] == ["runs", "rm"]
    code, out, err = run_quietly([*words, "--yes"] if removes else words)
    assert code == 0, err
    assert (desk / "runs" / "book-2").exists() != removes
    assert out.strip() or removes


def run_quietly(words: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


def test_the_readme_lists_the_commands_that_exist() -> None:
    rows = re.findall(r"^\| `vidro (\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(COMMANDS)


def test_the_readme_draws_the_floors_that_are_enforced() -> None:
    contract = re.search(r"layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.DOTALL)
    assert contract is not None
    floors = [re.sub(r"vidro\.", "", floor) for floor in re.findall(r'"([^"]+)"', contract[1])]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^\d+ +(\w+(?: \| \w+)?)  ", readme, re.MULTILINE)
    assert drawn == floors


def test_flags_named_on_the_pages_exist() -> None:
    known = {"--help", "--version"}
    for name in COMMANDS:
        app = load_app(name)
        for part in [app, *(app[each] for each in app if not each.startswith("-"))]:
            if part.default_command is not None:
                known |= {flag for argument in part.assemble_argument_collection() for flag in argument.names}
    for page in PAGES:
        for flag in re.findall(r"`(--[a-z][a-z0-9-]*)", page.read_text(encoding="utf-8")):
            assert flag in known, f"{page.name} names {flag}"


def test_the_errors_page_lists_the_error_tree() -> None:
    tree = {
        name for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.VidroError) and kind is not errors.VidroError
    }  # fmt: skip
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+Error)` \|", page, re.MULTILINE)) == tree


def test_lists_on_the_pages_are_complete() -> None:
    from vidro.config.presets import PRESETS
    from vidro.evals.yardsticks import text_yardsticks
    from vidro.infer.commands import HELP
    from vidro.text.special import SPECIAL_TOKENS
    from vidro.train.yardsticks import FLOOR

    model, generating, tokenizer, training = (
        (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("model", "generating", "tokenizer", "training")
    )
    presets = re.search(r"Presets: (.*?)\.\s", model, re.DOTALL)
    assert presets is not None
    assert re.findall(r"`(.+?)`", presets[1]) == list(PRESETS)
    assert all(f"`{command}`" in generating for command in HELP)
    assert re.findall(r"`(<\|\w+\|>)`", tokenizer.split("## The sixteen")[1].split("\n\n")[2]) == list(
        SPECIAL_TOKENS[:8]
    )
    bars = re.findall(r"^\| ([^|]+) \|", training.split("| yardstick |")[1].split("\n\n")[0], re.MULTILINE)
    assert {name for cell in bars for name in cell.split(", ")} == {*text_yardsticks(["a b"], ["a"]), FLOOR}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sums_on_the_pages_are_right(page: Path) -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    for number, body in enumerate(blocks(page, "python")):
        test = parser.get_doctest(body, {}, f"{page.name}[{number}]", str(page), 0)
        problems = io.StringIO()
        runner.run(test, out=problems.write)
        assert runner.summarize(verbose=False).failed == 0, problems.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_the_pages_fits_the_real_names(page: Path) -> None:
    for body in blocks(page, "python"):
        if ">>>" not in body:
            check_calls(ast.parse(body))


def check_calls(tree: ast.Module) -> None:
    """Every call of ``vidro.name(…)`` and of a method of ``run`` fits the signature; every keyword exists."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner: Any = None
        if isinstance(node.func.value, ast.Name):
            owner = {"vidro": vidro, "run": vidro.Run}.get(node.func.value.id)
        elif isinstance(node.func.value, ast.Call) and ast.unparse(node.func.value.func) in (
            "vidro.load",
            "vidro.pretrain",
        ):
            owner = vidro.Run
        if owner is None:
            continue
        function = getattr(owner, node.func.attr)
        values = [None] * (len(node.args) + (owner is vidro.Run))
        keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg is not None}
        signature = inspect.signature(function)
        signature.bind(*values, **keywords)
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
            from vidro.api.settings import sampling_options

            sampling_options({name: 1 for name in keywords if name not in signature.parameters})
