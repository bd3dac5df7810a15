"""Looking on while a model trains: an objective that changes nothing and keeps features for a picture."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..domains import Domain
from ..features import embed
from ..objectives import Objective


class Watch(Objective):
    """Adds nothing to the loss; at some moments of the run it keeps the features of the domains that it watches.

    Parameters
    ----------
    domains
        What to embed, such as some source and some target pictures.
    moments
        Shares of the run, 0 to 1.

    Attributes
    ----------
    kept
        Each moment's name to a tuple of features `(N, D)`, one for each domain.

    Examples
    --------
    >>> watch = xl.lab.Watch(source.val.take(n=8), moments=[0, 1])
    >>> run = xl.fit(model, source.train, objectives=[xl.CrossEntropy(), watch], steps=2)
    >>> list(watch.kept)
    ['0% of the run', '100% of the run']
    """

    needs = frozenset({"source"})

    def __init__(self, *domains: Domain, moments: Iterable[float] = (0, 1 / 6, 1 / 2, 1)):
        super().__init__(weight=0.0)
        self.domains, self.moments = domains, sorted(moments)
        self.kept: dict[str, tuple[Tensor, ...]] = {}

    def forward(self, step) -> Tensor:
        return torch.zeros((), device=step.source.logits.device)

    def after_step(self, step) -> None:
        if self.moments and step.progress >= self.moments[0]:
            name = f"{self.moments.pop(0):.0%} of the run"
            self.kept[name] = tuple(embed(step.model, domain, cache=False) for domain in self.domains)
