"""Models of Hugging Face as they are: language models and classifiers with their own names, inputs and losses.

Needs ``pip install 'landscape[hf]'`` for folders; a model and its data in memory need nothing further.
"""

from typing import TYPE_CHECKING, Any

from landscape._utils.optional import import_optional
from landscape.integrations.folder_problem import folder_problem as folder_problem
from landscape.integrations.huggingface import causal_lm as causal_lm
from landscape.integrations.huggingface import sequence_classifier as sequence_classifier
from landscape.integrations.tokens import Perplexity as Perplexity
from landscape.integrations.tokens import token_accuracy as token_accuracy
from landscape.integrations.tokens import token_loss as token_loss

if TYPE_CHECKING:
    from landscape.workflows.recording.huggingface import RecordCallback as RecordCallback

__all__ = [
    "Perplexity",
    "RecordCallback",
    "causal_lm",
    "folder_problem",
    "sequence_classifier",
    "token_accuracy",
    "token_loss",
]


def __getattr__(name: str) -> Any:
    if name == "RecordCallback":  # whose base class is that of transformers, imported with it
        import_optional("transformers", "hf")
        from landscape.workflows.recording.huggingface import RecordCallback

        return RecordCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
