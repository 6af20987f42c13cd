"""The class head: a language model's body with a small matrix that scores classes instead of next tokens.

    ids ─ body ─ vectors ─ the one of the last real token ─ head [classes, D] ─ logits ─ softmax ─ probabilities

The last token is the only one that has seen the whole text, since attention looks back only; for the same reason
padding behind it changes nothing. The head has no bias, as in `...ForSequenceClassification` of Transformers, and
begins at zero: every class equally probable, whatever the text.

Which token is read stands in the targets: `IGNORE` everywhere but at a text's last token, where the class is. So the
loss is the one of `loss`, and a step counts texts as it counts tokens elsewhere.
Not here: training (`vidro.train.classify`), names of classes in files (`vidro.checkpoint.huggingface`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vidro.config.schema import ModelConfig
from vidro.core.errors import UsageError
from vidro.core.shapes import Float, Int
from vidro.model.loss import IGNORE, next_token_loss
from vidro.model.transformer import Transformer

TRAINABLE = ("all", "head", "last-blocks=N", "lora")


def with_class_head(model: Transformer, labels: tuple[str, ...]) -> Transformer:
    """The same body with a head for `labels`, zero; the given model is not changed."""
    classifier = Transformer(classifier_config(model.config, labels))
    body = {name: tensor for name, tensor in model.state_dict().items() if name != "head.weight"}
    classifier.load_state_dict(body, strict=False)
    nn.init.zeros_(classifier.head.weight)
    return classifier


def classifier_config(config: ModelConfig, labels: tuple[str, ...]) -> ModelConfig:
    """The shape of the classifier made from a language model of this shape."""
    return replace(config, labels=labels, tie_embeddings=False)


def class_logits(model: Transformer, ids: Int[Tensor, "B T"], last: Int[Tensor, "B"]) -> Float[Tensor, "B C"]:
    """Scores of each class for each row, read at its token number `last` (from 0)."""
    hidden = model.hidden(ids)
    return model.head(hidden[torch.arange(len(ids), device=ids.device), last])


def class_loss(
    model: Transformer,
    ids: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
    class_weights: Float[Tensor, "C"] | None = None,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """(sum of nats, number of texts); with `class_weights` each text's nats are multiplied by its class's."""
    counted = targets != IGNORE
    return next_token_loss(model.head(model.hidden(ids)[counted]), targets[counted], class_weights=class_weights)


def choose_trainable(model: nn.Module, which: str) -> None:
    """Let only a part of the model learn: ``all``, ``head``, or ``last-blocks=N``, which is those, norm and head.

    Raises UsageError for anything else, and for more blocks than there are.
    """
    learns = learning_part(model, which)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(learns))


def learning_part(model: nn.Module, which: str) -> tuple[str, ...]:
    """How the names of the parameters that learn begin."""
    if which == "all":
        return ("",)
    if which == "head":
        return ("head.",)
    name, _, number = which.partition("=")
    if name != "last-blocks" or not number.isdecimal() or int(number) < 1:
        raise UsageError(f"{which!r} is not possible", where="trainable", hint=f"Possible: {', '.join(TRAINABLE)}.")
    assert isinstance(model, Transformer)
    n_blocks, wanted = len(model.blocks), int(number)
    if wanted > n_blocks:
        raise UsageError(f"the model has {n_blocks} blocks only", where="trainable", hint="Say all for all of it.")
    return (*(f"blocks.{n}." for n in range(n_blocks - wanted, n_blocks)), "final_norm.", "head.")
