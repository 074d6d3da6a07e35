"""What the names of Li et al.'s files say: how a direction was made, over which range, from which training run.

Their scripts keep no settings inside of a file; its name is the only record::

    <checkpoint>_weights_xignore=biasbn_xnorm=filter_yignore=biasbn_ynorm=filter.h5_[-1.0,1.0,51]x[-1.0,1.0,51].h5

A name ends in ``.h5``; what stands before a further ``.h5_`` is the file that it was made from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from landscape.geometry.recipe import DirectionRecipe

_NUMBER = r"[-+0-9.e]+"
_AXIS = rf"\[({_NUMBER}),({_NUMBER}),(\d+)\]"
_SURFACE = re.compile(
    rf"^(?P<directions>.*)_(?P<x>{_AXIS})(x(?P<y>{_AXIS}))?(?P<raw>_rawdata)?"
    r"(_datasplit=(?P<parts>\d+)_splitidx=(?P<part>\d+))?\.h5$"
)
_PROJECTION = re.compile(r"^(?P<directions>.*)_proj_(?P<method>cos|lstsq)\.h5$")
_PRINCIPAL = re.compile(
    r"^(?P<run>.*?/)?PCA_(?P<type>weights|states)(_ignore=(?P<ignore>\w+?))?_save_epoch=(?P<every>\d+)/directions\.h5$"
)
_DIRECTIONS = re.compile(
    r"^(?P<checkpoints>.+)_(?P<type>weights|states)(_xignore=(?P<xignore>[a-z]+))?(_xnorm=(?P<xnorm>[a-z]+))?"
    r"(?P<to>.*?)(_yignore=(?P<yignore>[a-z]+))?(_ynorm=(?P<ynorm>[a-z]+))?(?P<same>_same_dir)?(_idx=(?P<idx>\d+))?"
    r"\.h5$"
)
_CHECKPOINT = r"\.(?:t7|pth|pt|pkl|tar|ckpt|bin)"
_TWO = re.compile(rf"^(?P<origin>.+?{_CHECKPOINT})_(?P<to>.+{_CHECKPOINT})$")
_RUN = re.compile(
    r"(?P<model>[a-z]+[0-9]+(?:_[0-9]+)?(?:_noshort)?)_(?P<optimizer>sgd|adam)_lr=(?P<lr>[^_/]+)"
    r"(?:_lr_decay=(?P<lr_decay>[^_/]+))?_bs=(?P<batch_size>\d+)_wd=(?P<weight_decay>[^_/]+)(?:_mom=(?P<momentum>[^_/]+))?"
)
_EPOCH = re.compile(r"model_(\d+)\.t7")
_NORMS = {"": "none", "dfilter": "unit-filter", "dlayer": "unit-layer"}  # where their words are not ours


@dataclass(frozen=True)
class LiName:
    """A file's name, taken apart.

    Attributes:
        kind: ``surface``, ``projection`` or ``directions``.
        axes: of a surface, as ours are typed: ``("-1:1:51", "-1:1:51")``.
        recipes: how each axis was made (``to`` as the name has it); empty where the name does not say.
        states: whether running statistics are among the directions.
        checkpoint: the file of the plane's origin, with as much of its path as the name holds.
        epoch: of that checkpoint, None where its name does not say.
        run: hyperparameters in the name of the training run's folder, as text: ``model``, ``optimizer``, ``lr``, ...
        index: the number of the repetition. It does not enter their random seed: all repetitions are equal.
        raw_data: inputs were not normalized.
        part: ``(i, n)`` of a split data set, None for all of it.
        projection: ``cos`` or ``lstsq``, of a projection file.
    """

    kind: str
    axes: tuple[str, ...] = ()
    recipes: tuple[DirectionRecipe, ...] = ()
    states: bool = False
    checkpoint: str = ""
    epoch: int | None = None
    run: dict[str, str] = field(default_factory=dict)
    index: int = 0
    raw_data: bool = False
    part: tuple[int, int] | None = None
    projection: str = ""


def parse_li_name(path: str) -> LiName | None:
    """What a name says, None where it is not one of theirs.

    Args:
        path: a file's name, with as many of its folders as are known: theirs run into the name.
    """
    path = path.replace("\\", "/")
    facts: dict[str, Any] = {"kind": "directions"}
    if match := _SURFACE.match(path):
        facts = {
            "kind": "surface",
            "axes": tuple(_typed(text) for text in (match["x"], match["y"]) if text),
            "raw_data": match["raw"] is not None,
            "part": (int(match["part"]), int(match["parts"])) if match["parts"] else None,
        }
        path = match["directions"]
    elif match := _PROJECTION.match(path):
        facts = {"kind": "projection", "projection": match["method"]}
        path = match["directions"]
    directions = _directions(path, len(facts.get("axes", ())))
    if directions is None:
        return None if facts["kind"] == "directions" else LiName(**facts)
    return LiName(**facts, **directions)


def recipe_of(path: str) -> dict[str, Any]:
    """What a surface file's name says, under the names that our own files use; empty where it says nothing."""
    name = parse_li_name(path)
    if name is None or name.kind != "surface":
        return {}
    found = {
        "recipes": [recipe.to_json() for recipe in name.recipes],
        "checkpoint": name.checkpoint,
        "checkpoint_epoch": name.epoch,
        "run": dict(name.run),
    }
    return {key: value for key, value in found.items() if value not in ([], "", None, {})}


def _typed(axis: str) -> str:
    low, high, count = axis.strip("[]").split(",")
    return f"{float(low):g}:{float(high):g}:{int(count)}"


def _directions(path: str, axes: int) -> dict[str, Any] | None:
    """What the name of a direction file says; ``axes`` is how many a surface has, 0 where that is not known."""
    if match := _PRINCIPAL.match(path):
        recipe = DirectionRecipe("pca", ignore=match["ignore"] or "none")
        return {"recipes": (recipe, recipe), "states": match["type"] == "states", "run": _run(match["run"] or "")}
    match = _DIRECTIONS.match(path)
    if not match or not (re.search(_CHECKPOINT, match["checkpoints"]) or "=" in path):
        return None
    two = _TWO.match(match["checkpoints"])
    origin = two["origin"] if two else match["checkpoints"]
    to = {"x": two["to"] if two else "", "y": match["to"].strip("_/")}
    if match["same"]:
        to["y"] = to["x"]
    has_y = axes == 2 or match["yignore"] or match["ynorm"] or match["same"] or to["y"]
    epoch = _EPOCH.search(origin)
    recipes = []
    for axis in "xy" if has_y else "x":
        source = "x" if match["same"] else axis
        recipes.append(
            DirectionRecipe("difference", to=to[axis], normalization="none")
            if to[axis]
            else DirectionRecipe(
                "random",
                normalization=_norm(match[f"{source}norm"]),
                ignore=match[f"{source}ignore"] or "none",
                same_direction=bool(match["same"]) and axis == "y",
            )
        )
    return {
        "recipes": tuple(recipes),
        "states": match["type"] == "states",
        "checkpoint": origin,
        "epoch": int(epoch[1]) if epoch else None,
        "run": _run(origin),
        "index": int(match["idx"] or 0),
    }


def _norm(word: str | None) -> str:
    return _NORMS.get(word or "", word or "none")


def _run(path: str) -> dict[str, str]:
    match = _RUN.search(path)
    return {key: value for key, value in match.groupdict().items() if value is not None} if match else {}
