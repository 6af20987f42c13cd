"""The model card of an export, a README.md for the Hugging Face hub: what the records say, and nothing that they don't.

Front matter that the hub understands, then what the model is, what it learned from, what it reached, how to use it in
Transformers (a test runs these lines), and what not to expect. A fact that no record holds is left out; no path of the
maker's machine and none of their text gets in. Not here: the record itself (`run`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from vidro.core.errors import TokenizerError, UsageError
from vidro.core.version import VERSION
from vidro.data.catalogue import CORPORA, Corpus
from vidro.model.count import count

if TYPE_CHECKING:
    from vidro.config.schema import ModelConfig
    from vidro.text.conversation import PromptStyle
    from vidro.text.tokenizer import Tokenizer

KINDS = {
    "base": "A language model that continues texts",
    "instruct": "A language model that was taught to answer instructions",
    "preferred": "A language model that was taught to answer, and which of two answers is preferred",
    "classifier": "A classifier of texts",
}
TOKENIZERS = {
    "bpe": "byte-level BPE, made for this model",
    "bytes": "single bytes",
    "chars": "single characters, those of its training text only",
    "words": "whole words, those of its training text only",
    "gpt2": "GPT-2's byte-level BPE",
}
PROMPT, QUESTION, MESSAGE = "Once upon a time", "Who are you?", "You have won a prize!"
SMALL = 200_000_000


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card is made of. `records`: the ``vidro.json`` of the run and of those before it, this one last.

    `scored`: the results in the record are those of this very step. `name`: as it is loaded, user/name or a folder.
    `license`, `languages`: what its maker said of it, as the hub writes them.
    """

    name: str
    records: Sequence[Mapping[str, Any]]
    config: ModelConfig
    tokenizer: Tokenizer
    step: int
    scored: bool = True
    style: PromptStyle | None = None
    license: str | None = None
    languages: Sequence[str] = ()

    @property
    def record(self) -> Mapping[str, Any]:
        """Of the run itself."""
        return self.records[-1]

    @property
    def kind(self) -> str:
        """base, instruct, preferred or classifier."""
        if self.config.labels:
            return "classifier"
        return str(self.record.get("kind", "base")) if self.style is not None else "base"


def model_card(facts: CardFacts) -> str:
    """The whole README.md."""
    title = PurePath(facts.name).name
    parts = [front_matter(facts), f"# {title}", what_it_is(facts), table(facts)]
    for heading, words in (
        ("What it learned from", "\n".join(learned_from(facts))),
        ("What it reaches", "\n".join(scores(facts))),
        ("How to use it", usage(facts)),
        ("What not to expect", "\n".join(limits(facts))),
        ("Licence", licence(facts)),
    ):
        parts += [f"## {heading}", words] if words else []
    return "\n\n".join(parts) + "\n"


def front_matter(facts: CardFacts) -> str:
    """The YAML block that the hub reads; JSON's way of writing texts is YAML's too."""
    task = "text-classification" if facts.config.labels else "text-generation"
    tags = ["vidro", facts.config.family, *(["conversational"] if facts.style is not None else [])]
    lines = ["---", "library_name: transformers", f"pipeline_tag: {task}"]
    if facts.license is not None:
        lines.append(f"license: {json.dumps(facts.license)}")
    for name, values in (("language", facts.languages), ("tags", tags)):
        lines += [f"{name}:", *(f"- {json.dumps(value)}" for value in values)] if values else []
    return "\n".join([*lines, "---"])


def what_it_is(facts: CardFacts) -> str:
    """One paragraph."""
    made = facts.record.get("versions", {}).get("vidro")
    by = f"trained with Vidro {made}" if made else "exported by Vidro"
    words = f"{KINDS.get(facts.kind, KINDS['base'])}, {by} and written by Vidro {VERSION} in the form of Transformers."
    if facts.config.labels:
        labels = ", ".join(f"`{label}`" for label in facts.config.labels)
        words += f" Its {len(facts.config.labels)} classes: {labels}."
    return words


