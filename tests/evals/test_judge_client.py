"""The other side of the wire is a real HTTP server that speaks Ollama's and OpenAI's chat calls, and misbehaves."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError, UsageError
from vidro.evals.answers import AnswerRow
from vidro.evals.judge import judge_rows, score_prompt
from vidro.evals.judge_client import JudgeTarget, ask, parse_judge, with_room

ANSWERED = {"total_duration": 5, "load_duration": 1, "prompt_eval_count": 7, "eval_count": 1, "eval_duration": 1}


@dataclass
class Server:
    """What it serves, how it fails, and what it was asked."""

    url: str = ""
    models: tuple[str, ...] = ("llama3",)
    key: str | None = None
    reply: Callable[[str], str | None] = lambda prompt: "85"
    status: int = 200
    body: bytes | None = None  # sent instead of an answer
    wait_s: float = 0.0
    hang_up_at: int | None = None  # the request that gets no answer
    n_prompt_tokens: int = 7
    requests: list[dict[str, Any]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    server_state: Server

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state.requests.append({"path": self.path, **body})
        time.sleep(state.wait_s)
        if state.hang_up_at == len(state.requests):
            return
        if state.body is not None or state.status != 200:
            self.answer(state.status, state.body if state.body is not None else b"")
        elif state.key is not None and self.headers["Authorization"] != f"Bearer {state.key}":
            self.answer(401, {"error": {"message": "Incorrect API key provided.", "type": "authentication_error"}})
        elif self.path == "/api/chat":
            self.ollama(state, body)
        elif self.path == "/v1/chat/completions":
            self.openai(state, body)
        else:
            self.answer(404, b"404 page not found")

    def ollama(self, state: Server, body: dict[str, Any]) -> None:
        if body["model"] not in state.models:
            self.answer(404, {"error": f"model '{body['model']}' not found"})
            return
        message = {"role": "assistant", "content": state.reply(body["messages"][-1]["content"])}
        head = {"model": body["model"], "created_at": "2026-01-02T03:04:05.678901234Z"}
        end = {"done": True, "done_reason": "stop", **ANSWERED, "prompt_eval_count": state.n_prompt_tokens}
        if not body.get("stream", True):
            self.answer(200, {**head, "message": message, **end})
            return
        lines = [{**head, "message": message, "done": False}]
        lines.append({**head, "message": {"role": "assistant", "content": ""}, **end})
        self.answer(200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def openai(self, state: Server, body: dict[str, Any]) -> None:
        if body["model"] not in state.models:
            message = f"The model `{body['model']}` does not exist"
            self.answer(404, {"error": {"message": message, "type": "not_found_error", "param": None, "code": None}})
            return
        message = {"role": "assistant", "content": state.reply(body["messages"][-1]["content"])}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
        self.answer(200, {**head, "choices": [choice]})

    def answer(self, status: int, content: bytes | dict[str, Any]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("Bound", (Handler,), {"server_state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        state.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        listening.shutdown()
        thread.join()


def ollama(server: Server, model: str = "llama3") -> JudgeTarget:
    return parse_judge(f"ollama:{model}@{server.url}")


def openai(server: Server, model: str = "llama3", key: str | None = None) -> JudgeTarget:
    return parse_judge(f"openai:{model}@{server.url}/v1", key=key)


def failure(target: JudgeTarget, **how: Any) -> str:
    """The error's line, after the address with which it begins."""
    with pytest.raises(DataError) as caught:
        ask(target, "Score it.", **how)
    line = str(caught.value)
    assert line.startswith(f"{target.url}: ")
    return line.removeprefix(f"{target.url}: ")


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        ("ollama:llama3", JudgeTarget("ollama", "llama3", "http://127.0.0.1:11434")),
        (" ollama:llama3:8b-q4 ", JudgeTarget("ollama", "llama3:8b-q4", "http://127.0.0.1:11434")),
        ("ollama:llama3@http://box:11434/", JudgeTarget("ollama", "llama3", "http://box:11434")),
        ("openai:org/m@https://host/v1/", JudgeTarget("openai", "org/m", "https://host/v1")),
        ("openai:m@http://[::1]:8000/v1", JudgeTarget("openai", "m", "http://[::1]:8000/v1")),
    ],
)
def test_specs(spec: str, target: JudgeTarget) -> None:
    assert parse_judge(spec) == target


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("llama3", "'llama3' does not name a judge. Write ollama:llama3, ollama:llama3@http://HOST:PORT or openai:"),
        ("", "'' does not name a judge."),
        ("ollama:", "'ollama:' does not name a judge."),
        ("olama:llama3", "there is no judge of the kind 'olama'. Did you mean ollama?"),
        ("ollama:@http://host", "'ollama:@http://host' names no model."),
        ("openai:m", "'openai:m' has no address. Say which server is meant: openai:m@http://HOST:PORT/v1"),
        ("ollama:m@host:11434", "'host:11434' is not an address. It begins with http:// or https://"),
        ("ollama:m@", "'' is not an address."),
        ("ollama:m@http://", "'http://' is not an address."),
        ("ollama:m@http://host:99999", "'http://host:99999' is not an address."),
        ("ollama:m@ftp://host", "'ftp://host' is not an address."),
        (
            "ollama:m@http://h/api/chat",
            "'http://h/api/chat' is more than the server's address. Give only the part before",
        ),
        ("openai:m@http://h/v1/chat/completions", "'http://h/v1/chat/completions' is more than the server's address."),
        ("openai:m@http://h/v1?key=1", "'http://h/v1?key=1' is more than the server's address."),
        ("openai:m@http://me:word@h/v1", "the address holds a password. Give the key by itself; it is not stored"),
    ],
)
def test_specs_that_are_wrong(spec: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_judge(spec)
    assert str(caught.value).startswith(f"judge: {line}")


@given(st.text(max_size=30) | st.text(max_size=20).map("ollama:m@http://{}".format))
def test_any_spec_is_a_target_or_one_line(spec: str) -> None:
    with contextlib.suppress(UsageError):
        target = parse_judge(spec)
        assert target.model
        assert target.url.startswith(("http://", "https://"))
        assert parse_judge(target.name) == target


def test_the_key_is_never_shown() -> None:
    target = parse_judge("openai:m@http://h/v1", key="sk-secret")
    assert target.key == "sk-secret"
    assert "secret" not in repr(target) + target.name
    for key in ("", " sk-secret", "sk-secret\n", "sk\u00e9"):
        with pytest.raises(UsageError, match="the key is empty, or holds") as caught:
            parse_judge("openai:m@http://h/v1", key=key)
        assert "secret" not in str(caught.value)


def test_ollama_is_asked_as_the_book_asks_it(server: Server) -> None:
    server.reply = lambda prompt: f" {len(prompt)} é\n"
    assert ask(ollama(server), "Açúcar?") == " 7 é\n"
    assert server.requests == [
        {
            "path": "/api/chat",
            "model": "llama3",
            "messages": [{"role": "user", "content": "Açúcar?"}],
            "stream": False,
            "options": {"temperature": 0, "seed": 123, "num_ctx": 2048},
            "truncate": False,
        }
    ]


def test_openai_is_asked_with_the_key(server: Server) -> None:
    server.key = "sk-1"
    assert ask(openai(server, key="sk-1"), "Score it.") == "85"
    assert server.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "llama3",
            "messages": [{"role": "user", "content": "Score it."}],
            "stream": False,
            "temperature": 0,
            "seed": 123,
        }
    ]
    told = "the judge does not accept this key. It says: Incorrect API key provided."
    assert failure(openai(server, key="sk-2")) == told
    assert failure(openai(server)).startswith("the judge asks for a key. It says")
    server.reply = lambda prompt: None
    assert ask(openai(server, key="sk-1"), "Score it.") == ""


