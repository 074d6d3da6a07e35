"""Tests of the numerics of a device; no GPU needed."""

from __future__ import annotations

import torch

from landscape.evaluation.device import current_device, reproducible_numerics


def test_gpu_settings_are_restored():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with reproducible_numerics("cuda:1"):
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cudnn.benchmark
            assert torch.backends.cudnn.deterministic
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.allow_tf32 == before[0]
        with reproducible_numerics("cpu"):
            assert torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = before[1]


def test_current_device_does_nothing_on_cpu():
    with current_device("cpu"):
        assert torch.zeros(1).device.type == "cpu"
