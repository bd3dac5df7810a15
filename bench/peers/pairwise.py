"""MMD as it stands in textbooks and most repositories: every difference of two rows, then a sum of Gaussians."""

from __future__ import annotations

import torch


def mmd(source: torch.Tensor, target: torch.Tensor, kernels: int = 5, factor: float = 2.0) -> torch.Tensor:
    """Squared MMD, the sum over `kernels` Gaussians, of source `(N, D)` and target `(M, D)`."""
    total = torch.cat([source, target])
    n = len(total)
    rows = total.unsqueeze(0).expand(n, n, total.shape[1])
    columns = total.unsqueeze(1).expand(n, n, total.shape[1])
    distances = ((rows - columns) ** 2).sum(2)
    bandwidth = distances.detach().sum() / (n**2 - n) / factor ** (kernels // 2)
    gram = sum(torch.exp(-distances / (bandwidth * factor**i)) for i in range(kernels))
    s = len(source)
    return gram[:s, :s].mean() + gram[s:, s:].mean() - gram[:s, s:].mean() - gram[s:, :s].mean()
