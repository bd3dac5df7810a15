"""What lab 06's checks recognize."""

import math

import torch

from . import Mistake, among, number, recognizes


def _not_broadcast(error: RuntimeError, message: str) -> Mistake:
    """The mistake of shapes that do not broadcast; any other error goes on."""
    if "must match" not in str(error):
        raise error
    return Mistake("not_broadcast", message)


@recognizes(
    "06.1",
    right="A quarter of a quarter comes through: 16. A value of 32 would need only one and a half times the dye.",
)
def reading_with_twice_the_dye(reads):
    mistakes = dict(
        halved_value=32,
        half_the_dye=128,
        stopped_at_density=[-2 * math.log10(0.25), -2 * math.log(0.25)],
        stopped_at_share=1 / 16,
        subtracted=[0, -128],
    )
    otherwise = "{} is not 256 times the share that two layers let through."
    return number(reads, 16, mistakes, otherwise, rel_tol=1e-2, abs_tol=1e-3)


@recognizes("06.2", right="A factor for each picture, the same for the same seed, and nothing wraps around.")
def brightness_drawn_per_sample(brighten):
    images = torch.tensor([100, 200, 250], dtype=torch.uint8).view(1, 3, 1, 1).expand(64, 3, 4, 4)

    def run(seed=0, moved=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(moved)
            return brighten(images.clone(), torch.Generator().manual_seed(seed))

    try:
        out = run()
    except RuntimeError as error:
        message = "Shape (B,) meets the columns of a picture; B factors of shape (B, 1, 1, 1) multiply whole pictures."
        yield True, _not_broadcast(error, message)
    if not isinstance(out, torch.Tensor) or out.shape != images.shape or out.dtype != torch.uint8:
        seen = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
        yield True, f"The result is {seen}; uint8 of the shape that came in is wanted."
    yield not torch.equal(out, run(moved=1)), "own_randomness"
    factors = out[:, 0].float().flatten(1) / 100
    yield (factors.std(1) > 0.02).any(), "one_draw_a_pixel"
    yield (factors - factors[0, 0]).abs().max() < 1e-6, "one_draw"
    expected = (torch.tensor([200.0, 250.0]).view(1, 2, 1, 1) * factors.mean(1).view(-1, 1, 1, 1)).clamp(max=255)
    beside = out[:, 1:].float() - expected
    yield beside.min() < -100, "wraps"
    yield beside.abs().max() > 4, "The channels of a picture did not get the same factor."
    low, high = factors.min(), factors.max()
    wide = low >= 0.785 and high <= 1.215 and high - low >= 0.25
    yield not wide, f"The factors run from {low:.2f} to {high:.2f}, not over 0.8 to 1.2."
    yield torch.equal(out, run(seed=1)), "Another seed gives the same factors, so nothing was drawn from the generator."


@recognizes("06.3", right="0.08 is erased; the other 0.37 of the drop was unfamiliar and can be trained back.")
def what_was_erased(erased):
    mistakes = dict(whole_drop=0.45, unfamiliar=0.37, sign=-0.08)
    otherwise = "{:g} is not the difference, on the scale 0 to 1, of two models that were each tested as trained."
    return number(erased, 0.08, mistakes, otherwise, abs_tol=1e-3)


@recognizes("06.4", right="Pictures and labels are mixed by the same weights, a weight for each picture.")
def mixup_mixes_both(mixup):
    images = torch.tensor([10.0, 20.0, 40.0]).view(3, 1, 1, 1).repeat(1, 1, 2, 2)
    labels, partner, weight = torch.eye(3), torch.tensor([1, 2, 0]), torch.tensor([0.9, 0.6, 0.25])
    try:
        both = mixup(images.clone(), labels.clone(), partner, weight)
    except RuntimeError as error:
        message = "Shape (B,) meets the last axis; weights need the shape (B, 1, 1, 1), and (B, 1) for labels."
        yield True, _not_broadcast(error, message)
    two = isinstance(both, tuple | list) and len(both) == 2
    yield not two, "Return two things, the mixed images and the mixed labels."
    mixed, soft = both
    shapes = f"{tuple(mixed.shape)} and {tuple(soft.shape)}"
    kept = (mixed.shape, soft.shape) == (images.shape, labels.shape)
    yield not kept, f"The shapes are {shapes}; those that came in are wanted."
    w = weight.view(-1, 1)
    right = w * labels + (1 - w) * labels[partner]
    yield torch.allclose(soft, 0.9 * labels + 0.1 * labels[partner]), "one_weight"
    values = torch.tensor([11.0, 28.0, 17.5]).view(3, 1, 1, 1).expand_as(mixed)
    otherwise = f"The first picture, 0.9 of 10 and 0.1 of 20, should be 11; yours is {mixed[0, 0, 0, 0]:.2f}."
    yield not torch.allclose(mixed, values), otherwise
    mistakes = dict(label_kept=labels, label_of_partner=(1 - w) * labels + w * labels[partner])
    otherwise = "The pictures are right; the labels are not mixed by the same weights."
    yield from among(lambda value: torch.allclose(soft, value), right, mistakes, otherwise)


@recognizes("06.5", right="24 x 32 pixels were pasted, so 81 % of the picture, and of its label, is still its own.")
def label_left_after_clipping(own):
    one, share = 32 / 64**2, 24 * 32 / 64**2  # of the picture: a pasted column, and all of them
    mistakes = dict(not_clipped=0.75, pasted_share=share, outside_pasted=1 - 8 * one, one_column_more=1 - 25 * one)
    return number(own, 1 - share, mistakes, "{:g} is not the share of pixels that stayed, 0 to 1.", abs_tol=3e-3)


@recognizes(
    "06.6",
    right="Only laboratories that were left out tell you what a new one may expect. It may do as badly as the worst of them, or worse.",
)
def promise_to_the_fourth(answer):
    expected, worst = answer
    seen, left_out = (0.93, 0.95, 0.94), (0.71, 0.84, 0.66)
    mistakes = dict(seen_places=sum(seen) / 3, all_six=sum(seen + left_out) / 6)
    otherwise = "{:.3f} is not the mean of the three laboratories that were left out."
    yield from number(expected, sum(left_out) / 3, mistakes, otherwise, abs_tol=5e-3)
    otherwise = "The worst case is the lowest of the three that were left out; {:g} is not."
    yield from number(worst, min(left_out), dict(best_case=max(left_out)), otherwise, abs_tol=5e-3)
