"""Loss landscapes of neural networks: train, compute surfaces of the loss over planes of weights, draw them.

Everything that the command line does is a function here. Names are imported when they are first used, so that
``import landscape`` is quick.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from landscape import huggingface as huggingface
    from landscape import lightning as lightning
    from landscape.analysis.checks import Finding as Finding
    from landscape.analysis.curvature.curvature import Curvature as Curvature
    from landscape.analysis.curvature.curvature import CurvatureConfig as CurvatureConfig
    from landscape.analysis.curvature.file import read_curvature as read_curvature
    from landscape.analysis.sharpness.basin import BasinConfig as BasinConfig
    from landscape.analysis.sharpness.numbers import Comparison as Comparison
    from landscape.analysis.sharpness.numbers import Number as Number
    from landscape.analysis.sharpness.sharpness import SharpnessConfig as SharpnessConfig
    from landscape.analysis.topology.topology import MergeTree as MergeTree
    from landscape.analysis.topology.topology import merge_tree as merge_tree
    from landscape.errors import AlignmentError as AlignmentError
    from landscape.errors import CheckpointError as CheckpointError
    from landscape.errors import DataError as DataError
    from landscape.errors import DerivativeError as DerivativeError
    from landscape.errors import LandscapeError as LandscapeError
    from landscape.errors import MissingLibraryError as MissingLibraryError
    from landscape.errors import NonFiniteLossError as NonFiniteLossError
    from landscape.errors import StoreError as StoreError
    from landscape.errors import UnsoundError as UnsoundError
    from landscape.errors import UntrustedCodeError as UntrustedCodeError
    from landscape.errors import UserCodeError as UserCodeError
    from landscape.evaluation.config import DerivativeConfig as DerivativeConfig
    from landscape.evaluation.config import EvaluationConfig as EvaluationConfig
    from landscape.geometry.direction import Direction as Direction
    from landscape.geometry.direction import random_direction as random_direction
    from landscape.geometry.plane import Plane as Plane
    from landscape.geometry.plane import plane_through as plane_through
    from landscape.geometry.plane import principal_plane as principal_plane
    from landscape.geometry.plane import random_plane as random_plane
    from landscape.geometry.quadratic import QuadraticModel as QuadraticModel
    from landscape.geometry.trajectory import Trajectory as Trajectory
    from landscape.geometry.weights import Weights as Weights
    from landscape.parallel.ranks import RankError as RankError
    from landscape.problem.measures import accuracy as accuracy
    from landscape.problem.measures import cross_entropy as cross_entropy
    from landscape.problem.problem import Problem as Problem
    from landscape.problem.spec import ProblemSpec as ProblemSpec
    from landscape.problem.split import Split as Split
    from landscape.problem.whole import per_batch as per_batch
    from landscape.problem.whole import whole as whole
    from landscape.render.exports.job import ExportOptions as ExportOptions
    from landscape.render.scenes.options import Motion as Motion
    from landscape.render.scenes.options import SceneOptions as SceneOptions
    from landscape.surface.merge import merge as merge
    from landscape.surface.reading import read_surface as read_surface
    from landscape.surface.surface import Surface as Surface
    from landscape.surface.trajectory_files import read_trajectories as read_trajectories
    from landscape.sweep.config import SweepConfig as SweepConfig
    from landscape.sweep.config import SweepResult as SweepResult
    from landscape.sweep.grid import Axis as Axis
    from landscape.sweep.grid import Grid as Grid
    from landscape.training.checkpoint import Checkpoint as Checkpoint
    from landscape.training.checkpoint import load_checkpoint as load_checkpoint
    from landscape.training.checkpoint import save_checkpoint as save_checkpoint
    from landscape.training.run import Run as Run
    from landscape.training.settings import TrainingSettings as TrainingSettings
    from landscape.workflows.basin import BasinResult as BasinResult
    from landscape.workflows.basin import measure_basin as measure_basin
    from landscape.workflows.check import check as check
    from landscape.workflows.compare import CompareOptions as CompareOptions
    from landscape.workflows.compare import compare as compare
    from landscape.workflows.compare import compare_runs as compare_runs
    from landscape.workflows.connect.connect import connect as connect
    from landscape.workflows.connect.connections import ConnectOptions as ConnectOptions
    from landscape.workflows.connect.connections import ConnectResult as ConnectResult
    from landscape.workflows.connect.curves import CurveOptions as CurveOptions
    from landscape.workflows.curvature.curvature import curvature as curvature
    from landscape.workflows.curvature.figures import plot_curvature as plot_curvature
    from landscape.workflows.demo import demo as demo
    from landscape.workflows.export import export as export
    from landscape.workflows.figures import animate_scene as animate_scene
    from landscape.workflows.figures import plot as plot
    from landscape.workflows.figures import render_scene as render_scene
    from landscape.workflows.figures import save_figure as save_figure
    from landscape.workflows.hessian_plane import hessian_plane as hessian_plane
    from landscape.workflows.info import Info as Info
    from landscape.workflows.info import info as info
    from landscape.workflows.notebook import Inline as Inline
    from landscape.workflows.notebook import show as show
    from landscape.workflows.planes import PlaneConfig as PlaneConfig
    from landscape.workflows.plot_options import PlotOptions as PlotOptions
    from landscape.workflows.recording.record import record as record
    from landscape.workflows.recording.recorder import Recorder as Recorder
    from landscape.workflows.sharpness import SharpnessResult as SharpnessResult
    from landscape.workflows.sharpness import measure_sharpness as measure_sharpness
    from landscape.workflows.surface import compute_surface as compute_surface
    from landscape.workflows.topology import TopologyResult as TopologyResult
    from landscape.workflows.topology import compute_topology as compute_topology
    from landscape.workflows.train import resume as resume
    from landscape.workflows.train import train as train
    from landscape.workflows.trajectory import principal_plane_of as principal_plane_of
    from landscape.workflows.trajectory import project as project
else:
    from landscape._utils.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "AlignmentError": "errors",
            "Axis": "sweep.grid",
            "BasinConfig": "analysis.sharpness.basin",
            "BasinResult": "workflows.basin",
            "Checkpoint": "training.checkpoint",
            "CheckpointError": "errors",
            "CompareOptions": "workflows.compare",
            "Comparison": "analysis.sharpness.numbers",
            "Curvature": "analysis.curvature.curvature",
            "CurvatureConfig": "analysis.curvature.curvature",
            "ConnectOptions": "workflows.connect.connections",
            "ConnectResult": "workflows.connect.connections",
            "CurveOptions": "workflows.connect.curves",
            "DataError": "errors",
            "DerivativeConfig": "evaluation.config",
            "DerivativeError": "errors",
            "Direction": "geometry.direction",
            "EvaluationConfig": "evaluation.config",
            "ExportOptions": "render.exports.job",
            "Finding": "analysis.checks",
            "Grid": "sweep.grid",
            "Info": "workflows.info",
            "Inline": "workflows.notebook",
            "LandscapeError": "errors",
            "MergeTree": "analysis.topology.topology",
            "MissingLibraryError": "errors",
            "Motion": "render.scenes.options",
            "NonFiniteLossError": "errors",
            "Number": "analysis.sharpness.numbers",
            "Plane": "geometry.plane",
            "PlaneConfig": "workflows.planes",
            "PlotOptions": "workflows.plot_options",
            "Problem": "problem.problem",
            "ProblemSpec": "problem.spec",
            "QuadraticModel": "geometry.quadratic",
            "RankError": "parallel.ranks",
            "Recorder": "workflows.recording.recorder",
            "Run": "training.run",
            "SceneOptions": "render.scenes.options",
            "SharpnessConfig": "analysis.sharpness.sharpness",
            "SharpnessResult": "workflows.sharpness",
            "Split": "problem.split",
            "StoreError": "errors",
            "Surface": "surface.surface",
            "SweepConfig": "sweep.config",
            "SweepResult": "sweep.config",
            "TopologyResult": "workflows.topology",
            "TrainingSettings": "training.settings",
            "Trajectory": "geometry.trajectory",
            "UnsoundError": "errors",
            "UntrustedCodeError": "errors",
            "UserCodeError": "errors",
            "Weights": "geometry.weights",
            "accuracy": "problem.measures",
            "animate_scene": "workflows.figures",
            "check": "workflows.check",
            "compare": "workflows.compare",
            "compare_runs": "workflows.compare",
            "compute_surface": "workflows.surface",
            "connect": "workflows.connect.connect",
            "compute_topology": "workflows.topology",
            "cross_entropy": "problem.measures",
            "curvature": "workflows.curvature.curvature",
            "demo": "workflows.demo",
            "export": "workflows.export",
            "hessian_plane": "workflows.hessian_plane",
            "info": "workflows.info",
            "load_checkpoint": "training.checkpoint",
            "measure_basin": "workflows.basin",
            "measure_sharpness": "workflows.sharpness",
            "merge": "surface.merge",
            "merge_tree": "analysis.topology.topology",
            "per_batch": "problem.whole",
            "plane_through": "geometry.plane",
            "plot": "workflows.figures",
            "plot_curvature": "workflows.curvature.figures",
            "principal_plane": "geometry.plane",
            "principal_plane_of": "workflows.trajectory",
            "project": "workflows.trajectory",
            "random_direction": "geometry.direction",
            "random_plane": "geometry.plane",
            "read_curvature": "analysis.curvature.file",
            "read_surface": "surface.reading",
            "read_trajectories": "surface.trajectory_files",
            "record": "workflows.recording.record",
            "render_scene": "workflows.figures",
            "resume": "workflows.train",
            "save_checkpoint": "training.checkpoint",
            "save_figure": "workflows.figures",
            "show": "workflows.notebook",
            "train": "workflows.train",
            "whole": "problem.whole",
        },
        modules=("huggingface", "lightning"),
    )
