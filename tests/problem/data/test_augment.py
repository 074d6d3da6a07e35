"""Augmentation, compared with the published order image by image: pad the raw image, crop, flip, normalize."""

from __future__ import annotations

import pytest
import torch

from landscape.problem.data.cifar10 import MEAN, PADDING, STD, CropAndFlip, normalize

BORDER = normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)).flatten()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (64, 3, 32, 32), generator=seeded(0), dtype=torch.uint8)


def test_normalize_by_hand(images: torch.Tensor) -> None:
    expected = torch.stack([(images[:, c].double() - MEAN[c]) / STD[c] for c in range(3)], dim=1)
    torch.testing.assert_close(normalize(images).double(), expected, rtol=0, atol=1e-6)


def test_crop_and_flip_equals_published_code(images: torch.Tensor) -> None:
    augmented = CropAndFlip(PADDING, BORDER)(normalize(images), seeded(7))
    again = seeded(7)
    top, left, mirrored = (torch.randint(high, (64,), generator=again).tolist() for high in (9, 9, 2))
    assert set(mirrored) == {0, 1}
    assert {0, 8} <= set(top) | set(left)
    for n in range(64):
        raw = torch.zeros(3, 40, 40, dtype=torch.uint8)
        raw[:, 4:36, 4:36] = images[n]
        crop = raw[:, top[n] : top[n] + 32, left[n] : left[n] + 32]
        crop = crop.flip(2) if mirrored[n] else crop
        # Bit for bit: the border is exactly what black becomes.
        assert torch.equal(augmented[n], normalize(crop[None])[0])


def test_crop_offsets_are_uniform() -> None:
    ramp = torch.arange(1024.0).reshape(1, 1, 32, 32).expand(20_000, 1, 32, 32)
    out = CropAndFlip(4, torch.tensor([-1.0]))(ramp, seeded(1))
    # Row 16, columns 15 and 16 tell offset and flip: 32 * (16 + top - 4) + column + left - 4.
    a, b = out[:, 0, 16, 15].long(), out[:, 0, 16, 16].long()
    mirrored = a > b
    top = a // 32 - 12
    left = torch.where(mirrored, b, a) % 32 - 11
    assert abs(mirrored.double().mean().item() - 0.5) < 0.02
    for offsets in (top, left):
        share = offsets.bincount(minlength=9).double() / 20_000
        assert len(share) == 9
        assert (share - 1 / 9).abs().max() < 0.012  # five standard deviations
    assert torch.corrcoef(torch.stack([top, left, mirrored.long()]).double()).triu(1).abs().max() < 0.04


def test_input_and_random_state_unchanged(images: torch.Tensor) -> None:
    inputs = normalize(images)
    before, state = inputs.clone(), torch.get_rng_state()
    first = CropAndFlip(PADDING, BORDER)(inputs, seeded(2))
    assert torch.equal(inputs, before)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, CropAndFlip(PADDING, BORDER)(inputs, seeded(2)))
    assert not torch.equal(first, CropAndFlip(PADDING, BORDER)(inputs, seeded(3)))


def test_dtype_and_odd_shapes() -> None:
    inputs = torch.rand(5, 2, 7, 9, generator=seeded(0)).bfloat16()
    out = CropAndFlip(3, torch.tensor([0.5, -0.5]))(inputs, seeded(0))
    assert out.dtype == torch.bfloat16
    assert out.shape == inputs.shape
    for channel, border in ((0, 0.5), (1, -0.5)):
        allowed = {border, *inputs[:, channel].flatten().tolist()}
        assert set(out[:, channel].flatten().tolist()) <= allowed
