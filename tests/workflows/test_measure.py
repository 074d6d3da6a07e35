"""Measurements of runs: continued and distributed bit for bit, compared by paired tests, and refused with advice."""

from __future__ import annotations

import json
import math

import h5py
import numpy as np
import pytest

from landscape.analysis.sharpness.basin import BasinConfig
from landscape.analysis.sharpness.sharpness import SharpnessConfig
from landscape.errors import LandscapeError, StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.problem.spec import ProblemSpec
from landscape.surface.measurements import MeasurementStore, read_measurements
from landscape.training.checkpoint import save_checkpoint
from landscape.training.settings import TrainingSettings
from landscape.workflows.basin import measure_basin
from landscape.workflows.measure_task import names_of
from landscape.workflows.sharpness import measure_sharpness
from landscape.workflows.train import train

SMALL = SharpnessConfig(("average-filter", "worst-l2", "adaptive-linf", "critical"), directions=4, steps=2, starts=2)
RAYS = BasinConfig(rays=4, evaluations=5)


@pytest.fixture(scope="module")
def other(spec, tmp_path_factory):
    """A run of the same network on the same data with another optimizer."""
    settings = TrainingSettings(epochs=2, batch_size=50)
    return train(spec, "sgd:lr=0.1", settings, tmp_path_factory.mktemp("measure") / "other")


