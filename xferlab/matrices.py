"""Matrices of features: checked first, then summed in float64, a block of rows at a time."""

import numpy as np
import torch

from .errors import DataError

BLOCK = 4096  # rows turned to float64 at a time: large float32 features never exist twice
LARGEST = 1e50  # beyond it, fourth powers leave float64


def axes(features, center):
    """Eigenvalues (r,) and eigenvectors (D, r) of F'F for F = features - center, null space left out."""
    if len(features) > features.shape[1]:
        eigenvalues, vectors = np.linalg.eigh(gram_matrix(features, center))
    else:
        _, singular, rows = np.linalg.svd(features - np.float64(center), full_matrices=False)
        eigenvalues, vectors = singular**2, rows.T
    keep = eigenvalues > max(features.shape) * np.finfo(float).eps * eigenvalues.max()
    return eigenvalues[keep], vectors[:, keep]


def blocks(array, center=0.0):
    for start in range(0, len(array), BLOCK):
        rows = slice(start, min(start + BLOCK, len(array)))
        yield rows, array[rows].astype(np.float64) - center


def gram_matrix(array, center=0.0):
    return sum(block.T @ block for _, block in blocks(array, center))


def mean_row(array):
    first = array[0].astype(np.float64)  # subtracted so that a constant column centers to exactly zero
    return first + sum(block.sum(axis=0) for _, block in blocks(array, first)) / len(array)


def checked_probabilities(block, start):
    """Rows of probabilities made to sum to one, or a DataError naming the row."""
    sums = block.sum(axis=1)
    wrong = np.flatnonzero((block.min(axis=1) < 0) | (np.abs(sums - 1) > 5e-3))
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"source_probabilities row {start + row} sums to {sums[row]:.4g}, its smallest value is "
            f"{block[row].min():.4g}; expected values from 0 that sum to 1: pass logits.softmax(dim=1), not logits"
        )
    return block / sums[:, None]


def array_of(values):
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def checked_matrix(values, name, minimum=2):
    array = array_of(values)
    if array.ndim != 2 or len(array) < minimum or array.shape[1] == 0 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; expected real numbers (N, D) with N at least "
            f"{minimum}: one row an example, pooled or flattened"
        )
    with np.errstate(invalid="ignore"):
        usable = float(array.min()) > -LARGEST and float(array.max()) < LARGEST
    if not usable:
        bad = ~(np.abs(array.astype(np.float64)) < LARGEST)
        row, column = np.argwhere(bad)[0]
        seen = f"{name}[{row}, {column}] is {array[row, column]} (bad: {bad.any(axis=1).sum()} of {len(array)} rows)"
        raise DataError(
            f"{seen}; expected finite numbers below {LARGEST:g}: drop those rows, or look for the layer that overflows"
        )
    return array


def checked_pair(source, target, minimum=2):
    source, target = checked_matrix(source, "source", minimum), checked_matrix(target, "target", minimum)
    if source.shape[1] != target.shape[1]:
        widths = f"source has {source.shape[1]} feature dimensions and target {target.shape[1]}"
        raise DataError(f"{widths}; expected equal numbers: use the same encoder on both")
    return source, target


def checked_labels(values, name, rows=None, classes=2):
    """Labels renumbered 0..K-1 without gaps (N,), and the number of examples of each (K,)."""
    array = array_of(values)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; expected whole numbers (N,): score a multi-label "
            "set one column at a time"
        )
    if len(array) == 0 or (rows is not None and len(array) != rows):
        raise DataError(f"{name} has {len(array)} entries; expected {rows or 'at least 2'}: one label for each example")
    bad = np.flatnonzero(~((array >= 0) & (array < np.inf) & (array == np.floor(array))))
    if len(bad):
        seen = f"{name}[{bad[0]}] is {array[bad[0]]}"
        raise DataError(f"{seen}; expected whole numbers from 0 upwards: drop rows without a label")
    found, index, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(found) < classes:
        raise DataError(f"{name} holds one class, {found[0]}; expected at least {classes}: add examples of another")
    return index, counts
