"""Metadata of surfaces: round trips through JSON and HDF5 attributes, defaults, and comparison of settings."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from landscape._utils.provenance import Environment
from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.recipe import DirectionRecipe
from landscape.surface.metadata import CheckpointReference, Header, SurfaceMetadata
from landscape.surface.settings import SweepSettings

SETTINGS = SweepSettings(
    axes=("-1:1:5", "0:1:3"),
    metrics=("train_loss",),
    samples={"train": 50},
    data={"train": "a" * 64},
    origin="b" * 64,
    directions=("c" * 64, "d" * 64),
    fixed="e" * 64,
    batch_size=32,
    engine="batched_mlp",
    problem={"model": "mlp", "model_args": {"widths": [4]}},
    split="train",
    axes_are=("random, seed 0", "random, seed 0"),
    other={"note": 1},
)
METADATA = SurfaceMetadata(
    SETTINGS,
    title="a net",
    recipes=(DirectionRecipe("random", seed=0, axis=0, normalization="filter", ignore="biasbn"),),
    checkpoint=CheckpointReference("run/checkpoints/step-00000012.pt", 12, 3.0),
    problem={"model": "mlp", "samples": 100},
    environment=Environment("landscape surface run", "host", "3.11", {"torch": "2.13", "mpi4py": None}, None),
    precision={"dtype": "bfloat16", "largest": 0.01, "points": [[0.0, 0.0]]},
    origin_values={"train_loss": 0.5},
    cosines={"xy": 0.25},
    metrics=("train_loss",),
    started="2026-01-01T00:00:00+00:00",
    merged_from=("a.h5", "b.h5"),
    format="landscape-surface",
    format_version=1,
    other={"formula": "x^2"},
)


def test_settings_cover_evaluation_config():
    """Settings repeat the fields of EvaluationConfig, with the same defaults; a new one must be added to both."""
    settings = {field.name: field for field in fields(SweepSettings)}
    for field in fields(EvaluationConfig):
        # A file holds the type that "auto" has become; one that lacks it was computed in float32.
        default = "float32" if field.name == "dtype" else field.default
        assert settings[field.name].default == default, field.name


def test_settings_round_trip():
    stored = json.loads(json.dumps(SETTINGS.to_json()))
    assert SweepSettings.from_json(stored) == SETTINGS
    assert list(SweepSettings.from_json(stored).to_json()) == list(stored)


def test_settings_json_has_keys_of_0_1_in_order():
    optional = {"seeds": [4, 5]}
    assert list(replace(SETTINGS, seeds=(4, 5)).to_json()) == [
        "axes", "metrics", "samples", "data", "origin", "directions", *optional, "fixed", "device", "dtype",
        "batch_size", "threads", "bn", "bn_samples", "engine", "paired", "stop_above", "problem", "split", "axes_are",
        "note",
    ]  # fmt: skip
    assert set(SETTINGS.to_json()) == set(replace(SETTINGS, seeds=(4, 5)).to_json()) - set(optional)


def test_settings_of_file_write_only_keys_of_file():
    """A surface without a sweep (of a function) has settings of its own, and keeps them as they are."""
    assert SweepSettings.from_json({"formula": "x^2"}).to_json() == {"formula": "x^2"}
    assert SweepSettings.from_json({"engine": "grouped", "dtype": "float64"}).to_json() == {
        "engine": "grouped",
        "dtype": "float64",
    }


@pytest.mark.parametrize("missing", ["paired", "stop_above", "bn_samples", "threads", "dtype", "seeds", "axes_are"])
def test_missing_setting_equals_default(missing):
    plain = replace(SETTINGS, axes_are=())
    stored = {key: value for key, value in plain.to_json().items() if key != missing}
    assert plain.differences(SweepSettings.from_json(stored)) == []


def test_engine_names_of_0_1_compare_equal():
    for old, new in {"plain": "eager", "folded": "bn_folded", "dense": "mlp", "grouped": "batched_mlp"}.items():
        stored = SweepSettings.from_json({**SETTINGS.to_json(), "engine": old})
        assert replace(SETTINGS, engine=new).differences(stored) == []
    stored = SweepSettings.from_json({**SETTINGS.to_json(), "engine": "plain"})
    assert replace(SETTINGS, engine="mlp").differences(stored) == [("engine", "mlp", "eager")]


def test_differing_settings_are_named_in_words():
    header = Header((np.arange(3.0),), ("train_loss",), replace(METADATA, settings=replace(SETTINGS, dtype="float64")))
    stored = replace(SETTINGS, other={"note": 1, "newer": True}, origin="f" * 64)
    with pytest.raises(StoreError) as refused:
        header.require_settings(stored, "s.h5")
    message = str(refused.value)
    assert message.startswith("s.h5 was made with other settings: ")
    assert "dtype: the file has 'float32', this sweep uses 'float64'" in message
    assert "origin: the file has other weights at the origin; " in message
    assert "newer: the file has True, this sweep uses None" in message
    assert "--" not in message, "the library does not name options of the command line"
    assert "engine" not in message


def test_metadata_round_trip_through_attributes():
    attributes = METADATA.to_attributes()
    assert all(isinstance(value, str | int | float) for value in attributes.values())
    assert SurfaceMetadata.from_attributes(attributes) == METADATA
    assert attributes["commit"] == "null"
    assert attributes["finished"] == ""
    assert attributes["cosine_xy"] == 0.25
    assert json.loads(attributes["recipes"])[0]["kind"] == "random"


def test_metadata_of_unknown_checkpoint():
    attributes = SurfaceMetadata(checkpoint=CheckpointReference("a.pt")).to_attributes()
    assert attributes["checkpoint_step"] == -1
    assert math.isnan(attributes["checkpoint_epoch"])
    assert SurfaceMetadata.from_attributes(attributes).checkpoint == CheckpointReference("a.pt")


def test_metadata_keeps_unknown_attributes():
    found = SurfaceMetadata.from_attributes({"mine": "[1, 2]", "text": "[not JSON", "title": "t", "settings": "none"})
    assert found.title == "t"
    assert found.other == {"mine": [1, 2], "text": "[not JSON", "settings": "none"}
    assert found.settings is None


def test_empty_metadata_has_no_attributes():
    assert SurfaceMetadata().to_attributes() == {}
    assert SurfaceMetadata.from_attributes({}) == SurfaceMetadata()
