from __future__ import annotations

from pathlib import Path

import pytest

from vidro.config.load import from_dict, leaves, resolve, to_dict, to_toml
from vidro.config.presets import PRESETS, preset
from vidro.config.schema import ModelConfig, PretrainOptions, SamplingOptions
from vidro.core.errors import UsageError


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[optim]\nlr = 1\nclip = 0.5\n[train]\nsample_prompts = ['a']\n")
    options = resolve(PretrainOptions, file=file, flags={"lr": 0.25, "steps": 7, "threads": None})
    assert (options.optim.lr, options.optim.clip, options.optim.beta2) == (0.25, 0.5, 0.95)
    assert options.train.sample_prompts == ("a",)
    assert options.budget.steps == 7


@pytest.mark.parametrize("settings", [*PRESETS.values(), PretrainOptions(), SamplingOptions(stop=("x",))])
def test_settings_survive_toml(settings: object, tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(to_toml(to_dict(settings)), encoding="utf-8")  # type: ignore[arg-type]
    assert resolve(type(settings), file=file) == settings  # type: ignore[type-var]
    assert from_dict(type(settings), to_dict(settings)) == settings  # type: ignore[type-var,arg-type]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"lr": 0}, "lr: 0.0 is too small. It must be greater than 0."),
        ({"lr": float("nan")}, "lr: nan is not a finite number"),
        ({"lrr": 1}, "there is no setting 'lrr'. Did you mean lr?"),
        ({"lr": "x"}, "lr: 'x' is not a float"),
        ({"steps": -1}, "steps: -1 is too small. It must be at least 1."),
        ({"steps": True}, "steps: True is not an int"),
        ({"steps": 1.5}, "steps: 1.5 is not an int"),
        ({"dropout": 1.5}, "dropout: 1.5 is too large. It must be at most 0.95."),
        ({"optimizer": "moun"}, "optimizer: 'moun' is not possible. Did you mean muon?"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(flags: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(PretrainOptions, flags=flags)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[optim]\nlearning = 1", "unknown key optim.learning"),
        ("[optimm]\nlr = 1", r"unknown key 'optimm'. Did you mean optim\?"),
        ("lr = 1", "unknown key 'lr'"),
        ("optim = 3", r"\[optim\] must be a table"),
        ("lr = = 1", "this is not a TOML file"),
    ],
)
def test_a_wrong_file_is_one_clear_line(toml: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(toml)
    with pytest.raises(UsageError, match=message) as error:
        resolve(PretrainOptions, file=file)
    assert "\n" not in str(error.value).split("(at line")[0]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.toml: there is no such file"):
        resolve(PretrainOptions, file=tmp_path / "no.toml")


def test_every_setting_has_help_and_a_name_of_its_own() -> None:
    for schema in (PretrainOptions, SamplingOptions, ModelConfig):
        for name, (_, field) in leaves(schema).items():
            assert field.metadata["help"].endswith("."), name


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"there is no preset 'gpt3'. Did you mean gpt2\?"):
        preset("gpt3")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_heads": 6, "n_kv_heads": 4}, "6 heads cannot share 4 key/value heads evenly"),
        ({"family": "gpt2", "d_head": 16}, "gpt2 needs n-kv-heads = n-heads"),
        ({"family": "llama", "d_head": 33}, "rotary positions need an even d-head"),
    ],
)
def test_sizes_that_make_no_model_are_refused(sizes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ModelConfig(**sizes)
