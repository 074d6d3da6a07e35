"""Folders of Hugging Face: the model, its weights and its tokenizer, without running code from the folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape._utils.machine import memory_limit
from landscape._utils.optional import import_optional
from landscape._utils.reading import read_json
from landscape._utils.torch_state import preserve_random_state
from landscape.errors import DataError
from landscape.training.checkpoint import load_checkpoint, load_into

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
MAX_LAYERS = 4096
"""Largest number of layers that a configuration may ask for."""
_KINDS = {
    "causal_lm": ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "AutoModelForCausalLM"),
    "sequence_classifier": ("MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", "AutoModelForSequenceClassification"),
}
"""Tables of transformers with the architectures that a function takes, and the class that builds them."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
Folder = str | os.PathLike[str]


def is_model_folder(path: Path) -> bool:
    """Return True for a folder with the configuration of a model or of an adapter."""
    return (path / CONFIG).is_file() or (path / ADAPTER_CONFIG).is_file()


def kind_of(folder: Folder) -> str:
    """Return the name of the function that makes a problem of a folder.

    Raises:
        DataError: no folder, or a damaged one.
        ValueError: the model is neither a causal language model nor a classifier of sequences.
    """
    path = _folder(folder)
    if (path / ADAPTER_CONFIG).is_file():
        path = _base_of(path)
    listed = read_config(path).get("architectures")
    names = listed if isinstance(listed, list) and listed else ["model without architectures"]
    tables = import_optional("transformers.models.auto.modeling_auto", "hf")
    for kind, (table, _) in _KINDS.items():
        if names[0] in getattr(tables, table).values():
            return kind
    raise ValueError(
        f"{path} has a {names[0]}; hf:FOLDER takes causal language models and classifiers of sequences. For any other, "
        "let a function problem() in mine.py return landscape.Problem(model, {'train': Split(inputs, targets)}, loss, "
        "forward=lambda model, batch: model(**batch).logits), and name it mine.py:problem"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder, without what could let transformers run code of the folder or the hub."""
    config = read_json(folder / CONFIG, DataError)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise DataError(f"{folder / CONFIG} is damaged: expected a dict with a model_type")
    return _checked(config, folder / CONFIG)


def _checked(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a configuration, or one nested in it, without choices of implementations, which may be kernels of the hub.

    Raises:
        DataError: it has too many layers to be built.
    """
    kept = {}
    for name, value in values.items():
        if name.endswith(("layer", "layers")) and isinstance(value, int) and value > MAX_LAYERS:
            raise DataError(f"{file}: expected at most {MAX_LAYERS:,} layers, got {value:,}")
        if "_implementation" not in name:
            kept[name] = _checked(value, file) if isinstance(value, dict) else value
    return kept


def open_model(folder: Folder, kind: str) -> nn.Module:
    """Build the model of a folder with its weights, in single precision or better.

    Args:
        folder: folder with a configuration and weights, or with an adapter of PEFT.
        kind: ``causal_lm`` or ``sequence_classifier``.

    Raises:
        CheckpointError: the weights are missing, damaged, or don't fit.
        DataError: the configuration is missing or damaged.
        MissingLibraryError: transformers or PEFT is not installed.
        ValueError: the model is of another kind, unknown to this version of transformers, or too large.
    """
    path = _folder(folder)
    found = kind_of(path)
    if found != kind:
        raise ValueError(f"{path}: expected a model for {kind}, got one for {found}")
    adapter = (path / ADAPTER_CONFIG).is_file()
    with _quiet(), preserve_random_state():
        model = _build(_base_of(path) if adapter else path, kind)
        if adapter:
            peft = import_optional("peft", "hf")
            with _describing(path / ADAPTER_CONFIG):
                settings = peft.PeftConfig.from_pretrained(str(path))
                settings.inference_mode = False  # the factors can be trained, which is what `only trainable` moves
                settings.megatron_config = None  # with it, PEFT imports whatever module the file names
                vars(model)["name_or_path"] = settings.base_model_name_or_path  # as if it came from there
                model = peft.get_peft_model(model, settings)
            load_into(model, load_checkpoint(path))
    return model


def _build(folder: Path, kind: str) -> nn.Module:
    transformers = import_optional("transformers", "hf")
    values = read_config(folder)
    known = transformers.CONFIG_MAPPING
    if values["model_type"] not in known:
        reason = "has code of its own, which is not run" if "auto_map" in values else "is unknown to this transformers"
        raise ValueError(f"{folder}: model type {values['model_type']!r} {reason}; write a function that builds it")
    with _describing(folder / CONFIG):
        config = known[values["model_type"]].from_dict(values)
        builder = getattr(transformers, _KINDS[kind][1])
        with torch.device("meta"):  # shapes only
            size = sum(parameter.numel() for parameter in builder.from_config(config).parameters())
    _require_memory(folder, size)
    dtype = torch.float64 if "float64" in str(values.get("dtype", values.get("torch_dtype"))) else torch.float32
    with _describing(folder / CONFIG), _without_initialization():
        built = builder.from_config(config, dtype=dtype)
        built.tie_weights()  # as the configuration says, which is part of the initialization that was left out
    model: nn.Module = built
    load_into(model, load_checkpoint(folder))
    return model


def open_tokenizer(folder: Folder, required: bool = True) -> Any:
    """Return the tokenizer of a folder, or of the base model of an adapter that has none of its own.

    Args:
        folder: folder with a tokenizer, or with an adapter of PEFT.
        required: raise an error if there is none; otherwise return None.

    Raises:
        DataError: there is none, or it is damaged.
        MissingLibraryError: transformers is not installed.
    """
    path = _folder(folder, "tokenizer")
    if (path / ADAPTER_CONFIG).is_file() and not _has_tokenizer(path):
        path = _base_of(path)
    if not _has_tokenizer(path):
        if required:
            raise DataError(f"{path} has no tokenizer: expected one of {', '.join(_TOKENIZERS)}")
        return None
    transformers = import_optional("transformers", "hf")
    with _quiet():
        try:
            return transformers.AutoTokenizer.from_pretrained(str(path), trust_remote_code=False, local_files_only=True)
        except Exception as error:  # of transformers or tokenizers, as they come
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path}: its tokenizer cannot be read: {type(error).__name__}: {reason}") from error


