"""Exercises of training and fine-tuning: usual mistakes are named, other sensible forms pass.

The solutions are our own rungs, with one thing made wrong.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from tests.learn.grading import problem_of

from vidro.learn.exercise import load_exercise

MISTAKES = [
    ("training", "targets[..., None]).mean()", "targets[..., None]).sum()", "sum over tokens"),
    ("training", "model(ids).log_softmax", "model(ids).softmax(dim=-1).log_softmax", "softmax is taken twice"),
    ("training", "return -log_probabilities", "return log_probabilities", "the sign is wrong"),
    ("training", "targets[..., None]).mean()", "targets[..., None]).mean().detach()", "has no gradient"),
    ("training", ".item() * targets.numel()\n        n_tokens += targets.numel()", ".item()\n        n_tokens += 1",
     "a short batch weighs as much"),
    ("training", "    model.eval()\n", "", "dropout is still on"),
    ("training", "    model.train(was_training)\n", "", "left it in eval mode"),
    ("training", "@torch.no_grad()\ndef evaluate", "def evaluate", "gradients are prepared"),
    ("training", "optimizer.zero_grad()  #", "pass  #", "the gradients of earlier steps add up"),
    ("training", "loss.backward()\n", "loss.backward()\n        optimizer.zero_grad()\n", "nothing moves"),
    ("training", "        if look is not None:", "        return losses\n        if look is not None:",
     "inside the loop"),
    ("training", "losses.append(loss.item())", "losses.append(loss)", "keeps its whole computation"),
    ("training", "losses.append(loss.item())", "losses.append(0.5)", "the losses are not right"),
    ("training", "        model.train()\n", "", "trained in it: dropout did nothing"),
    ("saving", '{f"mean.{i}": mean, f"square.{i}": square}', '{f"mean.{i}": mean, f"square.{i}": mean}',
     "not kept: the optimizer's mean of squares"),
    ("saving", "        mean.copy_(state", "        pass; (state", "not kept: the optimizer's mean of gradients"),
    ("saving", "    optimizer.steps = int", "    _ = int", "not kept: the optimizer's number of steps"),
    ("saving", "    dice.set_state(state", "    (state", "the state of the dice does not come back"),
    ("saving", "{name: numbers.clone() for name, numbers in kept.items()}", "kept", "Keep copies"),
    ("saving", "        mean.copy_(state[f\"mean.{i}\"])", "        optimizer.mean[i] = state[f\"mean.{i}\"]",
     "the second time another course comes out"),
    ("saving", "    beside.replace(path)", "    path.write_bytes(beside.read_bytes())",
     "leaves checkpoint.part behind"),
    ("saving", "    beside = path.with_name(path.name + \".part\")", "    beside = path", "was written over"),
    ("saving", "if hashlib.sha256(content).digest() != checksum:", "if not content:", "a ValueError is expected"),
    ("instructions", "### Instruction:\\n{entry", "### Instruction: {entry", "blanks or line ends"),
    ("instructions", "['instruction']}{given}\"", "['instruction']}{given}\\n\\n### Response:\\n\"",
     "is not part of the task"),
    ("instructions", " if entry.get(\"input\") else \"\"", "", "its heading is written all the same"),
    ("instructions", "inputs.append(full[:-1])", "inputs.append(full)", "the rows are too long"),
    ("instructions", "targets.append(full[1 :", "targets.append(full[0 :", "the targets are not right"),
    ("instructions", "n_learned = len(row) ", "n_learned = len(row) - 1 ", "would never stop"),
    ("instructions", "[IGNORE] * (length - 1 - n_learned)", "[pad_id] * (length - 1 - n_learned)",
     "the filling is learned"),
    ("instructions", "        inputs.append",
     "        if pad_id in row: row = row[: row.index(pad_id)]\n        inputs.append", "count places, not ids"),
    ("instructions", "* (n - 1) + list(row[n - 1 :])", "* n + list(row[n:])", "one too many is masked"),
    ("instructions", "[IGNORE] * (n - 1) + list(row[n - 1 :])", "list(row)", "nothing is masked"),
    ("lora", "torch.zeros(rank, out_dim)", "torch.ones(rank, out_dim)", "B does not begin at zero"),
    ("lora", "torch.randn(in_dim, rank)", "torch.zeros(in_dim, rank)", "A begins at zero too"),
    ("lora", "torch.randn(in_dim, rank)", "torch.randn(rank, in_dim)", "A has another size"),
    ("lora", "self.scale = alpha / rank", "self.scale = alpha", "not alpha"),
    ("lora", "self.scale = alpha / rank", "self.scale = 1.0", "the factor is missing"),
    ("lora", "return self.linear(x) + self.lora(x)", "return self.linear(x)", "the detour is not used"),
    ("lora", "linear.requires_grad_(False)", "linear", "the large matrix still learns"),
    ("lora", "one.weight += self.lora.change().T", "pass", "the detour is not in it"),
    ("lora", "one.load_state_dict(self.linear.state_dict())", "one = self.linear", "after merging"),
    ("lora", "            _replace(part, kind, make)", "            pass", "1 replaced"),
    ("lora", "    model.requires_grad_(False)\n", "", "how many numbers learn"),
    ("sampling", "- logits.max()) / temperature).softmax", "- logits.max()) * temperature).softmax", "are multiplied"),
    ("sampling", "- logits.max()) / temperature)", "- logits.max()))", "the temperature is not used"),
    ("sampling", "((logits - logits.max()) / temperature)", "(logits / temperature)", "nan comes out"),
    ("sampling", "torch.tensor(-torch.inf)", "torch.tensor(0.0)", "the others are 0"),
    ("sampling", "logits < least_kept", "logits <= least_kept", "one too few"),
    ("sampling", "min(k, len(logits)) - 1", "k - 1", "IndexError"),
    ("sampling", "int((ends <= dart).sum())", "int(probabilities.argmax())", "nothing is drawn"),
    ("sampling", "probabilities.double().cumsum", "torch.ones_like(probabilities).cumsum",
     "of probability 0 was drawn"),
    ("sampling", ", generator=dice)", ")", "others are thrown"),
    ("sampling", "    if temperature == 0:\n        return int(logits.argmax())\n", "", "temperature 0"),
    ("sampling", "if top_k > 0:", "if top_k > 9:", "with top_k=3 these tokens come"),
    ("classifier", "nn.init.zeros_(model.head.weight)", "pass", "does not begin at zero"),
    ("classifier", "n_classes, bias=False", "n_classes, bias=True", "the head has a bias"),
    ("classifier", "[len(row) - 1 for", "[len(row) for", "places count from 0"),
    ("classifier", "torch.tensor(last)]", "-1]", "at the last column"),
    ("classifier", "torch.tensor(last)]", "0]", "at its first token"),
    ("classifier", "scores[torch.arange(len(ids)), torch.tensor(last)]", "scores[:, torch.tensor(last)]",
     "at the places of all rows"),
    ("classifier", "labels[:, None]).mean()", "labels[:, None]).sum()", "it is the sum"),
    ("classifier", "argmax(dim=-1) == labels", "argmin(dim=-1) == labels", "the share of right rows"),
    ("classifier", "    model.requires_grad_(False)\n", "", "learns, and should not"),
    ("classifier", "(model.blocks[-1], model.final_norm, model.head)", "(model.blocks[-1], model.head)",
     "final_norm.scale does not learn"),
    ("dpo", "(each * answer).sum(dim=-1)", "(each * answer).sum(dim=-1) / answer.sum(dim=-1)",
     "it is the mean over the answer"),
    ("dpo", "(each * answer).sum(dim=-1)", "each.sum(dim=-1)", "the task is counted too"),
    ("dpo", "(each * answer).sum(dim=-1)", "(each * answer).sum()", "two rows give two numbers"),
    ("dpo", "reward_better - reward_worse)", "reward_worse - reward_better)", "are exchanged"),
    ("dpo", "beta * (worse - worse_before)", "beta * worse", "loss is ln 2"),
    ("dpo", "logsigmoid(reward_better - reward_worse)", "logsigmoid((reward_better - reward_worse) / beta)",
     "beta is missing"),
    ("dpo", "reward_better.detach().mean()", "reward_better.mean()", "keeps its whole computation"),
    ("dpo", "reward_better.detach().mean()", "reward_better.detach().mean() / beta", "the rewards are not right"),
    ("dpo", "nn.functional.logsigmoid(reward_better - reward_worse)",
     "(reward_better - reward_worse).sigmoid().log()", "no finite loss"),
    ("bigram", "counts[first, second] += 1", "counts[second, first] += 1", "rows and columns are exchanged"),
    ("bigram", "counts[first, second] += 1", "counts[first, second] = 1", "count how often"),
    ("bigram", "pairwise(ids)", "pairwise([*ids, ids[0]])", "the text is no circle"),
    ("bigram", "sum(dim=1, keepdim=True)", "sum(dim=0, keepdim=True)", "each column adds up to 1"),
    ("bigram", "    counts = counts + added\n", "", "`added` is not used"),
    ("bigram", "log().mean().item()", "log().sum().item()", "it is the sum"),
    ("bigram", "log().mean().item()", "log2().mean().item()", "to base 2"),
    ("bigram", "nn.Parameter(torch.zeros(vocab_size, vocab_size))",
     "nn.Parameter(torch.arange(16.0).view(4, 4))", "the probabilities at the beginning"),
    ("bigram", "return self.logits[ids]", "return self.logits[ids].cumsum(dim=1)", "the logits after the same token"),
    ("bigram", "return self.logits[ids]", "return self.logits[ids].softmax(dim=-1)", "after training the table is off"),
]  # fmt: skip

BOOKS = {
    "instructions": """
