"""The problem of a folder of Hugging Face, whatever kind of model it has."""

from __future__ import annotations

import os
from typing import Any

from landscape.integrations.folders import Folder, kind_of
from landscape.integrations.huggingface import causal_lm, sequence_classifier
from landscape.problem.problem import Problem
from landscape.problem.references import call


def folder_problem(
    folder: Folder, data: Any = None, *, test: Any = None, splits: Any = None, **options: Any
) -> Problem:
    """Return the problem of a folder: a causal language model or a classifier, as its ``config.json`` says.

    This is what ``hf:FOLDER`` means as a problem on the command line and as the factory of a
    :class:`~landscape.ProblemSpec`.

    Args:
        folder: folder with ``config.json`` and weights, or with an adapter of PEFT whose base model is a folder, too.
        data: samples of the split ``train``, see :func:`~landscape.huggingface.causal_lm`; a file on the command line.
        test: samples of the split ``test``.
        splits: names of the splits that are needed; ``test`` is not read unless it is one of them.
        **options: further arguments of :func:`~landscape.huggingface.causal_lm` or
            :func:`~landscape.huggingface.sequence_classifier`.

    Raises:
        ValueError: another kind of model, no data, or an unknown option; and as for the two functions.
    """
    if data is None:
        raise ValueError(
            f"hf:{os.fspath(folder)}: expected data, such as a .jsonl file with a text in each line (data=)"
        )
    kind = kind_of(folder)
    if splits is not None and "test" not in splits:
        test = None
    function = causal_lm if kind == "causal_lm" else sequence_classifier
    given = {**options, "model": folder, "data": data, "test": test}
    problem: Problem = call(function, given, name=f"hf:{os.fspath(folder)}")
    return problem
