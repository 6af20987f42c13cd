"""Talks to a judge: a language model behind Ollama's HTTP API or an OpenAI-compatible one.

`parse_judge` reads ``ollama:llama3``, ``ollama:llama3@http://host:port`` or ``openai:MODEL@http://host:port/v1``;
`ask` sends one prompt and returns the reply. Temperature 0 and a fixed seed: the same judge on the same machine says
the same again. A key is an argument and is never printed or stored.

Not here: what is asked and how replies become scores (`judge`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from vidro.core.errors import DataError, UsageError, did_you_mean

KINDS = ("ollama", "openai")
OLLAMA_URL = "http://127.0.0.1:11434"
NUM_CTX = 2048
SEED = 123
TIMEOUT_S = 300.0  # the first answer waits until the model is in memory
_PATHS = {"ollama": "/api/chat", "openai": "/chat/completions"}
_FORMS = "Write ollama:llama3, ollama:llama3@http://HOST:PORT or openai:MODEL@http://HOST:PORT/v1."
_ROOM_BYTES = 512  # for the judge's own template, a reminder and its reply
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class JudgeTarget:
    """Which model is asked, and where. `num_ctx` is the context that Ollama is told to give it, in tokens."""

    kind: str
    model: str
    url: str
    key: str | None = field(default=None, repr=False)
    num_ctx: int = NUM_CTX

    @property
    def name(self) -> str:
        """Its name in reports and score files: all but the key."""
        return f"{self.kind}:{self.model}@{self.url}"


def parse_judge(spec: str, *, key: str | None = None) -> JudgeTarget:
    """The judge that `spec` names; `key` goes along with each request. Raises UsageError.

    >>> parse_judge("ollama:llama3:8b").name
    'ollama:llama3:8b@http://127.0.0.1:11434'
    """
    kind, colon, rest = spec.strip().partition(":")
    if not colon or not rest:
        raise UsageError(f"{spec!r} does not name a judge", where="judge", hint=_FORMS)
    if kind not in KINDS:
        raise UsageError(f"there is no judge of the kind {kind!r}", where="judge", hint=did_you_mean(kind, KINDS))
    model, at, url = rest.partition("@")
    if not model:
        raise UsageError(f"{spec!r} names no model", where="judge", hint=_FORMS)
    if not at and kind == "openai":
        hint = f"Say which server is meant: {spec}@http://HOST:PORT/v1"
        raise UsageError(f"{spec!r} has no address", where="judge", hint=hint)
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key != ""):
        what = "the key is empty, or holds a space, a line end or another character that keys do not have"
        raise UsageError(what, where="judge", hint="Copy it again.")
    return JudgeTarget(kind, model, _checked(url, _PATHS[kind]) if at else OLLAMA_URL, key)


def with_room(target: JudgeTarget, prompts: Iterable[str]) -> JudgeTarget:
    """The target with a context that surely holds each prompt: Ollama cuts longer ones without a word.

    One size for all prompts, as another makes Ollama load the model again: 2048 tokens, doubled until the longest
    prompt fits. A token stands for at least one byte.
    """
    longest = max((len(prompt.encode("utf-8", "surrogatepass")) for prompt in prompts), default=0)
    num_ctx = target.num_ctx
    while num_ctx < longest + _ROOM_BYTES:
        num_ctx *= 2
    return replace(target, num_ctx=num_ctx)


def ask(target: JudgeTarget, prompt: str, *, timeout_s: float = TIMEOUT_S) -> str:
    """The judge's reply to one prompt, as it is. Raises DataError when there is none, with what to do about it."""
    url = target.url + _PATHS[target.kind]
    headers = {"User-Agent": "vidro", "Content-Type": "application/json"}
    if target.key is not None:
        headers["Authorization"] = f"Bearer {target.key}"
    timeout = httpx.Timeout(timeout_s, connect=min(15.0, timeout_s))
    proxies = httpx.URL(url).host not in _LOOPBACK  # none stands between a machine and itself
    try:
        with httpx.Client(timeout=timeout, headers=headers, trust_env=proxies) as client:
            response = client.post(url, content=json.dumps(_body(target, prompt)))
    except httpx.ConnectError as problem:
        raise _no_judge(target, _reason(problem)) from None
    except httpx.ConnectTimeout:
        raise _no_judge(target, "nobody answers") from None
    except httpx.TimeoutException:
        hint = "A large model may need longer: try again when it is loaded, or take a smaller one."
        raise DataError(f"the judge gave no answer within {timeout_s:g} s", where=target.url, hint=hint) from None
    except httpx.TransportError as problem:
        what = f"the connection to the judge was cut ({_reason(problem)})"
        raise DataError(what, where=target.url, hint="Is it still running?") from None
    return _reply(target, response)