def arrays_of(path) -> dict[str, bytes]:
    found = {}
    with h5py.File(path) as file:
        for group in ("units", "numbers"):
            file[group].visititems(
                lambda name, node, group=group: (
                    found.update({f"{group}/{name}": node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
                )
            )
    return found


class StopAfter:
    """A stop function that becomes true after some calls."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self):
        self.left -= 1
        return self.left < 0


def test_a_stopped_measurement_continues_bit_for_bit(run, other, tmp_path):
    whole = measure_sharpness([run, other], SMALL, out=tmp_path / "whole.h5")
    part = tmp_path / "part.h5"
    first = measure_sharpness([run, other], SMALL, out=part, stop=StopAfter(4))
    assert first.pending > 0
    assert not first.numbers
    assert read_measurements(part)[1] == []
    second = measure_sharpness([run, other], SMALL, out=part)
    assert second.pending == 0
    assert second.numbers == whole.numbers
    assert arrays_of(part) == arrays_of(tmp_path / "whole.h5")


@pytest.mark.mpi
@pytest.mark.process
def test_two_ranks_give_the_same_bits(run, tmp_path):
    one = measure_sharpness(run.path, SMALL, out=tmp_path / "one.h5")
    two = measure_sharpness(run.path, SMALL, out=tmp_path / "two.h5", ranks=2)
    assert two.numbers == one.numbers
    assert arrays_of(tmp_path / "two.h5") == arrays_of(tmp_path / "one.h5")


def test_the_file_has_numbers_settings_and_provenance(run, tmp_path):
    out = tmp_path / "numbers.h5"
    result = measure_sharpness(run, SMALL, out=out, samples=50)
    settings, records = read_measurements(out)
    assert [record["value"] for record in records] == [number.value for number in result.numbers]
    assert [record["measure"] for record in records] == ["average-filter", "worst-l2", "adaptive-linf", "critical"]
    assert math.isnan(records[-1]["radius"])
    assert settings["config"] == SMALL.to_json()
    assert settings["source-0"]["samples"] == 50
    with h5py.File(out) as file:
        assert json.loads(file.attrs["environment"])["packages"]["torch"]
        assert file.attrs["finished"]


def test_other_settings_are_refused_and_named(run, other, tmp_path):
    out = tmp_path / "numbers.h5"
    measure_sharpness(run, SMALL, out=out)
    before = out.read_bytes()
    with pytest.raises(StoreError, match="config: the file has"):
        measure_sharpness(run, SharpnessConfig(("critical",)), out=out)
    with pytest.raises(StoreError, match="source-0: the file has"):
        measure_sharpness(other, SMALL, out=out)
    with pytest.raises(StoreError, match="kind: the file has"):
        measure_basin(run, RAYS, out=out)
    assert out.read_bytes() == before
    assert measure_basin(run, RAYS, out=out, overwrite=True).numbers


def test_a_new_setting_does_not_keep_an_older_file_from_being_continued(run, tmp_path):
    out = tmp_path / "numbers.h5"
    first = measure_sharpness(run, SMALL, out=out)
    with h5py.File(out, "r+") as file:
        settings = json.loads(file.attrs["settings"])
        del settings["config"]["seed"]  # as if files had not recorded it
        file.attrs["settings"] = json.dumps(settings)
    assert measure_sharpness(run, SMALL, out=out).numbers == first.numbers
    with pytest.raises(StoreError, match="config: the file has"):
        measure_sharpness(run, SharpnessConfig(**{**vars(SMALL), "seed": 1}), out=out)


def test_files_of_others_are_left_alone(run, tmp_path):
    out = tmp_path / "other.h5"
    with h5py.File(out, "w") as file:
        file["x"] = 1
    with pytest.raises(StoreError, match="not a file of measurements"):
        measure_sharpness(run, SMALL, out=out)
    with h5py.File(out) as file:
        assert list(file) == ["x"]


def test_paired_tests_of_two_runs(run, other):
    result = measure_sharpness([run, other], SMALL, compare=True)
    values = {(n.source, n.measure): n.value for n in result.numbers}
    assert len(result.comparisons) == 4
    for comparison in result.comparisons:
        expected = values[comparison.second, comparison.measure] - values[comparison.first, comparison.measure]
        assert comparison.difference == pytest.approx(expected, abs=1e-12)
        assert comparison.low <= comparison.difference <= comparison.high
        assert 0 <= comparison.p_value <= 1
    same = measure_sharpness([run, run.path], SMALL, compare=True)
    assert all(comparison.p_value == 1 for comparison in same.comparisons)


def test_other_data_cannot_be_compared(run, tmp_path):
    settings = TrainingSettings(epochs=1, batch_size=50)
    fewer = ProblemSpec(model="mlp", model_args={"widths": (8,)}, samples=100)
    train(fewer, "sgd:lr=0.1", settings, tmp_path / "fewer")
    out = tmp_path / "numbers.h5"
    with pytest.raises(ValueError, match=r"other data than run .* without a comparison"):
        measure_sharpness([run, tmp_path / "fewer"], SMALL, compare=True, out=out)
    assert not out.exists()
    with pytest.raises(ValueError, match="two or more networks, got 1"):
        measure_sharpness(run, SMALL, compare=True)


def test_other_networks_are_compared_with_a_warning(run, tmp_path):
    wider = ProblemSpec(model="mlp", model_args={"widths": (12,)}, samples=200)
    train(wider, "sgd:lr=0.1", TrainingSettings(epochs=1, batch_size=50), tmp_path / "wider")
    config = SharpnessConfig(("average-filter", "worst-l2"), directions=3, steps=1, starts=1)
    result = measure_sharpness([run, tmp_path / "wider"], config, compare=True)
    assert len(result.comparisons) == 2
    (warning,) = result.warnings
    assert "other parameters" in warning
    assert "worst-l2" in warning
    assert "average-filter" not in warning


def test_batch_norm_is_a_warning(tmp_path):
    spec = ProblemSpec(factory=f"{__file__}:normalized")
    for name in ("a", "b"):
        problem = spec.build()
        save_checkpoint(tmp_path / f"{name}.pt", problem.model.state_dict(), step=0, epoch=0)
    config = SharpnessConfig(("adaptive-l2", "worst-l2"), steps=1, starts=1)
    result = measure_sharpness([tmp_path / "a.pt", tmp_path / "b.pt"], config, problem=spec)
    (warning,) = result.warnings
    assert "batch norm" in warning
    assert "worst-l2 depend on that scale" in warning


def normalized():
    """Return a problem with batch norm."""
    import torch
    from torch import nn

    from landscape.problem.measures import cross_entropy
    from landscape.problem.problem import Problem, Split

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    inputs = torch.randn(20, 4)
    return Problem(network, {"train": Split(inputs, (inputs[:, 0] > 0).long())}, cross_entropy)


def test_relative_critical_sharpness_takes_both_splits(run):
    config = SharpnessConfig(("critical", "relative-critical"))
    result = measure_sharpness(run, config)
    assert [number.measure for number in result.numbers] == ["critical", "relative-critical"]
    assert result.numbers[0].value != result.numbers[1].value
    with pytest.raises(ValueError, match="expected two splits"):
        measure_sharpness(run, config, split="train")
    alone = measure_sharpness(run, SharpnessConfig(("critical",)))
    assert alone.numbers[0].value == result.numbers[0].value


def test_basins_of_a_run(run, other):
    result = measure_basin([run, other], RAYS, compare=True)
    found = {(number.source, number.measure): number for number in result.numbers}
    names = names_of((run, other))
    for name in names:
        median = found[name, "basin-median"]
        assert median.low <= median.value <= median.high
        assert found[name, "basin-q25"].value <= median.value <= found[name, "basin-q75"].value
        assert found[name, "basin-worst-ray"].value <= median.value
        assert len(result.rays[name]) == 6
    assert result.criterion == "accuracy changes by 10%"
    assert {comparison.measure for comparison in result.comparisons} == {
        "basin-median", "basin-q25", "basin-q75", "basin-gradient", "basin-worst-direction",
    }  # fmt: skip


def test_names_tell_sources_apart():
    assert names_of(("a/run", "b/other")) == ["run", "other"]
    assert names_of(("a/run", "b/run")) == ["a/run", "b/run"]
    assert names_of(("a/run", "a/run")) == ["a/run (1)", "a/run (2)"]


def test_values_of_samples_have_the_mean_of_a_surface(spec, run):
    from landscape.evaluation.evaluator import open_evaluator
    from landscape.geometry.plane import random_plane

    problem = spec.build(("train", "test"))
    plane, points = random_plane(problem.model, axes=2), [(0.0, 0.0), (0.3, -0.2), (0.1, 0.1)]
    for engine in ("eager", "mlp", "batched_mlp"):
        with open_evaluator(problem, plane, EvaluationConfig(engine=engine, batch_size=64, paired=True)) as evaluate:
            values = evaluate.evaluate_many(points)
            for split in ("train", "test"):
                for measure in ("loss", "acc"):
                    found = evaluate.sample_values(points, split, measure)
                    assert found.shape == (3, len(problem.splits[split]))
                    column = evaluate.names.index(f"{split}_{measure}")
                    np.testing.assert_allclose(found.mean(1), values[:, column], rtol=1e-12)
            paired = evaluate.sample_values(points, "train")
            error = (paired[1] - paired[0]).std(ddof=1) / math.sqrt(paired.shape[1])
            assert values[1, evaluate.names.index("train_loss_paired_stderr")] == pytest.approx(error, rel=1e-6)
            assert np.array_equal(evaluate.evaluate_many(points), values)


def test_a_store_in_memory_needs_no_file():
    store = MeasurementStore(None, {"kind": "test"})
    store.put("a", np.arange(3.0))
    store.require("b", (1, 2))
    store.require("b", [1, 2])
    with pytest.raises(StoreError, match="b: the file has"):
        store.require("b", [1])
    assert "a" in store
    store.finish([])


def test_rays_along_eigenvectors(run, other, tmp_path):
    from landscape.analysis.curvature.curvature import CurvatureConfig
    from landscape.workflows.curvature.curvature import curvature

    bent = tmp_path / "curvature.h5"
    found = curvature(run, CurvatureConfig(k=1, trace_probes=0, density_probes=0), out=bent)
    config = BasinConfig(metric="loss", change=0.05, rays=4, curvature=(bent,), eigenvectors=1)
    result = measure_basin(run, config)
    numbers = {number.measure: number.value for number in result.numbers}
    signs = {ray.name: ray.radius for ray in result.rays[result.numbers[0].source] if "eigen" in ray.name}
    assert numbers["basin-eigenvector-1"] == pytest.approx(min(signs["eigenvector-1+"], signs["eigenvector-1-"]))
    assert numbers["basin-eigenvector-1"] < numbers["basin-median"]
    with pytest.raises(LandscapeError, match="curvature at other weights"):
        measure_basin(other, config)
    with pytest.raises(ValueError, match="expected one file for each of 2 networks, got 1"):
        measure_basin([run, other], config)
    with pytest.raises(LandscapeError, match="expected the index of one of 1 eigenvectors"):
        measure_basin(run, BasinConfig(rays=4, curvature=(bent,), eigenvectors=2))
    assert found.complete
