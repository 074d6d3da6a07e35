"""Models of Hugging Face as they are: language models and classifiers with their own names, inputs and losses.

Needs ``pip install 'landscape[hf]'`` for folders; a model and its data in memory need nothing further.
"""

from landscape.integrations.folders import folder_problem as folder_problem
from landscape.integrations.huggingface import causal_lm as causal_lm
from landscape.integrations.huggingface import sequence_classifier as sequence_classifier
from landscape.integrations.tokens import Perplexity as Perplexity
from landscape.integrations.tokens import token_accuracy as token_accuracy
from landscape.integrations.tokens import token_loss as token_loss

__all__ = ["Perplexity", "causal_lm", "folder_problem", "sequence_classifier", "token_accuracy", "token_loss"]
