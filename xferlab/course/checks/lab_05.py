"""What lab 05's checks recognize."""

import math

import torch

from ...objectives.discrepancy import coral
from . import number, recognizes


@recognizes("05.1", right="Means are subtracted, and shapes beyond the second moment are invisible.")
def blind_spots(blind):
    answer = tuple(str(blind[key]).strip().lower() for key in ("moved but unseen", "same moments"))
    yield answer == ("ring", "moved"), "swapped"
    yield "stretched" in answer, "stretched_is_seen"
    otherwise = "Use the names of two rows of the table in which CORAL is near zero although the sets differ."
    yield answer != ("moved", "ring"), otherwise


@recognizes("05.2", right="The same number as the package's.")
def coral_by_hand(function):
    g = torch.Generator().manual_seed(1)
    zs, zt = torch.randn(30, 5, generator=g) + 3, 2 * torch.randn(20, 5, generator=g) - 1
    try:
        value = float(function(zs.clone(), zt.clone()))
    except RuntimeError as error:
        advice = "Covariances are (5, 5): `torch.cov` wants `zs.T`."
        yield True, f"For features (30, 5) and (20, 5) this fails: {error}. {advice}"
    right, scale = float(coral(zs, zt)), 4 * 5**2
    plain = (zs.T @ zs / 29 - zt.T @ zt / 19).square().sum() / scale
    biased = (zs.T.cov(correction=0) - zt.T.cov(correction=0)).square().sum() / scale
    root, whole = math.sqrt(right / scale), right * scale
    mistakes = dict(mean_not_removed=plain, by_n=biased, no_scale=whole, d_not_squared=right * 5, not_squared=root)
    yield from number(value, right, mistakes, f"On a small example this gives {{:.4f}}, not {right:.4f}.", rel_tol=1e-4)


@recognizes(
    "05.3",
    right="Each point moves by 1. Leaving the point at 1 where it is saves nothing, because the point at 0 then has to move by 2.",
)
def transport_by_hand(cost):
    mistakes = dict(nearest_neighbor=[2 / 3, 2], total_not_mean=3)
    otherwise = "{} is not it; pair the points in sorted order and take the mean distance."
    return number(cost, 1, mistakes, otherwise, abs_tol=5e-3)


@recognizes("05.4", right="One change: both rungs see both laboratories in each batch, and one of them has a distance.")
def what_mmd_brought(brought, second):
    mmd, right = second["color + MMD"], second["color + MMD"] - second["color + both in batch norm"]
    mistakes = dict(
        wrong_sign=-right,
        against_source_only=mmd - second["source only"],
        against_color=mmd - second["color augmentation"],
        against_adabn=mmd - second["color + AdaBN"],
    )
    yield from number(brought, right, mistakes, abs_tol=1e-9)
    typed = math.isclose(brought, right, abs_tol=6e-4)  # from the table, to three digits
    wanted = "MMD's rung minus the one with color, both laboratories in batch norm and no distance"
    yield not typed, f"{brought:+.3f} is not {wanted}."
