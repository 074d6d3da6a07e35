from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from landscape._utils.provenance import Environment
from landscape.render.exports import page
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page_parts import plain_text, provenance_rows
from landscape.surface.metadata import CheckpointReference, Header, SurfaceMetadata, SweepSettings
from landscape.surface.surface import FAILED, INTERPOLATED, PENDING, Surface


def data_of(surfaces, trajectories=(), **options):
    return page.page_data(surfaces, trajectories, ExportOptions(**options))


def write_page(path, surfaces, trajectories=(), overwrite=False, **options):
    return page.write_page(path, surfaces, trajectories, ExportOptions(**options), overwrite=overwrite)


def unpacked(packed):
    array = np.frombuffer(base64.b64decode(packed["data"]), np.dtype("<" + packed["dtype"]))
    return array.reshape(packed["shape"])


def data_in(path):
    """Return the data of a page, extracted from its text like a browser does."""
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL
    )
    return json.loads(text)


@pytest.fixture
def holed(slope):
    """Return the inclined plane with a NaN, an infinity, and a pending point that has a value."""
    surface = slope(name="holed")
    loss, status = surface.values["train_loss"].copy(), surface.status.copy()
    loss[1, 2], loss[4, 6], status[5, 0] = np.nan, np.inf, PENDING
    return replace(surface, values={**surface.values, "train_loss": loss}, status=status)


def test_page_values_are_exact(holed, walk, tmp_path):
    path = tmp_path / "surface.html"
    assert write_page(path, holed, [walk([(0, 0), (1, 1)])]) == path
    (panel,) = data_in(path)["panels"]
    expected = holed.values["train_loss"].copy()
    expected[5, 0] = np.nan
    np.testing.assert_array_equal(unpacked(panel["values"]["train_loss"]), expected)
    np.testing.assert_array_equal(unpacked(panel["values"]["train_acc"])[:5], holed.values["train_acc"][:5])
    np.testing.assert_array_equal(unpacked(panel["x"]), holed.x)
    np.testing.assert_array_equal(unpacked(panel["y"]), holed.y)
    assert "train_loss_stderr" in panel["values"]
    np.testing.assert_array_equal(unpacked(panel["paths"][0]["loss"]), [2, 1])
    assert panel["metadata"] == {"model": "mlp"}
    assert panel["provenance"][0] == ["Model", "mlp"]


def test_page_descending_axes(slope):
    surface = slope()
    turned = replace(
        surface,
        coordinates=(surface.x[::-1], surface.y),
        values={name: values[:, ::-1] for name, values in surface.values.items()},
    )
    one, other = data_of([surface]), data_of([turned])
    assert one["panels"][0]["x"] == other["panels"][0]["x"]
    assert one["panels"][0]["values"] == other["panels"][0]["values"]


def test_page_scales(slope):
    surface = slope()
    zero = np.where(np.arange(54).reshape(6, 9) == 7, 0.0, surface.values["train_loss"])
    crossing = surface.values["train_loss"] - 3
    surface = replace(surface, values={**surface.values, "test_loss": zero, "train_gain": crossing})
    metrics = data_of([surface])["metrics"]
    assert {name: (entry["scale"], list(entry["scales"])) for name, entry in metrics.items()} == {
        "train_loss": ("log", ["log", "linear"]),
        "test_loss": ("symlog", ["linear", "symlog"]),
        "train_gain": ("symlog", ["linear", "symlog"]),
        "train_acc": ("linear", ["log", "linear"]),
    }
    assert data_of([surface], metric="train_loss", scale="linear")["metrics"]["train_loss"]["scale"] == "linear"
    assert metrics["train_acc"]["best"] == "highest"
    assert metrics["train_loss"]["best"] == "lowest"


