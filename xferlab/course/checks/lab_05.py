"""What lab 05's checks recognize."""

from __future__ import annotations

import math

import torch

from ...objectives.discrepancy import coral
from . import Mistake, recognizes


@recognizes("05.1", right="Means are subtracted, and shapes beyond the second moment are invisible.")
def blind_spots(blind):
    answer = tuple(str(blind[key]).strip().lower() for key in ("moved but unseen", "same moments"))
    if answer == ("moved", "ring"):
        return None
    if answer == ("ring", "moved"):
        return Mistake("swapped")
    if "stretched" in answer:
        return Mistake("stretched_is_seen")
    return "Use the names of two rows of the table in which CORAL is near zero although the sets differ."


@recognizes("05.2", right="The same number as the package's.")
def coral_by_hand(function):
    g = torch.Generator().manual_seed(1)
    zs, zt = torch.randn(30, 5, generator=g) + 3, 2 * torch.randn(20, 5, generator=g) - 1
    try:
        value = float(function(zs, zt))
    except RuntimeError as error:
        return (
            f"For features (30, 5) and (20, 5) this fails: {error}. Covariances are (5, 5): `torch.cov` wants `zs.T`."
        )
    right = float(coral(zs, zt))
    if math.isclose(value, right, rel_tol=1e-4):
        return None
    d = 5
    plain = zs.T @ zs / 29 - zt.T @ zt / 19
    if math.isclose(value, float(plain.square().sum() / (4 * d**2)), rel_tol=1e-4):
        return Mistake("mean_not_removed")
    if math.isclose(value, right * 4 * d**2, rel_tol=1e-4):
        return Mistake("no_scale")
    if math.isclose(value, math.sqrt(right * 4 * d**2) / (4 * d**2), rel_tol=1e-4):
        return Mistake("not_squared")
    if math.isclose(value, right * d, rel_tol=1e-4):
        return Mistake("d_not_squared")
    biased = (zs.T.cov(correction=0) - zt.T.cov(correction=0)).square().sum() / (4 * d**2)
    if math.isclose(value, float(biased), rel_tol=1e-4):
        return Mistake("by_n")
    return f"On a small example this gives {value:.4f}, not {right:.4f}."


@recognizes("05.3", right="Everyone moves by one; nobody gains by jumping the queue.")
def transport_by_hand(cost):
    if math.isclose(cost, 1.0, abs_tol=1e-6):
        return None
    if math.isclose(cost, 2 / 3, abs_tol=1e-2) or math.isclose(cost, 2.0):
        return Mistake("nearest_neighbor")
    if math.isclose(cost, 3.0, abs_tol=1e-6):
        return Mistake("total_not_mean")
    return f"{cost} is not it; pair the points in sorted order and take the mean distance."


@recognizes(
    "05.4",
    right="One change: both rungs see both laboratories in each batch, and one of them has a distance.",
)
def what_mmd_brought(brought, second):
    right = second["color + MMD"] - second["color + both in batch norm"]
    if math.isclose(brought, right, abs_tol=1e-9):
        return None
    if math.isclose(brought, -right, abs_tol=1e-9):
        return Mistake("wrong_sign")
    if math.isclose(brought, second["color + MMD"] - second["source only"], abs_tol=1e-9):
        return Mistake("against_source_only")
    if math.isclose(brought, second["color + MMD"] - second["color augmentation"], abs_tol=1e-9):
        return Mistake("against_color")
    if math.isclose(brought, second["color + MMD"] - second["color + AdaBN"], abs_tol=1e-9):
        return Mistake("against_adabn")
    if math.isclose(brought, right, abs_tol=6e-4):
        return None  # typed from the table, to three digits
    return (
        f"{brought:+.3f} is not MMD's rung minus the one with color, both laboratories in batch norm and no distance."
    )