import torch

def format_input(entry):
    text = ("Below is an instruction that describes a task. Write a response that appropriately completes the task."
            f"\\n\\n### Instruction:\\n{entry['instruction']}")
    return text + (f"\\n\\n### Input:\\n{entry['input']}" if entry["input"] else "")

def custom_collate_fn(batch, pad_token_id=9, ignore_index=-100, allowed_max_length=None, device="cpu"):
    longest = max(map(len, batch)) + 1
    inputs, targets = [], []
    for row in batch:
        padded = torch.tensor(row + [pad_token_id] * (longest - len(row)))
        target = padded[1:].clone()
        target[len(row):] = ignore_index
        inputs.append(padded[:-1])
        targets.append(target)
    return torch.stack(inputs).to(device), torch.stack(targets).to(device)

def mask_prompts(targets, n_prompt):
    targets = torch.as_tensor(targets)
    for row, n in zip(targets, n_prompt):
        row[: n - 1] = -100
    return targets
""",
    "training": """
import torch

def calc_loss_batch(input_batch, target_batch, model, device):
    logits = model(input_batch.to(device))
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target_batch.flatten())

def calc_loss_loader(data_loader, model, device, num_batches=None):
    training, total, n = model.training, 0.0, 0
    model.eval()
    with torch.no_grad():
        for x, y in data_loader:
            total += calc_loss_batch(x, y, model, device).item() * y.numel()
            n += y.numel()
    model.train(training)
    return total / n