def test_page_notes(holed):
    notes = data_of([holed], clip=100.0)["metrics"]["train_loss"]["scales"]["log"]["panels"][0]
    assert "training loss clipped at 100" in notes
    assert "holes: 2 not finite or failed and 1 not computed of 54 points" in notes
    assert data_of([holed], clip=100.0)["metrics"]["train_loss"]["scales"]["log"]["high"] == pytest.approx(2)


def test_page_of_several_surfaces(slope, walk):
    one, other = slope(name="one"), slope(7, 5, name="other")
    other = replace(other, values={"train_loss": other.values["train_loss"] * 100})
    data = data_of([one, other], [[walk([(0, 0), (1, 1)])], []])
    assert list(data["metrics"]) == ["train_loss"]
    assert data["title"] == "one · other"
    drawn = data["metrics"]["train_loss"]["scales"]["log"]
    assert (drawn["low"], drawn["high"]) == pytest.approx((-1, 6))
    assert [len(panel["paths"]) for panel in data["panels"]] == [1, 0]
    assert data["heading"] == ""
    with pytest.raises(ValueError, match="got 'train_acc'; the surfaces share train_loss"):
        data_of([one, other], metric="train_acc")


@pytest.mark.parametrize("relief", [1e-9, 1e-3, 0.0])
def test_page_of_nearly_constant_surface(slope, relief):
    """A log scale rounds these values to one height, which used to divide by zero."""
    surface = slope()
    loss = 1e6 + relief * np.random.default_rng(0).random(surface.shape)
    data = data_of([replace(surface, values={"train_loss": loss})])
    for drawn in data["metrics"]["train_loss"]["scales"].values():
        assert drawn["high"] > drawn["low"]


def test_page_errors(slope):
    surface = slope()
    nothing = replace(surface, values={**surface.values, "test_loss": np.full((6, 9), np.nan)})
    assert "test_loss" not in data_of([nothing])["metrics"]
    with pytest.raises(ValueError, match="no finite value"):
        data_of([nothing], metric="test_loss")
    curve = Surface((surface.x,), {"train_loss": np.ones(9)}, np.ones(9, np.uint8))
    with pytest.raises(ValueError, match="the same number of axes on one page"):
        data_of([surface, curve])
    with pytest.raises(ValueError, match="expected a metric of the curves, got 'test_loss'"):
        data_of([curve], metric="test_loss")


@pytest.fixture
def curve():
    """Return a curve on a descending axis with losses and an accuracy of both splits, a NaN, and a point to come."""
    x = np.linspace(1, -0.5, 7)
    loss, status = 0.1 + x**2, np.ones(7, np.uint8)
    loss[2], status[5] = np.nan, PENDING
    values = {"train_loss": loss, "train_loss_stderr": loss / 9, "test_loss": 2 * loss, "train_acc": 100 - 9 * x**2}
    return Surface((x,), values, status, SurfaceMetadata(other={"model": "mlp"}), "line")


def test_page_of_curves(curve, walk):
    path = replace(walk([(0, 0), (1, 0)]), coordinates=np.array([[1.0], [0.0]]))
    data = data_of([curve, replace(curve, name="other")], [[path], []])
    assert {name: group["names"] for name, group in data["groups"].items()} == {
        "loss": ["train_loss", "test_loss"], "acc": ["train_acc"],
    }  # fmt: skip
    assert [group["label"] for group in data["groups"].values()] == ["loss", "training accuracy (%)"]
    assert list(data["groups"]["loss"]["scales"]) == ["log", "linear"]
    assert data["groups"]["loss"]["scales"]["linear"]["high"] == pytest.approx(2.2)
    panel = data["panels"][0]
    np.testing.assert_array_equal(unpacked(panel["x"]), curve.x[::-1])
    expected = np.where(curve.status == 1, curve.values["train_loss"], np.nan)[::-1]
    np.testing.assert_array_equal(unpacked(panel["values"]["train_loss"]), expected)
    np.testing.assert_array_equal(unpacked(panel["paths"][0]["x"]), [1, 0])
    assert "train_loss_stderr" in panel["values"]
    assert data["notes"] == ["2 of 14 points not computed", "2 of 14 points not finite"]
    assert panel["provenance"][:2] == [("Model", "mlp"), ("Grid", "7 points, 6 measured")]
    assert data_of([curve], metric="train_acc", scale="log")["groups"]["acc"]["scale"] == "log"
    clipped = data_of([curve], clip=0.5)["groups"]["loss"]["scales"]["linear"]
    assert clipped["high"] == 0.5
    assert clipped["notes"] == ["loss clipped at 0.5"]