def _has_tokenizer(path: Path) -> bool:
    return any((path / name).is_file() for name in _TOKENIZERS)


def describe_source(model: nn.Module | Folder, network: nn.Module) -> dict[str, Any]:
    """Return the name of a network's class, for figures and provenance."""
    inner = getattr(network, "get_base_model", None)
    return {"architecture": type(inner() if callable(inner) else network).__name__}


def _folder(folder: Folder, holding: str = "model") -> Path:
    """Return the path of a folder with a model or a tokenizer, after a look at what is in it."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(
            f"{path}: expected a folder with a {holding}, got {'a file' if path.exists() else 'nothing'}; a "
            f"{holding} of the hub is not downloaded: `hf download NAME --local-dir FOLDER` does that"
        )
    if holding == "model" and not is_model_folder(path):
        raise DataError(f"{path} has no {CONFIG}, so its model is unknown; expected a folder of save_pretrained")
    for each in path.iterdir():  # the libraries would wait for a FIFO
        if each.exists() and not each.is_file() and not each.is_dir():
            raise DataError(f"{each} is refused: expected regular files in a folder with a model")
    return path


def _base_of(folder: Path) -> Path:
    """Return the folder of the model that an adapter belongs to."""
    settings = read_json(folder / ADAPTER_CONFIG, DataError)
    name = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    places = [Path(str(name)).expanduser(), folder / str(name), folder]
    for place in places if name else places[2:]:
        if (place / CONFIG).is_file():
            return _folder(place)
    raise DataError(
        f"{folder} is an adapter of {name!r}, which is no folder here; write its path as base_model_name_or_path into "
        f"{folder / ADAPTER_CONFIG}"
    )


def _require_memory(folder: Path, parameters: int) -> None:
    """Check that a model fits into the memory of this process, before it is built."""
    limit = memory_limit()
    if parameters * 4 > limit:
        raise ValueError(
            f"{folder}: the model has {parameters:,} parameters, {parameters * 4 / 2**30:,.0f} GiB; this process may "
            f"use {limit / 2**30:,.1f} GiB of memory"
        )


@contextmanager
def _describing(file: Path) -> Iterator[None]:
    """Name the configuration in whatever error transformers raises for it inside the block."""
    try:
        yield
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} describes no model: {type(error).__name__}: {reason}") from error


def _without_initialization() -> Any:
    """Return a context in which models are built without random weights, which are replaced at once."""
    transformers = import_optional("transformers", "hf")
    place = getattr(transformers, "initialization", None) or transformers.modeling_utils  # the second before version 5
    return getattr(place, "no_init_weights", nullcontext)()


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what transformers says about configurations inside the block; errors remain."""
    logging = import_optional("transformers.utils.logging", "hf")
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what one library says about the other's use
            yield
    finally:
        logging.set_verbosity(level)
