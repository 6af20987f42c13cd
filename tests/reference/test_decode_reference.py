"""Our greedy continuation against `generate` of `transformers`, with the same weights, from the files we write."""

from __future__ import annotations

import pytest
import torch

from vidro.checkpoint.huggingface import write_model
from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.infer.decode import decode
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

PROMPT = [5, 66, 17, 230]


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_tokens(family, penalty, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = build_bytes()
    model = Transformer(
        ModelConfig(
            family=family, vocab_size=tokenizer.vocab_size, context_length=64, d_model=32, n_layers=2, n_heads=4,
            n_kv_heads=4 if family == "gpt2" else 2, d_head=8, d_ff=48,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.4, generator=generator)
    write_model(tmp_path, model, tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).generate(
        torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long),
        max_new_tokens=40, do_sample=False, repetition_penalty=penalty, eos_token_id=None,
    )  # fmt: skip
    options = SamplingOptions(greedy=True, max_tokens=40, repetition_penalty=penalty)
    ours = [step.id for step in decode(model, [PROMPT], options, eot_id=None)]
    assert ours == theirs[0, len(PROMPT) :].tolist()