def train(model, optimizer, batches):
    losses = []
    for x, y in batches:
        model.train()
        optimizer.zero_grad()
        loss = calc_loss_batch(x, y, model, "cpu")
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
""",
    "bigram": """
import torch
from torch import nn

def count_pairs(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.long)
    for a, b in zip(ids, ids[1:]):
        counts[a, b] += 1
    return counts

def shares(counts, added=0.0):
    return (counts + added) / (counts + added).sum(1, keepdim=True)

def table_loss(table, ids):
    return -sum(table[a, b].log() for a, b in zip(ids, ids[1:])) / (len(ids) - 1)

class BigramLanguageModel(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)
        nn.init.zeros_(self.table.weight)

    def forward(self, idx):
        return self.table(idx)
""",
}


def rung(name: str) -> str:
    """The source of our own solution."""
    path = importlib.import_module(load_exercise(name).solution).__file__
    assert path is not None
    return Path(path).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BOOKS)
def test_other_sensible_forms_pass(name: str, tmp_path: Path) -> None:
    assert problem_of(name, BOOKS[name], tmp_path) is None


@pytest.mark.parametrize(("name", "right", "wrong", "named"), MISTAKES)
def test_mistakes_are_named(name: str, right: str, wrong: str, named: str, tmp_path: Path) -> None:
    source = rung(name)
    assert right in source, "the right form is to be found"
    problem = problem_of(name, source.replace(right, wrong), tmp_path)
    assert problem is not None
    assert named in problem
