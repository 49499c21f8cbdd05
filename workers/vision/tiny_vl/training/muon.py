"""Muon: momentum whose update is made orthogonal, for the matrices inside the layers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

# Coefficients of the Newton-Schulz iteration, from Muon's author.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
# Makes an update as large as Adam's would be, so that both can have one learning rate.
UPDATE_SCALE = 0.2


def orthogonalized(matrices: Tensor) -> Tensor:
    """The nearest matrices, about, whose singular values are all one; shape (K, rows, columns)."""
    x = matrices.bfloat16()
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    first, second, third = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = first * x + (second * gram + third * gram @ gram) @ x
    return (x.mT if is_tall else x).float()


class Muon:
    """Steps all matrices of one shape together."""

    def __init__(self, parameters: Iterable[Tensor], weight_decay: float, momentum: float = 0.95) -> None:
        self._weight_decay, self._momentum = weight_decay, momentum
        self._groups: dict[tuple[int, ...], list[tuple[Tensor, slice]]] = defaultdict(list)
        for parameter in parameters:
            rows, columns = parameter.shape
            # q, k and v in one matrix are three.
            height = columns if rows == 3 * columns else rows
            for start in range(0, rows, height):
                self._groups[height, columns].append((parameter, slice(start, start + height)))
        self._momenta: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update all parameters from their gradients."""
        for shape, members in self._groups.items():
            gradients = torch.stack([parameter.grad[rows] for parameter, rows in members])
            momenta = self._momenta.setdefault(shape, torch.zeros_like(gradients))
            momenta.lerp_(gradients, 1 - self._momentum)
            updates = orthogonalized(gradients.lerp(momenta, self._momentum))
            weights = [parameter.data[rows] for parameter, rows in members]
            torch._foreach_mul_(weights, 1 - learning_rate * self._weight_decay)
            scale = UPDATE_SCALE * math.sqrt(max(shape))
            torch._foreach_add_(weights, list(updates.unbind(0)), alpha=-learning_rate * scale)