def test_a_proxy_is_not_asked_for_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(ollama(server), "Score it.") == "85"


def test_nobody_there() -> None:
    with socket.socket() as taken:  # bound and not listening, so that no other process is there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        line = failure(parse_judge(f"ollama:llama3@{url}"))
        assert re.fullmatch(
            r"the judge cannot be reached \(.+\)\. "
            r"Start it with: ollama serve \(and once, to fetch the model: ollama pull llama3\)",
            line,
        )
        line = failure(parse_judge(f"openai:m@{url}/v1"))
        assert line.endswith(". Is the server running, and is the address right?")


def test_the_model_is_not_there(server: Server) -> None:
    line = "the judge has no model 'mistral'. Fetch it with: ollama pull mistral"
    assert failure(ollama(server, "mistral")) == line
    line = "the judge has no model 'mistral'. It says: The model `mistral` does not exist."
    assert failure(openai(server, "mistral")) == line


def test_a_judge_that_is_too_slow_or_hangs_up(server: Server) -> None:
    server.wait_s = 0.5
    line = failure(ollama(server), timeout_s=0.1)
    assert line.startswith("the judge gave no answer within 0.1 s. A large model may need longer")
    server.wait_s, server.hang_up_at = 0.0, 2
    assert re.fullmatch(r"the connection to the judge was cut \(.+\)\. Is it still running\?", failure(ollama(server)))


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        (503, b'{"error":"server busy"}', "the judge is too busy (server busy). Try again in a while."),
        (429, b"", "the judge is too busy (Too Many Requests). Try again in a while."),
        (500, b'{"error":"out of\\nmemory."}', "the judge answered 500 out of memory. Its own log may say more."),
        (500, b"<html>", "the judge answered 500 Internal Server Error. Its own log may say more."),
        (400, b'{"error":"prompt too long"}', "the judge answered 400 prompt too long. Its own log may say more."),
        (403, b"", "the judge asks for a key"),
        (302, b"", "the judge answered 302 Found. Its own log may say more."),
        (200, b'{"error":"model runner has stopped"}', "the judge answered 200 model runner has stopped."),
    ],
)
def test_a_judge_that_says_no(server: Server, status: int, body: bytes, line: str) -> None:
    server.status, server.body = status, body
    assert failure(ollama(server)).startswith(line)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"message": "85"}',
        b'{"message": {"content": 85}}',
        b"\xff",
        b"[" * 9**5,
    ],
)
def test_servers_that_speak_something_else(server: Server, body: bytes) -> None:
    server.body = body
    line = "this server does not answer as Ollama's API does. Is the address right, or is it openai:llama3@…?"
    assert failure(ollama(server)).startswith(line)


