"""What lab 01's checks recognize."""

import math

import torch
import torch.nn.functional as F

from ...objectives.pretraining import nt_xent
from . import letters, number, recognizes


@recognizes("01.1", right="One partner among three others: e^2 out of e^2 + 2.")
def two_pairs_by_hand(loss):
    e2 = math.exp(2)
    mistakes = dict(
        counts_itself=-math.log(e2 / (2 * e2 + 2)),
        no_temperature=-math.log(math.e / (math.e + 2)),
        one_stranger=-math.log(e2 / (e2 + 1)),
        partner_not_in_sum=-math.log(e2 / 2),
        sum_not_mean=4 * -math.log(e2 / (e2 + 2)),
    )
    return number(loss, -math.log(e2 / (e2 + 2)), mistakes, "{} is not the loss of two perfect pairs.", abs_tol=2e-3)


@recognizes("01.2", right="The same number as the package's, and its gradient reaches both views.")
def contrast_as_code(contrast):
    g = torch.Generator().manual_seed(3)
    za, zb = torch.randn(2, 5, 4, generator=g) * torch.tensor([1.0, 3.0]).view(2, 1, 1)
    za.requires_grad_(True)
    loss = contrast(za, zb, 0.4)
    scalar = isinstance(loss, torch.Tensor) and not loss.ndim
    yield not scalar, "A tensor without dimensions is wanted, so that it can be a loss."

    partner = torch.arange(10).roll(5)

    def entropy_of(z, own=-math.inf, partner=partner):
        scores = z @ z.T / 0.4
        return F.cross_entropy(scores if own is None else scores.fill_diagonal_(own), partner)

    with torch.no_grad():
        raw = torch.cat([za, zb])
        unit = F.normalize(raw, dim=1)
        right = nt_xent(za, zb, 0.4).item()
        mistakes = dict(
            counts_itself=entropy_of(unit, own=None),
            not_normalized=entropy_of(raw),
            neighbor_as_partner=entropy_of(unit, partner=torch.arange(10).roll(1)),
            across_only=F.cross_entropy(unit[:5] @ unit[5:].T / 0.4, torch.arange(5)),
            zero_diagonal=entropy_of(unit, own=0.0),
        ) | {
            "That is the sum over all 2B vectors; take the mean.": 10 * entropy_of(unit),
            "Divide by the temperature instead of multiplying.": nt_xent(za, zb, 2.5),
            "The temperature is not used.": nt_xent(za, zb, 1.0),
        }
    otherwise = f"On five pairs this gives {{:.4f}}, not {right:.4f}."
    yield from number(loss.item(), right, mistakes, otherwise, rel_tol=1e-4)
    yield not loss.requires_grad, "The number is right but has no gradient: as a loss it would change nothing."


@recognizes("01.3", right="0.98: at T = 0.1 only the nearest strangers feel the push.")
def push_at_a_temperature(share):
    right, plain = 1 / (1 + math.exp(-4)), 1 / (1 + math.exp(-0.4))
    mistakes = dict(no_temperature=plain, cosines_as_shares=0.9 / 1.4, the_other_one=1 - right, not_a_share=math.exp(9))
    otherwise = "{} is not the share of one of two numbers in proportion to exp(s / T)."
    return number(share, right, mistakes, otherwise, abs_tol=4e-3)


@recognizes("01.4", right="1 everywhere on the sphere, 0 in a collapse.")
def spread_of_features(spread):
    z = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, -1.0], [-4.0, 3.0, 0.0], [0.0, 1.0, 1.0]])
    value = torch.as_tensor(spread(z.clone()))
    yield value.numel() != 1, f"These are {value.numel()} numbers; average over the dimensions to get one."

    def of(z, dim=0, factor=3, correction=0):
        return float(z.std(dim, correction=correction).mean() * factor**0.5)

    unit = F.normalize(z, dim=1)
    right = of(unit)
    mistakes = dict(not_normalized=of(z), over_dimensions=of(unit, dim=1), no_scale=of(unit, factor=1)) | {
        "Use `correction=0`, so that vectors that point everywhere come out at 1.": of(unit, correction=1),
        "That is sqrt(N); D is the number of dimensions, `z.shape[1]`.": of(unit, factor=5),
    }
    otherwise = f"On five vectors in three dimensions this gives {{:.3f}}, not {right:.3f}."
    yield from number(float(value), right, mistakes, otherwise, rel_tol=1e-4)


@recognizes("01.5", right="Color, orientation and size are each the label once.")
def alterations_that_erase(erases):
    erases = letters(erases)
    unknown, missing = (", ".join(sorted(part)) for part in (erases - set("abcde"), set("acd") - erases))
    yield unknown, f"There is no {unknown}; use the letters a to e."
    yield erases == set("be"), "turned_round"
    yield "b" in erases, "cells_have_no_up"
    yield "e" in erases, "stain_is_not_the_label"
    yield "d" not in erases, "size_forgotten"
    yield missing, f"{missing} can erase a label as well."
