"""Tests of evaluation settings: storage, defaults of older files, and engine names of version 0.1."""

from __future__ import annotations

import pytest

from landscape.evaluation.config import EvaluationConfig


def test_config_json_round_trip():
    config = EvaluationConfig(dtype="float64", batch_size=3, engine="mlp", paired=True, stop_above=2.0)
    assert EvaluationConfig.from_json(config.to_json()) == config


def test_config_defaults_for_missing_and_unknown_fields():
    assert EvaluationConfig.from_json({"dtype": "float64", "later": 1}) == EvaluationConfig(dtype="float64")


@pytest.mark.parametrize(
    ("old", "new"), [("plain", "eager"), ("folded", "bn_folded"), ("dense", "mlp"), ("grouped", "batched_mlp")]
)
def test_engine_names_of_0_1(old, new):
    assert EvaluationConfig(engine=old) == EvaluationConfig(engine=new)
    assert EvaluationConfig.from_json({"engine": old}).to_json()["engine"] == new


@pytest.mark.parametrize("wrong", [{"dtype": "int8"}, {"bn": "batch"}, {"engine": "fast"}, {"threads": 0}])
def test_invalid_config(wrong):
    with pytest.raises(ValueError, match=r"expected .*, got "):
        EvaluationConfig(**wrong)
