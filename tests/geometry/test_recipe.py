"""Tests of direction recipes: storage of known and unknown entries, and phrases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.geometry.recipe import DirectionRecipe, MovingCount, describe_moving, describe_patterns

KEYS = st.sampled_from(["kind", "seed", "axis", "to", "only", "orthogonalized", "explained_variance", "extra", "later"])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3),
    st.lists(st.text(max_size=3), max_size=2), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(st.dictionaries(KEYS, VALUES))
def test_recipe_json_round_trip(stored):
    recipe = DirectionRecipe.from_json(stored)
    assert recipe.to_json() == stored
    assert list(recipe.to_json()) == list(stored), "in the order of the file"
    assert DirectionRecipe.from_json(recipe.to_json()) == recipe


def test_recipe_fields_and_extra_entries():
    recipe = DirectionRecipe.from_json({"kind": "random", "seed": 3, "only": ["a*"], "later": [1], "axis": "x"})
    assert (recipe.kind, recipe.seed, recipe.only) == ("random", 3, ("a*",))
    assert recipe.axis is None
    assert recipe.extra == {"later": [1], "axis": "x"}


def test_changes_are_recorded_in_order():
    recipe = DirectionRecipe("random", seed=3, axis=1).with_changes(ignore="none").with_changes(normalization="filter")
    assert list(recipe.to_json()) == ["kind", "seed", "axis", "ignore", "normalization"]
    assert list(recipe.with_changes(ignore="biasbn").to_json()) == list(recipe.to_json())
    with pytest.raises(TypeError, match="sed"):
        recipe.with_changes(sed=1)


FILTER = {"kind": "random", "seed": 3, "normalization": "filter", "ignore": "biasbn"}
PHRASES = [
    (FILTER, "random, seed 3, filter normalization, ignoring biasbn", ""),
    ({"kind": "difference", "to": "b.pt"}, "to another checkpoint", "to b.pt"),
    ({"kind": "file", "file": "d.h5", "only": ["a*", "b*"]}, "from a file", "from d.h5, only a*, b*"),
    ({**FILTER, "freeze": ["*.bias"], "orthogonalized": True}, "random, seed 3, filter normalization, ignoring biasbn",
     "random, seed 3, filter normalization, ignoring biasbn, freezing *.bias, orthogonalized"),
    ({"kind": "pca", "axis": 1, "explained_variance_ratio": 0.125}, "principal component 2, 12.5% of the variance", ""),
    ({}, "unknown", ""),
    ({"kind": "tensors", "normalization": "none"}, "tensors", ""),
]  # fmt: skip


@pytest.mark.parametrize(("stored", "phrase", "description"), PHRASES)
def test_recipe_phrases(stored, phrase, description):
    recipe = DirectionRecipe.from_json(stored)
    assert recipe.stored_phrase() == phrase, "the wording of 0.1, which files are compared by"
    assert recipe.describe() == (description or phrase)


def test_recipe_phrase_for_several_seeds():
    assert DirectionRecipe("random", seed=3).describe(several_seeds=True) == "random"


RANDOM = DirectionRecipe("random", seed=0, normalization="filter", ignore="biasbn")
LORA = RANDOM.with_changes(only=("*lora_*",))
TARGET = DirectionRecipe("difference", to="b", normalization="none")
MERGED = DirectionRecipe("merged", normalization="none")
TRAINED = RANDOM.with_changes(only=("trainable",))


@pytest.mark.parametrize(
    ("recipes", "count", "words", "patterns"),
    [
        ([RANDOM, RANDOM], None, "ignoring biases and batch norm", ""),
        ([LORA, LORA], None, "only *lora_*, ignoring biases and batch norm", "only *lora_*"),
        ([LORA, LORA], (1024, 29568), "1,024 of 29,568 parameters: only *lora_*, ignoring biases and batch norm",
         "only *lora_*"),
        ([TARGET], (29568, 29568), "29,568 parameters", ""),
        ([TARGET], None, "all parameters", ""),
        ([], None, "all parameters", ""),
        ([TARGET, RANDOM], None, "random directions ignoring biases and batch norm", ""),
        ([TARGET.with_changes(only=("a",), freeze=("b", "c"))], None, "only a, freezing b, c", "only a, freezing b, c"),
        ([MERGED, TRAINED], None, "only what the adapter changes, random directions ignoring biases and batch norm",
         "only what the adapter changes"),
        ([MERGED, MERGED], None, "only what the adapters change", "only what the adapters change"),
        ([MERGED, RANDOM], None, "random directions ignoring biases and batch norm", ""),
        ([TRAINED], None, "only trainable, ignoring biases and batch norm", "only trainable"),
    ],
)  # fmt: skip
def test_moving_parameters_in_words(recipes, count, words, patterns):
    assert describe_moving(recipes, None if count is None else MovingCount(*count)) == words
    assert describe_patterns(recipes) == patterns
