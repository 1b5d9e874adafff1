"""A character-level GPT on the text of Python's own help topics: a language model without a download.

Shapes: B batch, T context length, D width, V vocabulary, H heads.
"""

# ruff: noqa: N803, N806 - tensors carry their shape in their name
from pydoc_data.topics import topics
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ganger_trainer import TrainConfig

VALIDATION_PART = 0.1
EVALUATION_BATCHES = 8
TEXT = "\n".join(topics[name] for name in sorted(topics))
ALPHABET = sorted(set(TEXT))


class Windows:
    """Every window of `length` characters with the character after each; a sample is where a window begins."""

    def __init__(self, tokens: Any, length: int) -> None:
        self._tokens = tokens
        self._offsets_T = torch.arange(length + 1)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._tokens) - len(self._offsets_T) + 1

    def batch(self, indices_B: Any) -> Any:
        """Return inputs and targets, both (B, T)."""
        window_BT = self._tokens[indices_B.unsqueeze(1) + self._offsets_T]
        return window_BT[:, :-1], window_BT[:, 1:]


class CharGpt:
    """A decoder-only transformer."""

    class Config(TrainConfig, frozen=True, kw_only=True):
        """The usual sizes; the defaults train on a laptop's CPU.

        recompute: keep only the input of each block for the backward pass and work the rest out anew: less memory for
        a third more computation, and the same bits.
        """

        layers: int = 2
        heads: int = 4
        width: int = 64
        context: int = 64
        dropout: float = 0.0
        recompute: bool = False

    def model(self, config: Any) -> Any:
        """Return the network."""
        return Gpt(config)

    def data(self, config: Any) -> Any:
        """Return the windows of the first nine tenths of the text."""
        return Windows(_tokens()[: -_validation_size()], config.context)

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the cross entropy per character, in nats."""
        x_BT, y_BT = batch
        logits_BTV = model(x_BT)
        return functional.cross_entropy(logits_BTV.flatten(0, 1), y_BT.flatten())

    def optimizer(self, model: Any, config: Any) -> Any:
        """Return AdamW."""
        return torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.95), weight_decay=0.1)

    def evaluate(self, model: Any, config: Any) -> dict[str, float]:
        """Return the loss on the last tenth of the text, which training never saw."""
        device = next(model.parameters()).device
        windows = Windows(_tokens()[-_validation_size() :], config.context)
        starts_N = torch.linspace(0, len(windows) - 1, EVALUATION_BATCHES * 32).long()
        losses = []
        for indices_B in starts_N.split(32):
            x_BT, y_BT = windows.batch(indices_B)
            losses.append(self.loss(model, (x_BT.to(device), y_BT.to(device))))
        return {"loss": torch.stack(losses).mean().item()}

    def tokens_per_sample(self, config: Any) -> int:
        """Return the characters that a sample predicts."""
        return int(config.context)

    def flops_per_sample(self, model: Any, config: Any) -> float:
        """Return 6 flops for each parameter and token: 2 forward, 4 backward (arXiv 2001.08361, section 2.1)."""
        return float(6 * sum(p.numel() for p in model.parameters()) * config.context)


class Gpt(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Token and position embeddings, `layers` blocks, a head that shares the embedding's weight."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(ALPHABET), config.width)
        self.position = nn.Parameter(torch.zeros(config.context, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.recompute = config.recompute
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, x_BT: Any) -> Any:
        """Return logits (B, T, V)."""
        h_BTD = self.embed(x_BT) + self.position[: x_BT.shape[1]]
        for block in self.blocks:
            # What is worked out anew draws the same dropout again.
            h_BTD = checkpoint(block, h_BTD, use_reentrant=False) if self.recompute else block(h_BTD)
        return self.norm(h_BTD) @ self.embed.weight.T


class Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Causal self-attention, then a perceptron, both residual."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width), nn.GELU(), nn.Linear(4 * config.width, config.width)
        )

    def forward(self, h_BTD: Any) -> Any:
        """Return the block's output, the shape of its input."""
        B, T, D = h_BTD.shape
        q, k, v = (
            part.view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(h_BTD)).chunk(3, dim=2)
        )
        dropout = self.dropout if self.training else 0.0
        a_BHTE = functional.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        h_BTD = h_BTD + self.out(a_BHTE.transpose(1, 2).reshape(B, T, D))
        return h_BTD + self.mlp(self.norm2(h_BTD))


def _tokens() -> Any:
    index = {character: number for number, character in enumerate(ALPHABET)}
    return torch.tensor([index[character] for character in TEXT])


def _validation_size() -> int:
    return int(len(TEXT) * VALIDATION_PART)


task = CharGpt()