def test_the_address_of_the_other_api(server: Server) -> None:
    line = failure(parse_judge(f"openai:llama3@{server.url}"))
    assert line.startswith("this server does not answer as OpenAI's API does.")
    assert line.endswith("For openai it usually ends in /v1.")


def test_half_a_surrogate_pair_is_no_text(server: Server) -> None:
    server.reply = lambda prompt: "85\ud83d"
    assert ask(ollama(server), "Score it.") == "85?"


def test_a_context_with_room_for_the_longest_prompt(server: Server) -> None:
    target = ollama(server)
    assert with_room(target, ["short", ""]).num_ctx == with_room(target, []).num_ctx == 2048
    roomy = with_room(target, ["short", "é" * 2000])  # 4,000 bytes: at most as many tokens
    assert roomy.num_ctx == 8192
    ask(roomy, "short")
    assert server.requests[-1]["options"]["num_ctx"] == 8192
    server.n_prompt_tokens = 2048  # what older versions of Ollama report when they cut a prompt
    line = "the prompt fills the judge's context of 2,048 tokens, so it was cut. Give it a larger context"
    assert failure(target).startswith(line)
    assert ask(roomy, "short") == "85"


def test_all_the_way_through_a_judge_that_goes_away(server: Server, tmp_path: Path) -> None:
    rows = [AnswerRow(f"Say {i}.", "", str(i), str(i) if i % 2 else "no", stopped=True) for i in range(6)]
    server.reply = lambda prompt: "100" if re.search(r"answer\n(\d)\n\n### Model's answer\n\1\n", prompt) else "0"
    server.hang_up_at = 4
    target = with_room(ollama(server), map(score_prompt, rows))
    judge = partial(judge_rows, rows, partial(ask, target), tmp_path / "scores.jsonl", judge=target.name, seed=0)
    with pytest.raises(DataError, match=r"was cut .* Is it still running\? 3 of 6 replies are kept in "):
        judge()
    scores = judge()
    assert scores.scores == (0, 100, 0, 100, 0, 100)
    assert scores.n_resumed == 3
    assert len(server.requests) == 7


def test_the_server_here_speaks_ollama(server: Server) -> None:
    package = pytest.importorskip("ollama")
    client = package.Client(host=server.url, trust_env=False)
    messages = [{"role": "user", "content": "Score it."}]
    answer = client.chat(model="llama3", messages=messages, options={"temperature": 0, "seed": 123})
    assert answer.message.content == "85"
    parts = client.chat(model="llama3", messages=messages, stream=True)
    assert "".join(part.message.content for part in parts) == "85"
    with pytest.raises(package.ResponseError, match="model 'x' not found"):
        client.chat(model="x", messages=messages)