def test_page_of_curves_of_seeds(curve):
    values = {"train_loss": np.stack([np.ones(7), np.arange(1.0, 8)])}
    metadata = SurfaceMetadata(SweepSettings(origin="abc", seeds=(3, 5)))
    both = Surface((curve.x, np.array([3.0, 5.0])), values, np.ones((2, 7), np.uint8), metadata, "s")
    data = data_of([both])
    assert [panel["name"] for panel in data["panels"]] == ["seed 3", "seed 5"]
    np.testing.assert_array_equal(unpacked(data["panels"][1]["values"]["train_loss"]), np.arange(7.0, 0, -1))


def test_page_of_a_volume(tmp_path):
    x, y, z = np.linspace(-1, 1, 5), np.linspace(-1, 1, 4), np.array([1.0, 0.0, -1.0])
    loss = 0.1 + x**2 + y[:, None] ** 2 + (z[:, None, None] - 0.5) ** 2
    volume = Surface((x, y, z), {"train_loss": loss}, np.ones(loss.shape, np.uint8), name="volume")
    data = data_in(write_page(tmp_path / "volume.html", volume))
    (panel,) = data["panels"]
    np.testing.assert_array_equal(unpacked(panel["z"]), [-1, 0, 1])
    np.testing.assert_array_equal(unpacked(panel["values"]["train_loss"]), loss[::-1])
    scale = data["metrics"]["train_loss"]["scales"]["log"]
    assert (scale["low"], scale["high"]) == pytest.approx((np.log10(loss.min()), np.log10(loss.max())))
    assert data["labels"][2] == "direction 3"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("0.05", "0.05"),
        ("$10^{-5}$", "10⁻⁵"),
        (r"$3\times10^{12}$", "3×10¹²"),
        ("a $10^{2}$ b $10^{3}$", "a 10² b 10³"),
        (r"eigenvector 1 ($\lambda$ = 12)", "eigenvector 1 (λ = 12)"),
        (r"$|\lambda_{\min}\,/\,\lambda_{\max}|$", "|λₘᵢₙ / λₘₐₓ|"),
    ],
)
def test_plain_text(text, plain):
    assert plain_text(text) == plain


def test_page_escapes_names(slope, walk, tmp_path):
    name = '</script><script>alert("1")</script><!-- & @@data@@'
    surface = replace(slope(name=name), metadata=SurfaceMetadata(other={"x": float("nan"), "y": [float("inf"), name]}))
    path = write_page(tmp_path / "surface.html", surface, [walk([(0, 0), (1, 1)], name)])
    text = path.read_text("utf-8")
    assert 'alert("1")' not in text
    assert text.count("</script>") == 2
    data = data_in(path)
    assert (data["panels"][0]["name"], data["panels"][0]["paths"][0]["name"]) == (name, name)
    assert data["panels"][0]["metadata"] == {"x": "nan", "y": ["inf", name]}


def test_page_size(slope, walk, tmp_path):
    points = np.stack([np.linspace(1.4, 0, 90), np.linspace(0.9, 0.1, 90)], -1)
    path = write_page(tmp_path / "surface.html", slope(51, 51), [walk(points)])
    assert path.stat().st_size < 250_000


def test_page_overwrite(slope, tmp_path):
    path = tmp_path / "surface.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        write_page(path, slope())
    assert path.read_text() == "mine"
    write_page(path, slope(), overwrite=True)
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]


