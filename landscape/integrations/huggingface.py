"""Problems made of models of Hugging Face: causal language models and classifiers of sequences."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import DataError
from landscape.integrations.folders import describe_source, open_model, open_tokenizer
from landscape.integrations.texts import IDS, LABELS, MASK, Sample, TextOptions, Tokenizer, pad_samples, read_samples
from landscape.integrations.tokens import IGNORED, Perplexity, token_accuracy, token_loss
from landscape.problem.lazy import LazySplit
from landscape.problem.measures import accuracy, cross_entropy, mean_squared_error
from landscape.problem.problem import Measure, Problem, Split

MAX_LENGTH = 1024
"""Largest default length of a sequence, for models that take longer ones."""
ModelLike = nn.Module | str | os.PathLike[str]
"""A model of transformers, also one that PEFT has wrapped, or the path of its folder."""


def causal_lm(
    model: ModelLike,
    data: Any,
    *,
    test: Any = None,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = None,
    text: str = "text",
    max_length: int | None = None,
    limit: int | None = None,
    pad_id: int | None = None,
) -> Problem:
    """Return the problem of a causal language model: the mean loss over the next tokens of some texts.

    The loss is that of ``model(**batch, labels=labels)`` over all samples at once: a mean over tokens, so that it
    depends neither on the batch size nor on how long the sequences of a batch are. Padding and labels of -100 don't
    count.

    Args:
        model: the model, with its present weights, or a folder with ``config.json`` and weights. Code in the folder is
            not run.
        data: samples of the split ``train``: a file (``.jsonl`` or ``.csv`` with a text in each row, ``.txt``, which is
            divided into sequences of ``max_length`` tokens), texts, a data set of dicts with a text or with
            ``input_ids`` (and ``attention_mask`` and ``labels``), a tensor of token ids, or a dict of tensors.
        test: samples of a split ``test``, in the same form.
        tokenizer: tokenizer of texts, or its folder; by default that of the model's folder.
        text: name of the text in a sample that is a dict.
        max_length: number of tokens after which a sample is cut off; by default the largest that the model takes, and
            at most 1024.
        limit: number of samples of each split, the first ones; all by default.
        pad_id: token for padding, whose value doesn't matter; by default that of the tokenizer or the model, or 0.

    Returns:
        The problem, with the model's own names; its metrics are ``acc``, the percentage of next tokens that are
        predicted, and ``perplexity``, the exponential of the loss.

    Raises:
        CheckpointError: the folder has no weights that fit its configuration.
        DataError: a file is missing or damaged, or there are no samples.
        MissingLibraryError: a folder, and transformers is not installed.
        ValueError: a folder of another kind of model, a sample without its text, or ids beyond the vocabulary.
    """
    network, tools = _opened(
        model, tokenizer, TextOptions(text, "labels", max_length, limit, by_line=False), "causal_lm"
    )

    def split_of(samples: Sequence[Sample]) -> Split:
        # A sequence of one token predicts nothing, and one of none has no logits.
        kept = [sample for sample in samples if len(sample[IDS]) > 1]
        if not kept:
            raise DataError("data: expected a sequence of at least two tokens, got none")
        inputs = pad_samples(kept, tools.pad_id(network, pad_id))
        labels = torch.where(inputs[MASK] == 0, IGNORED, inputs[IDS])
        for row, sample in enumerate(kept):
            if _has_parts(sample.get(LABELS[0])):  # a single label is one of the text, for classifiers
                own = torch.as_tensor(sample[LABELS[0]])[: len(sample[IDS])]
                if own.shape != (len(sample[IDS]),):
                    raise ValueError(
                        f"labels: expected one for each of the {len(sample[IDS])} tokens of a sample, got shape "
                        f"{tuple(own.shape)}"
                    )
                labels[row, : len(own)] = own
        if bool((labels[:, 1:] == IGNORED).all()):
            raise DataError("data: expected tokens that count, but all labels after the first are -100 or padding")
        return Split(inputs, labels)

    metrics: dict[str, Any] = {"acc": token_accuracy, "perplexity": Perplexity()}
    return _problem(network, tools, {"train": data, "test": test}, split_of, token_loss, metrics)


def sequence_classifier(
    model: ModelLike,
    data: Any,
    *,
    test: Any = None,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = None,
    text: str | Sequence[str] = "text",
    label: str = "label",
    max_length: int | None = None,
    limit: int | None = None,
    pad_id: int | None = None,
) -> Problem:
    """Return the problem of a model that classifies sequences, or predicts numbers from them.

    The loss is that of ``model(**batch, labels=labels)`` over all samples at once: the cross-entropy of one label, the
    binary cross-entropy of several, or the mean squared error of numbers, by the ``problem_type`` of the model's
    configuration.

    Args:
        model: the model, with its present weights, or a folder with ``config.json`` and weights. Code in the folder is
            not run.
        data: samples of the split ``train``, in the forms of :func:`causal_lm`, each with a label: an integer, a name
            in the configuration's ``label2id``, or numbers. Samples with the label -100 are left out.
        test: samples of a split ``test``, in the same form.
        tokenizer: tokenizer of texts, or its folder; by default that of the model's folder.
        text: name of the text in a sample, or names of two texts that are read as a pair.
        label: name of the label in a sample.
        max_length: number of tokens after which a sample is cut off, as for :func:`causal_lm`.
        limit: number of samples of each split, the first ones; all by default.
        pad_id: token for padding; by default that of the tokenizer or the model, or 0.

    Returns:
        The problem, with the model's own names; its metric is ``acc``, the percentage of right labels, unless numbers
        are predicted.

    Raises:
        As :func:`causal_lm`, and ``ValueError`` for a sample without a label, or with one that is unknown.
    """
    options = TextOptions(text, label, max_length, limit)
    network, tools = _opened(model, tokenizer, options, "sequence_classifier")
    config = _config(network)
    if pad_id is not None and getattr(config, "pad_token_id", None) != pad_id:
        raise ValueError(
            f"pad_id: the model looks for the last token by its own, {getattr(config, 'pad_token_id', None)}; set "
            f"model.config.pad_token_id = {pad_id}"
        )
    kind, loss, metrics = _classification(config)

    def split_of(samples: Sequence[Sample]) -> Split:
        kept = [sample for sample in samples if not _is_ignored(sample.get(LABELS[0]))]
        if not kept or min(len(sample[IDS]) for sample in kept) == 0:
            raise DataError("data: expected samples with a label and at least one token each")
        labels = torch.stack([_label(sample.get(LABELS[0]), kind, config, label) for sample in kept])
        return Split(pad_samples(kept, tools.pad_id(network, None)), labels)

    return _problem(network, tools, {"train": data, "test": test}, split_of, loss, metrics)


def _has_parts(label: Any) -> bool:
    """Return True for one label per token, as a list or array."""
    return getattr(label, "ndim", 0) > 0 if hasattr(label, "ndim") else isinstance(label, list | tuple)


class _Tools:
    """The tokenizer and options with which data become samples of a model."""

    def __init__(self, options: TextOptions, description: Mapping[str, Any]) -> None:
        self.options, self.description = options, description

    def pad_id(self, network: nn.Module, given: int | None) -> int:
        """Return the token for padding: the given one, else that of the model or tokenizer, else 0."""
        own = (given, getattr(_config(network), "pad_token_id", None),
               getattr(self.options.tokenizer, "pad_token_id", None))  # fmt: skip
        return next((number for number in own if isinstance(number, int) and number >= 0), 0)


def _opened(model: ModelLike, tokenizer: Any, options: TextOptions, function: str) -> tuple[nn.Module, _Tools]:
    """Return the network, and what its data are read with."""
    network = model if isinstance(model, nn.Module) else open_model(model, function)
    if tokenizer is None and not isinstance(model, nn.Module):
        tokenizer = open_tokenizer(model, required=False)
    elif isinstance(tokenizer, str | os.PathLike):
        tokenizer = open_tokenizer(tokenizer)
    config = _config(network)
    longest = next(
        (
            length
            for name in ("max_position_embeddings", "n_positions", "max_seq_len")
            if isinstance(length := getattr(config, name, None), int) and length > 0
        ),
        None,
    )
    if longest is not None and getattr(config, "model_type", "") in _OFFSET_POSITIONS:
        longest -= 2
    length = options.max_length or min(longest or MAX_LENGTH, MAX_LENGTH)
    if longest is not None and length > longest:
        raise ValueError(f"max_length: the model takes at most {longest} tokens, got {length}")
    tools = _Tools(replace(options, max_length=length, tokenizer=tokenizer), describe_source(model, network))
    return network, tools


_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
"""Kinds of models whose first positions are not used, since they begin behind the index of padding."""


def _problem(
    network: nn.Module,
    tools: _Tools,
    data: Mapping[str, Any],
    split_of: Callable[[Sequence[Sample]], Split],
    loss: Measure,
    metrics: Mapping[str, Any],
) -> Problem:
    splits = {}
    for name, given in data.items():
        if given is None and name != "train":
            continue
        splits[name] = given if isinstance(given, Split) else split_of(read_samples(given, tools.options))
        _require_vocabulary(splits[name], network)
    caching = "use_cache" in inspect.signature(_base(network).forward).parameters
    forward = logits_without_cache if caching else logits
    return Problem(network, splits, loss, metrics, description=tools.description, forward=forward)


def logits(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the logits of a batch, a dict of inputs."""
    outputs: Tensor = model(**batch).logits
    return outputs