def _body(target: JudgeTarget, prompt: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    body: dict[str, Any] = {"model": target.model, "messages": messages, "stream": False}
    if target.kind == "openai":
        return body | {"temperature": 0, "seed": SEED}
    options = {"temperature": 0, "seed": SEED, "num_ctx": target.num_ctx}
    return body | {"options": options, "truncate": False}  # newer versions refuse what is too long instead of cutting


def _reply(target: JudgeTarget, response: httpx.Response) -> str:
    """The text in the answer. Raises DataError for an error, or for something that is not this API."""
    answer = _parsed(response)
    said = _error_text(answer)
    if response.status_code != httpx.codes.OK or said:
        raise _refused(target, response, said)
    try:
        found = answer["message"] if target.kind == "ollama" else answer["choices"][0]["message"]
        content = found["content"]
    except (TypeError, KeyError, IndexError):
        raise _not_this_api(target) from None
    if content is not None and not isinstance(content, str):
        raise _not_this_api(target)
    n_read = answer.get("prompt_eval_count")
    if target.kind == "ollama" and isinstance(n_read, int) and n_read >= target.num_ctx:
        what = f"the prompt fills the judge's context of {target.num_ctx:,} tokens, so it was cut"
        raise DataError(what, where=target.url, hint="Give it a larger context, or leave that row out.")
    if content is None:  # so OpenAI's API says that the model wrote nothing
        return ""
    return content.encode("utf-8", "replace").decode()  # half a surrogate pair is valid JSON, but no text


def _parsed(response: httpx.Response) -> Any:
    """The JSON in the answer; None where there is none, which is no answer of either API."""
    try:
        return response.json()
    except (ValueError, RecursionError):  # not JSON, not UTF-8, nested without end
        return None


def _error_text(answer: Any) -> str:
    """What went wrong, in the server's words: Ollama sends {"error": text}, OpenAI {"error": {"message": text}}."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return " ".join(str(error).split())[:200].rstrip(".") if error else ""


def _refused(target: JudgeTarget, response: httpx.Response, said: str) -> DataError:
    """The error for an answer that says no."""
    status, where = response.status_code, target.url
    if status == httpx.codes.NOT_FOUND and target.model in said:
        what = f"the judge has no model {target.model!r}"
        hint = f"Fetch it with: ollama pull {target.model}" if target.kind == "ollama" else f"It says: {said}."
        return DataError(what, where=where, hint=hint)
    if status == httpx.codes.NOT_FOUND and not said:
        return _not_this_api(target)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        what = "the judge does not accept this key" if target.key is not None else "the judge asks for a key"
        return DataError(what, where=where, hint=f"It says: {said}." if said else None)
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        what = f"the judge is too busy ({said or response.reason_phrase})"
        return DataError(what, where=where, hint="Try again in a while.")
    what = f"the judge answered {status} {said or response.reason_phrase}".rstrip()
    return DataError(what, where=where, hint="Its own log may say more.")


def _not_this_api(target: JudgeTarget) -> DataError:
    what = f"this server does not answer as {'Ollama' if target.kind == 'ollama' else 'OpenAI'}'s API does"
    other = "openai" if target.kind == "ollama" else "ollama"
    hint = f"Is the address right, or is it {other}:{target.model}@…? For openai it usually ends in /v1."
    return DataError(what, where=target.url, hint=hint)


def _no_judge(target: JudgeTarget, reason: str) -> DataError:
    hint = "Is the server running, and is the address right?"
    if target.kind == "ollama":
        hint = f"Start it with: ollama serve (and once, to fetch the model: ollama pull {target.model})"
    return DataError(f"the judge cannot be reached ({reason})", where=target.url, hint=hint)


def _checked(url: str, path: str) -> str:
    """The address without a slash at its end. Raises UsageError when it cannot be one."""
    try:
        parsed = httpx.URL(url)
        good = (
            parsed.scheme in ("http", "https") and bool(parsed.host) and (parsed.port is None or parsed.port < 65_536)
        )
    except httpx.InvalidURL:
        good = False
    if not good:
        hint = "It begins with http:// or https://, as in http://127.0.0.1:11434"
        raise UsageError(f"{url!r} is not an address", where="judge", hint=hint)
    if httpx.URL(url).userinfo:
        raise UsageError(
            "the address holds a password", where="judge", hint="Give the key by itself; it is not stored."
        )
    if "?" in url or "#" in url or url.rstrip("/").endswith(path):
        hint = f"Give only the part before {path}."
        raise UsageError(f"{url!r} is more than the server's address", where="judge", hint=hint)
    return url.rstrip("/")


def _reason(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:120].rstrip(".")
