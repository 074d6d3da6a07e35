"""Names of Li et al.'s files: those of the published figures and scripts, and other names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from landscape.geometry.recipe import DirectionRecipe
from landscape.surface.li2018.names import metadata_from_name, parse_li_name

FILTER = DirectionRecipe("random", normalization="filter", ignore="biasbn")


def test_published_contour():
    name = parse_li_name(
        "resnet56_sgd_lr=0.1_bs=128_wd=0.0005/model_300.t7_weights_xignore=biasbn_xnorm=filter_yignore=biasbn_ynorm=filter"
        ".h5_[-1.0,1.0,51]x[-1.0,1.0,51].h5"
    )
    assert name.kind == "surface"
    assert name.axes == ("-1:1:51", "-1:1:51")
    assert name.recipes == (FILTER, FILTER)
    assert not name.states
    assert name.checkpoint == "resnet56_sgd_lr=0.1_bs=128_wd=0.0005/model_300.t7"
    assert name.epoch == 300
    assert name.run == {
        "model": "resnet56",
        "optimizer": "sgd",
        "lr": "0.1",
        "batch_size": "128",
        "weight_decay": "0.0005",
    }


def test_published_curve():
    name = parse_li_name(
        "cifar10/trained_nets/vgg9_sgd_lr=0.1_bs=128_wd=0.0_save_epoch=1/model_300.t7_weights_xignore=biasbn_xnorm=filter"
        ".h5_[-1.0,1.0,51].h5"
    )
    assert name.axes == ("-1:1:51",)
    assert name.recipes == (FILTER,)
    assert name.run["model"] == "vgg9"


def test_published_interpolation():
    name = parse_li_name(
        "vgg9_sgd_lr=0.1_bs=128_wd=0.0_save_epoch=1_model_300.t7_vgg9_sgd_lr=0.1_bs=8192_wd=0.0_save_epoch=1_model_300.t7"
        "_states.h5_[-0.5,1.5,401].h5"
    )
    assert name.states
    assert name.axes == ("-0.5:1.5:401",)
    assert name.checkpoint == "vgg9_sgd_lr=0.1_bs=128_wd=0.0_save_epoch=1_model_300.t7"
    to = "vgg9_sgd_lr=0.1_bs=8192_wd=0.0_save_epoch=1_model_300.t7"
    assert name.recipes == (DirectionRecipe("difference", to=to, normalization="none"),)
    assert name.run["batch_size"] == "128"


def test_three_checkpoints():
    name = parse_li_name("A/model_300.t7_model_10.t7_statesA/model_20.t7.h5_[-1.0,1.0,51]x[-1.0,1.0,51].h5")
    assert [recipe.to for recipe in name.recipes] == ["model_10.t7", "A/model_20.t7"]
    assert name.checkpoint == "A/model_300.t7"


@pytest.mark.parametrize(
    ("flags", "normalization"), [("", "none"), ("_xnorm=dfilter", "unit-filter"), ("_xnorm=dlayer", "unit-layer")]
)
def test_normalization_names(flags, normalization):
    name = parse_li_name(f"model_1.t7_weights{flags}.h5")
    assert name.kind == "directions"
    assert name.recipes == (DirectionRecipe("random", normalization=normalization, ignore="none"),)


def test_second_axis_without_flags():
    name = parse_li_name("m.t7_weights_xnorm=filter.h5_[-1.0,1.0,5]x[-0.5,2.0,5].h5")
    assert name.axes == ("-1:1:5", "-0.5:2:5")
    assert [recipe.normalization for recipe in name.recipes] == ["filter", "none"]


def test_other_suffixes():
    name = parse_li_name(
        "m.t7_weights_xignore=biasbn_xnorm=filter_yignore=biasbn_ynorm=filter_same_dir_idx=3.h5"
        "_[-1.0,1.0,5]x[-1e-05,1.0,5]_rawdata_datasplit=3_splitidx=1.h5"
    )
    assert name.recipes == (FILTER, replace(FILTER, same_direction=True))
    assert name.axes[1] == "-1e-05:1:5"
    assert name.index == 3
    assert name.raw_data
    assert name.part == (1, 3)


def test_pca_and_projection():
    name = parse_li_name("nets/vgg9_sgd_lr=0.1_bs=128_wd=0.0/PCA_weights_ignore=biasbn_save_epoch=1/directions.h5")
    assert name.kind == "directions"
    assert name.recipes == (DirectionRecipe("pca", ignore="biasbn"),) * 2
    assert name.run["optimizer"] == "sgd"
    name = parse_li_name("PCA_states_save_epoch=10/directions.h5_proj_cos.h5")
    assert (name.kind, name.projection, name.states) == ("projection", "cos", True)
    name = parse_li_name("PCA_weights_save_epoch=1/directions.h5_[-10.0,40.0,81]x[-10.0,40.0,81].h5")
    assert (name.kind, name.axes) == ("surface", ("-10:40:81", "-10:40:81"))
    assert name.recipes == (DirectionRecipe("pca", ignore="none"),) * 2


@pytest.mark.parametrize("path", ["surface.h5", "my_weights.h5", "run/trajectory.h5", "model_300.t7", "", "[1,2].h5"])
def test_other_names(path):
    assert parse_li_name(path) is None
    assert metadata_from_name(path) == {}


def test_surface_of_renamed_directions():
    name = parse_li_name("mine.h5_[-1.0,1.0,51].h5")
    assert name.axes == ("-1:1:51",)
    assert name.recipes == ()
    assert metadata_from_name("mine.h5_[-1.0,1.0,51].h5") == {}


def test_windows_path():
    assert parse_li_name(r"A\PCA_weights_save_epoch=1\directions.h5").recipes[0].kind == "pca"