def logits_without_cache(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the logits of a batch, without keeping keys and values for the generation of text."""
    outputs: Tensor = model(**batch, use_cache=False).logits
    return outputs


def _base(network: nn.Module) -> nn.Module:
    """Return the model of transformers in a wrapper of PEFT."""
    inner = getattr(network, "get_base_model", None)
    base: nn.Module = inner() if callable(inner) else network
    return base


def _config(network: nn.Module) -> Any:
    return getattr(_base(network), "config", None)


_CHECKED = 64
"""Samples whose tokens are checked, of data that are read when they are needed."""


def _require_vocabulary(split: Split, network: nn.Module) -> None:
    """Raise ``ValueError`` for token ids beyond the embedding, whose own error doesn't say so."""
    size = getattr(_config(network), "vocab_size", None)
    inputs = (split.take(slice(_CHECKED)) if isinstance(split, LazySplit) else split).inputs
    ids = inputs.get(IDS) if isinstance(inputs, Mapping) else None
    if isinstance(size, int) and ids is not None and not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(
            f"data: expected token ids from 0 to {size - 1}, the vocabulary of the model, got {int(ids.min())} to "
            f"{int(ids.max())}; is the tokenizer that of another model?"
        )


def multi_label_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of each sample, the mean over its labels."""
    wide = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    return functional.binary_cross_entropy_with_logits(wide, targets.to(wide.dtype), reduction="none").mean(1)


def multi_label_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the percentage of labels of each sample that are predicted at a threshold of one half."""
    return 100 * ((outputs > 0) == (targets > 0.5)).float().mean(1)


def regression_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error of each sample."""
    return mean_squared_error(outputs, targets.to(torch.promote_types(outputs.dtype, torch.float32)))


def _classification(config: Any) -> tuple[str, Measure, Mapping[str, Measure]]:
    """Return the kind of labels, with loss and metrics, as transformers choose it."""
    kind = getattr(config, "problem_type", None)
    if kind is None:
        kind = "regression" if getattr(config, "num_labels", 2) == 1 else "single_label_classification"
    if kind == "regression":
        return kind, regression_loss, {}
    if kind == "multi_label_classification":
        return kind, multi_label_loss, {"acc": multi_label_accuracy}
    return kind, cross_entropy, {"acc": accuracy}


def _is_ignored(label: Any) -> bool:
    if isinstance(label, Tensor):
        return label.dim() == 0 and int(label) == IGNORED
    return isinstance(label, int) and label == IGNORED


def _label(value: Any, kind: str, config: Any, name: str) -> Tensor:
    """Return a label as a number, or as as many as the model has outputs."""
    if value is None:
        raise ValueError(f"data: expected a label called {name!r} in each sample; name it (label=)")
    if kind != "single_label_classification":
        numbers = torch.as_tensor([float(v) for v in value] if isinstance(value, list | tuple) else value).float()
        numbers = numbers.reshape(-1)
        if len(numbers) != config.num_labels:
            raise ValueError(f"data: expected {config.num_labels} numbers as label {name!r}, got {len(numbers)}")
        return numbers
    known = {str(key): int(number) for key, number in (getattr(config, "label2id", None) or {}).items()}
    if isinstance(value, str) and value in known:
        return torch.tensor(known[value])
    try:
        number = int(value)
        exact = float(value) == number
    except (TypeError, ValueError):
        number, exact = -1, False
    if not exact or not 0 <= number < config.num_labels:
        raise ValueError(
            f"data: expected a label from 0 to {config.num_labels - 1}, or one of {', '.join(list(known)[:8])}, got "
            f"{value!r}"
        )
    return torch.tensor(number)
