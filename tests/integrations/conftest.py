"""Tiny models and tokenizers, made from configurations; nothing is downloaded."""

from __future__ import annotations

import os

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported

transformers = pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

WORDS = ["<pad>", "<eos>", *"abcdefghijklmnopqrstuvwxyz", *(f"w{k}" for k in range(36))]


@pytest.fixture(scope="session")
def tokenizer():
    """A tokenizer of 64 words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    inner = Tokenizer(models.WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="<eos>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>",
        model_input_names=["input_ids", "attention_mask"],  # before version 5 there were more by default
    )  # fmt: skip


SIZES = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 64, "n_positions": 32}
IDS = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}


@pytest.fixture
def gpt2():
    """A language model with dropout in training mode and tied embeddings, in double precision."""
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, **IDS)).double().train()


@pytest.fixture
def bert():
    """A classifier of three classes, in double precision."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=64,
        max_position_embeddings=32, num_labels=3, pad_token_id=0, label2id={"bad": 0, "fair": 1, "good": 2},
        id2label={0: "bad", 1: "fair", 2: "good"},
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).double().train()


@pytest.fixture
def gpt2_folder(tmp_path, gpt2, tokenizer):
    """The language model as a folder with its tokenizer, in single precision."""
    folder = tmp_path / "gpt2"
    gpt2.float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
