"""Masked language modeling: what pretrained the text encoder, gone on with on text of your own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .objective import Objective, one_side


def mask_tokens(
    tokens: Tensor, mask_token: int, special: tuple[int, ...], vocabulary: int, ratio: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Ids `(B, L)` with some hidden, and which ones, bool `(B, L)`.

    Each token that is not special is chosen with probability `ratio`; of the chosen, 80 % become `mask_token`, 10 % any id,
    10 % stay. Devlin et al., 2019, arXiv:1810.04805, section 3.1.
    """
    words = ~torch.isin(tokens, torch.tensor([0, *special], device=tokens.device))
    chosen = words & (torch.rand(tokens.shape, device=tokens.device) < ratio)
    how = torch.rand(tokens.shape, device=tokens.device)
    masked = torch.where(chosen & (how < 0.8), mask_token, tokens)
    anything = torch.randint(1, vocabulary, tokens.shape, device=tokens.device)
    return torch.where(chosen & (how >= 0.8) & (how < 0.9), anything, masked), chosen


class MaskedLanguageModeling(Objective):
    """Which word stands here? Cross-entropy at hidden tokens, `-1/|M| sum_{t in M} log p(x_t | masked text)`.

    Devlin et al., 2019, arXiv:1810.04805; going on with it on unlabeled text of the target is domain-adaptive pretraining
    (Gururangan et al., 2020, arXiv:2004.10964):

        fit(model, None, target.train.unlabeled(), objectives=[MaskedLanguageModeling()])

    The head (dense, GELU, norm, and a bias a word) is new, for the packaged MiniLM carries none; its last matrix is tied to the
    encoder's word embeddings, which train through both. Makes its own forward pass. Logs the accuracy on hidden tokens.

    Parameters
    ----------
    weight
        Factor in the loss.
    ratio
        Share of tokens that are hidden.
    on
        "source" or "target".

    Raises
    ------
    ArgumentError
        For a ratio outside 0 to 1, or an encoder without a mask token.

    Examples
    --------
    >>> reader = xl.Classifier(xl.encoder("minilm", pretrained=False), classes=("heart", "lung"))
    >>> notes = xl.Domain(xl.text.tokenize(["asthma", "heart failure"]), None, reader.classes)
    >>> run = xl.fit(reader, None, notes, objectives=[xl.MaskedLanguageModeling(ratio=0.5)], steps=1, batch_size=2)
    >>> run.history[0]["MaskedLanguageModeling"] > 0
    True
    """

    def __init__(self, weight: float = 1.0, *, ratio: float = 0.15, on: str = "target"):
        super().__init__(weight)
        self.expect(0 < ratio < 1, "above 0 and below 1", ratio=ratio)
        self.ratio, self.on = ratio, on
        self.needs = one_side(self, on)

    def setup(self, model, source, target):
        encoder = model.encoder
        masks = getattr(encoder, "mask_token", None) is not None
        self.expect(masks, "a text encoder with a mask token", encoder=encoder.name)
        width = encoder.body.words.embedding_dim
        self.head = nn.Sequential(nn.Linear(encoder.dim, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(encoder.vocabulary))

    def forward(self, step):
        encoder = step.model.encoder
        tokens = encoder.prepare(getattr(step, self.on).inputs)
        masked, chosen = mask_tokens(tokens, encoder.mask_token, encoder.special, encoder.vocabulary, self.ratio)
        states = self.head(encoder.body.hidden(masked)[chosen])
        logits = F.linear(states, encoder.body.words.weight, self.bias).float()
        truth = encoder.body.native(tokens[chosen])
        n = chosen.sum().clamp(min=1)  # a batch of very short texts may hide nothing
        self._log = {"accuracy": (logits.detach().argmax(dim=1) == truth).sum() / n}
        return F.cross_entropy(logits, truth, reduction="sum") / n