def test_page_loads_nothing(slope, tmp_path):
    text = write_page(tmp_path / "surface.html", slope(name="a < b"), title="1 < 2 @@script@@").read_text("utf-8")
    assert "<title>1 &lt; 2 @@script@@</title>" in text
    assert "src=" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_page_html_is_the_file(slope, walk, tmp_path):
    surface, paths = slope(), [walk([(0, 0), (1, 1)])]
    path = write_page(tmp_path / "surface.html", surface, paths)
    assert page.page_html(surface, paths) == path.read_text("utf-8")


def test_page_of_a_layer_and_interpolated_points(slope):
    surface = slope()
    status = surface.status.copy()
    status[2, 3], status[4, 4] = INTERPOLATED, FAILED
    (panel,) = data_of([replace(surface, status=status)])["panels"]
    values = unpacked(panel["values"]["train_loss"])
    assert values[2, 3] == surface.values["train_loss"][2, 3]
    assert np.isnan(values[4, 4])


def test_page_provenance(slope):
    environment = Environment("landscape surface run", "host", "3.12", {"landscape": "0.2", "torch": None})
    settings = SweepSettings(samples={"train": 1200}, origin="abc", axes_are=("random, seed 0",), bn="recalibrate")
    metadata = SurfaceMetadata(
        settings, checkpoint=CheckpointReference("run/last.pt", 180, 15.0), environment=environment,
        problem={"model": "resnet20", "dataset": "digits"}, started="2026-11-26T20:02:49+00:00",
    )  # fmt: skip
    assert provenance_rows(replace(slope(), metadata=metadata)) == [
        ("Model", "resnet20"), ("Dataset", "digits"), ("Samples", "1,200 train"), ("Checkpoint", "run/last.pt"),
        ("Step", "180"), ("Epoch", "15"), ("x direction", "random, seed 0"),
        ("Batch norm", "statistics re-estimated at each point"), ("Precision", "float32 on cpu"),
        ("Grid", "9 × 6 points, 54 measured"), ("Computed", "2026-11-26 20:02 UTC"),
        ("Command", "landscape surface run"), ("Versions", "landscape 0.2"),
    ]  # fmt: skip


class TestCommand:
    @pytest.fixture
    def files(self, slope, walk, tmp_path):
        from landscape.surface.store import FileStore
        from landscape.surface.trajectory_files import write_trajectories

        found = []
        for name, nx in (("one", 9), ("two", 7)):
            surface = slope(nx, 6)
            header = Header(surface.coordinates, ("train_loss",), SurfaceMetadata(title=name))
            with FileStore.open(tmp_path / f"{name}.h5", header) as store:
                for index, loss in enumerate(surface.values["train_loss"].ravel()):
                    store.record(index, [loss], 0.0)
            found.append(str(tmp_path / f"{name}.h5"))
        write_trajectories(tmp_path / "path.h5", [walk([(0, 0), (1, 1)])])
        return [*found, str(tmp_path / "path.h5")]

    def run(self, *arguments):
        from landscape.cli.export import command

        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    def test_command_with_several_surfaces(self, files, tmp_path):
        one, two, path = files
        out = tmp_path / "page.html"
        result = self.run(one, two, "--trajectory", path, "--trajectory", path, "--out", out)
        assert result.exit_code == 0, result.output
        data = data_in(out)
        assert [panel["name"] for panel in data["panels"]] == ["one", "two"]
        assert [unpacked(panel["values"]["train_loss"]).shape for panel in data["panels"]] == [(6, 9), (6, 7)]

    def test_command_errors(self, files, tmp_path):
        result = self.run(*files[:2], "--out", tmp_path / "surface.vts")
        assert isinstance(result.exception, ValueError)
        assert "got 2; only .html takes several" in str(result.exception)
        result = self.run(files[0], "--reduction", "0.5", "--out", tmp_path / "surface.html")
        assert isinstance(result.exception, ValueError)
