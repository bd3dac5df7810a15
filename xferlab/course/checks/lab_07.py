"""What lab 07's checks recognize."""

import torch

from . import Mistake, among, number, recognizes


@recognizes("07.1", right="alpha times the way from the start; a weight that stayed feels nothing.")
def gradient_of_the_spring(gradient):
    gradient = torch.as_tensor(gradient, dtype=torch.float32)
    shape = tuple(gradient.shape)
    yield shape != (3,), f"The answer has the shape {shape}; three numbers are wanted, one for each weight."
    w, w0 = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, -2.0, 1.5])
    right = 0.1 * (w - w0)
    mistakes = dict(
        pulls_to_zero=0.1 * w,
        kept_half=right / 2,
        forgot_half=2 * right,
        direction_of_step=-right,
        forgot_alpha=w - w0,
        loss_not_gradient=0.05 * (w - w0).square(),
    )
    otherwise = "These are not the derivative of alpha / 2 * (w - w0) ** 2, weight by weight."
    yield from among(lambda value: torch.allclose(gradient, value, atol=1e-4), right, mistakes, otherwise)


@recognizes("07.2", right="Weight decay won three quarters of the way: set it to 0 beside L2-SP.")
def where_two_springs_rest(rests_at):
    mistakes = dict(stays_at_start=2.0, decays_to_zero=0.0, half_way=1.0, shares_swapped=1.5)
    return number(rests_at, 0.5, mistakes, "At {} the two pulls are not equal and opposite.", abs_tol=1e-3)


@recognizes("07.3", right="A new dict, both ends exact, counters whole.")
def states_are_mixed(mix):
    def ends():
        start = {"weight": torch.tensor([0.0, 4.0]), "batches": torch.tensor(3)}
        return start, {"weight": torch.tensor([4.0, 0.0]), "batches": torch.tensor(8)}

    start, end = ends()
    mixed = mix(start, end, 0.25)
    yield set(mixed) != set(end), f"The keys are {sorted(mixed)}; {sorted(end)} are wanted."
    weight, batches = mixed["weight"].float(), mixed["batches"]
    yield torch.allclose(weight, torch.tensor([3.0, 1.0])), "wrong_way"
    otherwise = f"A quarter of the way from 0 to 4 is 1; yours is {weight[0]:.2f}."
    yield not torch.allclose(weight, torch.tensor([1.0, 3.0])), otherwise
    kept = (torch.equal(now[key], then[key]) for now, then in zip((start, end), ends(), strict=True) for key in then)
    yield not all(kept), "in_place"
    counted = Mistake("counters_mixed", f"The counter of batches became {batches.item()}; take the end's 8.")
    yield batches.is_floating_point() or int(batches) != 8, counted


@recognizes("07.4", right="The gap shrinks by 0.9 a step: 0.35 of the start is still in the average.")
def average_after_ten_steps(average):
    mistakes = dict(share_of_start=0.9**10, added_up=1.0, nine_steps=1 - 0.9**9)
    return number(average, 1 - 0.9**10, mistakes, "{:g} is not what ten steps leave.", abs_tol=4e-3)


@recognizes("07.5", right="Smallest, squared, and the gradient reaches the features.")
def smallest_directions(bss):
    values = torch.tensor([3.0, 2.0, 0.5])
    turn = torch.linalg.qr(torch.arange(9.0).reshape(3, 3) + 5 * torch.eye(3))[0]
    features = torch.cat([torch.diag(values), torch.zeros(2, 3)]) @ turn.T
    features.requires_grad_(True)
    for k, squares, plain, largest in ((1, 0.25, 0.5, 9.0), (2, 4.25, 2.5, 13.0)):
        answer = bss(features, k)
        scalar = isinstance(answer, torch.Tensor) and not answer.ndim
        yield not scalar, "A tensor without dimensions is wanted, so that it can be a loss."
        otherwise = f"For singular values 3, 2, 0.5 and k = {k} this gives {{:.3f}}, not {squares}."
        mistakes = dict(largest=largest, not_squared=plain)
        yield from number(answer.item(), squares, mistakes, otherwise, rel_tol=1e-3)
    yield not answer.requires_grad, "detached"