def table(facts: CardFacts) -> str:
    """Sizes."""
    config, tokenizer = facts.config, facts.tokenizer
    layers = "1 layer" if config.n_layers == 1 else f"{config.n_layers} layers"
    shape = f"{layers}, width {config.d_model}, {config.n_heads} heads"
    if config.n_kv_heads != config.n_heads:
        shape += f" ({config.n_kv_heads} of keys and values)"
    kind = TOKENIZERS.get(tokenizer.kind, "of another model")
    rows = [
        ("architecture", f"`{config.family}`: {shape}"),
        ("parameters", f"{count(config).n_parameters:,}"),
        ("context", f"{config.context_length:,} tokens"),
        ("tokenizer", f"{tokenizer.vocab_size:,} tokens: {kind}"),
        ("training steps", f"{facts.step:,}"),
    ]
    if facts.style is not None:
        name = "a Jinja template of its own" if facts.style.name.startswith("jinja:") else f"`{facts.style.name}`"
        rows.append(
            ("prompt style", f"{name}, in `chat_template.jinja`; an answer ends with `{facts.style.end_token}`")
        )
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def learned_from(facts: CardFacts) -> Iterator[str]:
    """A line for each run's data, the oldest first."""
    for record in facts.records:
        data = record.get("data") or {}
        if not data.get("name"):
            continue
        corpus = corpus_of(data)
        amounts = []
        if "train_bytes" in data:
            amounts.append(f"{data['train_bytes']:,} bytes")
        if "train_tokens" in data:
            amounts.append(f"{data['train_tokens']:,} tokens")
        if "n_train" in data:
            rows = "labelled texts" if record.get("kind") == "classifier" else "rows"
            amounts.append(f"{data['n_train']:,} {rows} to learn from")
        how = how_long(record)
        words = f"- {KINDS_OF_TRAINING.get(str(record.get('kind')), 'Training')}: `{data['name']}`"
        words += f" ({', '.join(amounts)})" if amounts else ""
        words += f", {how}" if how else ""
        yield f"{words}. {about(corpus)}".rstrip() if corpus else f"{words}."


KINDS_OF_TRAINING = {
    "base": "Pretraining", "classifier": "Fine-tuning to classify", "instruct": "Fine-tuning to answer",
    "preferred": "Preferences",
}  # fmt: skip


def about(corpus: Corpus) -> str:
    """What the catalogue knows of a corpus."""
    licence = "" if corpus.licence == "that of Vidro" else f" Licence: {corpus.licence}."
    return f"{corpus.about}{licence}"


def corpus_of(data: Mapping[str, Any]) -> Corpus | None:
    """The named corpus that a run learned from: known by its name, or by the checksum of its file."""
    named = CORPORA.get(str(data.get("source")))
    sha256 = data.get("sha256")
    known = (corpus for corpus in CORPORA.values() if any(sha256 and file.sha256 == sha256 for file in corpus.files))
    return named or next(known, None)


def how_long(record: Mapping[str, Any]) -> str:
    """How much of it was read, and for how long."""
    results = record.get("results") or {}
    words = []
    if "epochs" in results:
        words.append(f"{results['epochs']:.3g} epochs")
    if "tokens" in results:
        words.append(f"{results['tokens']:,} tokens read")
    if "minutes" in results:
        words.append(f"{results['minutes']:.3g} minutes")
    return ", ".join(words)


def scores(facts: CardFacts) -> Iterator[str]:
    """What the record says the model reached; nothing for another step than the one that was scored."""
    results = facts.record.get("results") or {}
    if not facts.scored:
        return
    if (bits := results.get("val_bits_per_byte")) is not None:
        of = "on its validation text" if results.get("full") else "on a part of its validation text"
        more = f" ({results['val_n_bytes']:,} bytes)" if "val_n_bytes" in results else ""
        perplexity = results.get("val_perplexity")
        also = f"; perplexity {perplexity:,.2f} per token" if perplexity is not None else ""
        yield f"- {bits:.3f} bits per byte {of}{more}{also}."
    test = results.get("test")
    if isinstance(test, Mapping) and "accuracy" in test:
        line = f"- Accuracy {test['accuracy']:.1%} on {test['n']:,} test texts"
        if (bounds := test.get("accuracy_interval")) is not None:
            line += f" (95 % interval {bounds[0]:.1%} to {bounds[1]:.1%})"
        if (other := results.get("bag_of_words")) is not None:
            line += f"; bag-of-words regression on the same: {other['accuracy']:.1%}"
        yield f"{line}."
    answers = results.get("answers")
    if isinstance(answers, Mapping) and "exact" in answers:
        exact = answers["exact"]
        between = f"95 % interval {exact['low']:.1%} to {exact['high']:.1%}"
        yield f"- {exact['mean']:.1%} of {answers['n']:,} test answers are exactly right ({between})."


