"""Networks of many kinds for the tests of alignment, small and with random weights in every tensor."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape import models


class ChunkedAttention(nn.Module):
    """Attention whose query, key and value are chunks of one layer, by torch's own function."""

    def __init__(self, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.heads = heads
        self.embed, self.norm = nn.Linear(5, width), nn.LayerNorm(width)
        self.qkv, self.out, self.head = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        batch, time, width = x.shape
        parts = self.qkv(self.norm(x)).chunk(3, dim=-1)
        query, key, value = (p.view(batch, time, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.head(x + self.out(mixed.transpose(1, 2).reshape(batch, time, width))).mean(1)


class RotaryAttention(nn.Module):
    """Attention with rotary positions, separate projections, and fewer heads for key and value than for query."""

    def __init__(self, width: int = 16, heads: int = 4, shared: int = 2) -> None:
        super().__init__()
        self.heads, self.shared, self.size = heads, shared, width // heads
        self.embed, self.head = nn.Linear(5, width), nn.Linear(width, 4)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(width, shared * self.size), nn.Linear(width, shared * self.size)

    def rotate(self, x: Tensor) -> Tensor:
        half = self.size // 2
        angle = torch.arange(x.shape[2])[:, None] * 0.5 ** torch.arange(half)
        a, b = x[..., :half], x[..., half:]
        cos, sin = angle.cos().to(x), angle.sin().to(x)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        batch, time, width = x.shape
        query = self.rotate(self.query(x).view(batch, time, self.heads, -1).transpose(1, 2))
        key = self.rotate(self.key(x).view(batch, time, self.shared, -1).transpose(1, 2))
        value = self.value(x).view(batch, time, self.shared, -1).transpose(1, 2)
        key, value = (t.repeat_interleave(self.heads // self.shared, dim=1) for t in (key, value))
        scores = (query @ key.transpose(2, 3) / math.sqrt(self.size)).softmax(-1)
        return self.head((scores @ value).transpose(1, 2).reshape(batch, time, width)).mean(1)


class Separable(nn.Module):
    """Depthwise and grouped convolutions, group norm, squeeze and excitation, and a padded shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(4, 8)
        self.depth, self.point = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 16, 1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.squeeze, self.excite, self.head = nn.Linear(16, 4), nn.Linear(4, 16), nn.Linear(16 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm(self.stem(x)))
        wide = F.pad(x, (0, 0, 0, 0, 4, 4))
        x = F.relu(self.point(F.hardswish(self.depth(x))) + wide)
        x = self.grouped(x)
        x = x * self.excite(F.relu(self.squeeze(x.mean((2, 3))))).sigmoid()[:, :, None, None]
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class ChannelsLast(nn.Module):
    """A block of ConvNeXt: depthwise convolution, layer norm over channels in the last axis, a scaled residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 6, 2, stride=2), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 24), nn.Linear(24, 6)
        self.scale, self.head = nn.Parameter(torch.ones(6)), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        x = x + (self.scale * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)
        return self.head(x.mean((-2, -1)))


class MultiheadEncoder(nn.Module):
    """torch's own encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 12)
        self.layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x)).mean(1))


class Cumulative(nn.Module):
    """A network with an operation that depends on the order of its hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu().cumsum(-1))


class Recurrent(nn.Module):
    """A network with a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x)[0][:, -1])


TOKENS = {"vocabulary": 16, "context": 8, "width": 24}
IMAGES, SEQUENCE = (3, 8, 8), (7, 5)
NETWORKS = {
    "mlp": (lambda: models.build("mlp", widths=(20, 16, 12)), (64,)),
    "plain": (lambda: models.build("resnet20_noshort"), IMAGES),
    "residual": (lambda: models.build("resnet20"), IMAGES),
    "lenet": (lambda: models.build("lenet"), IMAGES),
    "transformer": (lambda: models.build("transformer", **TOKENS, depth=2, heads=4), "tokens"),
    "untied": (lambda: models.build("transformer", **TOKENS, depth=1, heads=3, tied=False), "tokens"),
    "chunked": (ChunkedAttention, SEQUENCE),
    "rotary": (RotaryAttention, SEQUENCE),
    "separable": (Separable, IMAGES),
    "channels-last": (ChannelsLast, IMAGES),
    "encoder": (MultiheadEncoder, SEQUENCE),
}  # fmt: skip
LARGE = {"vgg": (lambda: models.build("vgg9"), IMAGES), "densenet": (lambda: models.build("densenet121"), IMAGES),
         "bottleneck": (lambda: models.build("resnet50"), IMAGES)}  # fmt: skip


def make(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Return a network with random entries in every tensor, as after training, and a few inputs."""
    build, shape = {**NETWORKS, **LARGE}[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                if tensor.is_floating_point():
                    noise = torch.rand_like(tensor) if tensor.dim() < 2 else torch.randn_like(tensor)
                    tensor.mul_(0.5 + torch.rand_like(tensor)).add_(0.05 * noise)
        inputs = torch.randint(0, 16, (3, 8)) if shape == "tokens" else torch.randn(3, *shape)
    return model.eval(), inputs
