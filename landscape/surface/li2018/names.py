"""Parsing the names of Li et al.'s files: directions, ranges and training run.

Their scripts store no settings in a file; its name is the only record::

    <checkpoint>_weights_xignore=biasbn_xnorm=filter_yignore=biasbn_ynorm=filter.h5_[-1.0,1.0,51]x[-1.0,1.0,51].h5

A name ends in ``.h5``; the part before another ``.h5_`` is the name of the file that it was made from.
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
_PAIR = re.compile(rf"^(?P<origin>.+?{_CHECKPOINT})_(?P<to>.+{_CHECKPOINT})$")
_RUN = re.compile(
    r"(?P<model>[a-z]+[0-9]+(?:_[0-9]+)?(?:_noshort)?)_(?P<optimizer>sgd|adam)_lr=(?P<lr>[^_/]+)"
    r"(?:_lr_decay=(?P<lr_decay>[^_/]+))?_bs=(?P<batch_size>\d+)_wd=(?P<weight_decay>[^_/]+)(?:_mom=(?P<momentum>[^_/]+))?"
)
_EPOCH = re.compile(r"model_(\d+)\.t7")
_NORMALIZATIONS = {"": "none", "dfilter": "unit-filter", "dlayer": "unit-layer"}  # the others have the same names here


@dataclass(frozen=True)
class LiName:
    """Parts of the name of a file of Li et al.

    Attributes:
        kind: kind of the file: ``surface``, ``projection`` or ``directions``.
        axes: axes of a surface, in the form of :class:`landscape.sweep.grid.Axis`: ``("-1:1:51", "-1:1:51")``.
        recipes: recipe of each direction; ``to`` is part of the name only. Empty if the name does not say.
        states: True if directions include running statistics.
        checkpoint: file of the checkpoint at the origin, with as much of its path as the name holds.
        epoch: epoch of that checkpoint; None if its name does not say.
        run: hyperparameters in the name of the run directory, as text: ``model``, ``optimizer``, ``lr``, ...
        index: number of the repetition. It is not part of their random seed, so all repetitions are equal.
        raw_data: True if inputs were not normalized.
        part: ``(i, n)`` for the i-th of n parts of the data set; None for all of it.
        projection: method of a projection file, ``cos`` or ``lstsq``.
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
    """Parse the name of a file of Li et al.

    Args:
        path: name of the file, with as many directories as are known: their scripts join them into the name.

    Returns:
        The parts of the name; None if the name is not one of theirs.
    """
    path = path.replace("\\", "/")
    facts: dict[str, Any] = {"kind": "directions"}
    if match := _SURFACE.match(path):
        facts = {
            "kind": "surface",
            "axes": tuple(_axis_text(text) for text in (match["x"], match["y"]) if text),
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


def metadata_from_name(path: str) -> dict[str, Any]:
    """Return what the name of a surface file says, as attributes of a surface file of this program; may be empty."""
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


def _axis_text(axis: str) -> str:
    low, high, count = axis.strip("[]").split(",")
    return f"{float(low):g}:{float(high):g}:{int(count)}"


def _directions(path: str, axes: int) -> dict[str, Any] | None:
    """Parse the name of a direction file; ``axes`` is the number of axes of the surface, 0 if unknown."""
    if match := _PRINCIPAL.match(path):
        recipe = DirectionRecipe("pca", ignore=match["ignore"] or "none")
        return {"recipes": (recipe, recipe), "states": match["type"] == "states", "run": _run(match["run"] or "")}
    match = _DIRECTIONS.match(path)
    if not match or not (re.search(_CHECKPOINT, match["checkpoints"]) or "=" in path):
        return None
    pair = _PAIR.match(match["checkpoints"])
    origin = pair["origin"] if pair else match["checkpoints"]
    to = {"x": pair["to"] if pair else "", "y": match["to"].strip("_/")}
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
                normalization=_normalization(match[f"{source}norm"]),
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


def _normalization(name: str | None) -> str:
    return _NORMALIZATIONS.get(name or "", name or "none")


def _run(path: str) -> dict[str, str]:
    match = _RUN.search(path)
    return {key: value for key, value in match.groupdict().items() if value is not None} if match else {}