def usage(facts: CardFacts) -> str:
    """Lines of Python that work."""
    lines = [f"name = {json.dumps(facts.name, ensure_ascii=False)}"]
    if facts.config.labels:
        text = sayable(facts.tokenizer, MESSAGE)
        lines = [
            "from transformers import pipeline", "", *lines,
            'classify = pipeline("text-classification", model=name)',
            f"print(classify({json.dumps(text, ensure_ascii=False)}, truncation=True))",
        ]  # fmt: skip
        return fenced(lines)
    lines = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer", "", *lines,
        "tokenizer = AutoTokenizer.from_pretrained(name)",
        "model = AutoModelForCausalLM.from_pretrained(name)",
    ]  # fmt: skip
    room = max(1, min(100, facts.config.context_length // 2))
    if facts.style is not None:
        question = json.dumps(sayable(facts.tokenizer, QUESTION), ensure_ascii=False)
        lines += [
            f'messages = [{{"role": "user", "content": {question}}}]',
            "inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, "
            'return_tensors="pt")',
        ]
    else:
        prompt = json.dumps(sayable(facts.tokenizer, PROMPT, most=room), ensure_ascii=False)
        lines += [
            "# a text begins after the end of the one before it",
            f'inputs = tokenizer(tokenizer.eos_token + {prompt}, return_tensors="pt")',
        ]
    lines += [
        f"written = model.generate(**inputs, max_new_tokens={room}, do_sample=True, temperature=0.8)",
        'print(tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
    ]
    return fenced(lines)


def sayable(tokenizer: Tokenizer, text: str, *, most: int | None = None) -> str:
    """The text, or the longest beginning of it that this vocabulary knows (and that has at most `most` tokens)."""
    for end in range(len(text), 0, -1):
        try:
            n_tokens = len(tokenizer.encode(text[:end]))
        except TokenizerError:
            continue
        if most is None or n_tokens <= most:
            return text[:end]
    return ""


def licence(facts: CardFacts) -> str:
    """What its maker said, and the licences of the texts that it learned from, where they are known.

    A licence of the model does not follow from them: who made it chooses one, or none.
    """
    said = f"The model: {facts.license}." if facts.license else "The model: no licence was named by who made it."
    known, unknown = {}, []
    for data in (record.get("data") or {} for record in facts.records):
        corpus = corpus_of(data) if data.get("name") else None
        if corpus is not None:
            known[corpus.name] = corpus.licence
        elif data.get("name"):
            unknown.append(str(data["name"]))
    if any("imported" in record for record in facts.records):
        unknown.append("what the imported model learned from")
    texts = [f"{name}: {under}" for name, under in known.items()]
    texts += [f"{name}: unknown here" for name in dict.fromkeys(unknown)]
    return "\n".join([f"- {said}", *(f"- Texts, {line}." for line in texts)])


def licence_of(said: str | None) -> str | None:
    """A licence's name as the hub writes it. Raises UsageError for what cannot be one."""
    if said is None or re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", said.lower()):
        return None if said is None else said.lower()
    hint = "Such as apache-2.0, mit, cc-by-4.0 or cc-by-nc-4.0; other for one of your own."
    raise UsageError(f"{said!r} is not the name of a licence", where="license", hint=hint)


def languages_of(said: str | None) -> tuple[str, ...]:
    """Codes of languages, separated by commas. Raises UsageError for what cannot be one."""
    codes = () if said is None else tuple(code.strip().lower() for code in said.split(","))
    wrong = next((code for code in codes if not re.fullmatch(r"[a-z]{2,3}", code)), None)
    if wrong is not None:
        hint = "Two or three letters (ISO 639): en, pt; several with commas between them."
        raise UsageError(f"{wrong!r} is not the code of a language", where="language", hint=hint)
    return codes


def fenced(lines: Sequence[str]) -> str:
    """A block of Python."""
    return "\n".join(["```python", *lines, "```"])


def limits(facts: CardFacts) -> Iterator[str]:
    """What follows from how it was made."""
    n_parameters = count(facts.config).n_parameters
    if n_parameters < SMALL and facts.kind == "base":
        yield "- It is small: it writes like its training text, and knows nothing of the world beyond that text."
    elif n_parameters < SMALL and facts.style is not None:
        yield "- It is small: what it answers may be wrong, and is not to be relied on."
    if facts.kind == "classifier":
        yield "- It always names one of its classes, also for texts that are like none of those it learned from."
    if (pieces := {"words": "words", "chars": "characters"}.get(facts.tokenizer.kind)) is not None:
        yield f"- Its vocabulary has only the {pieces} of its training text."
    if facts.style is not None and facts.style.stop_strings:
        stops = ", ".join(f"`{stop}`" for stop in facts.style.stop_strings)
        yield f"- Where it begins to ask the next question itself, stop it at {stops}."
    yield f"- It sees at most {facts.config.context_length:,} tokens at once."
    if facts.config.labels:
        return
    yield (
        "- In a text that you encode yourself, names of special tokens such as `<|endoftext|>` become those tokens; "
        "`tokenizer(text, split_special_tokens=True)` reads them as text, which is how Vidro reads them."
    )
