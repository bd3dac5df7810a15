"""Default values are part of what every recorded result means, and most are a paper's: a change must be seen and meant."""

import importlib
import inspect

import xferlab as xl

MODULES = [
    *(
        f"objectives.{name}"
        for name in ("adversarial", "discrepancy", "disparity", "masked_language", "objective", "pretraining")
    ),
    *(f"objectives.{name}" for name in ("regularization", "selftraining", "supervised")),
    "comparison.confidence",
    "comparison.retraining",
    "comparison.selection",
    "distances",
    "transferability",
]

AS_IT_WAS = """
objectives.adversarial.ADDA.__init__(weight=1.0, strength=1.0, hidden=500)
objectives.adversarial.Adversarial.__init__(weight=1.0, strength=1.0, hidden=64)
objectives.adversarial.BSP.__init__(weight=0.0001, k=1)
objectives.adversarial.CDAN.__init__(weight=1.0, entropy=False, strength=1.0, hidden=64, projection=1024)
objectives.adversarial.WDGRL.__init__(weight=1.0, penalty=10.0, strength=0.03, hidden=64)
objectives.adversarial.discriminator(outputs=1)
objectives.adversarial.domain_loss(source_weights=None, target_weights=None)
objectives.adversarial.multilinear_map(z_directions=None, p_directions=None)
objectives.adversarial.reverse(strength=1.0)
objectives.adversarial.spectral_penalty(k=1)
objectives.discrepancy.DeepJDOT.__init__(weight=1.0, alpha=0.01, label_weight=1.0)
objectives.discrepancy.JMMD.__init__(weight=1.0, kernels=(5, 1))
objectives.discrepancy.MMD.__init__(weight=1.0, kernels=5, linear=False, bandwidth=None)
objectives.discrepancy.SlicedWasserstein.__init__(weight=1.0, projections=128)
objectives.discrepancy.jmmd(kernels=(5, 1))
objectives.discrepancy.linear_mmd(kernels=5, bandwidth=None)
objectives.discrepancy.mmd(kernels=5, bandwidth=None)
objectives.disparity.MCD.__init__(weight=1.0, strength=3.0)
objectives.disparity.MDD.__init__(weight=1.0, gamma=4.0, strength=0.1, hidden=64)
objectives.masked_language.MaskedLanguageModeling.__init__(weight=1.0, ratio=0.15, on='target')
objectives.masked_language.mask_tokens(ratio=0.15)
objectives.objective.Batch.__init__(site=None)
objectives.objective.Objective.__init__(weight=1.0)
objectives.objective.Step.__init__(views=None, activations=<factory>)
objectives.objective.Step.view(side='target')
objectives.objective.warm_up(gamma=10.0)
objectives.pretraining.MaskedAutoencoder.__init__(weight=1.0, ratio=0.6, patch=8, width=128, on='source')
objectives.pretraining.RotationPrediction.__init__(weight=1.0, copies=4, on='source')
objectives.pretraining.SimCLR.__init__(weight=1.0, temperature=0.5, dim=128, view='strong', on='source')
objectives.pretraining.nt_xent(temperature=0.5)
objectives.pretraining.rotate(copies=4)
objectives.regularization.BSS.__init__(weight=0.001, k=1)
objectives.regularization.DELTA.__init__(weight=1.0, blocks=None, last=3)
objectives.regularization.Distillation.__init__(weight=1.0, temperature=2.0, teacher=None, on='source')
objectives.regularization.EMA.__init__(decay=0.99, start=0.0)
objectives.regularization.L2SP.__init__(weight=0.01, head=0.0)
objectives.regularization.LwF.__init__(weight=1.0, temperature=2.0, on='source')
objectives.regularization.SWA.__init__(start=0.75)
objectives.selftraining.AFN.__init__(weight=0.05, step_size=1.0, radius=None)
objectives.selftraining.FixMatch.__init__(weight=1.0, threshold=0.95, adapt=False)
objectives.selftraining.InformationMaximization.__init__(weight=1.0, diversity=1.0)
objectives.selftraining.MCC.__init__(weight=1.0, temperature=2.5)
objectives.selftraining.MeanTeacher.__init__(weight=1.0, decay=0.99, ramp=0.3, view='strong', adapt=False)
objectives.selftraining.PseudoLabel.__init__(weight=1.0, threshold=0.9, ramp=(0.1, 0.5))
objectives.selftraining.mcc(temperature=2.5)
objectives.supervised.CrossEntropy.__init__(weight=1.0, balanced=False, label_smoothing=0.0, on='source')
objectives.supervised.GroupDRO.__init__(weight=1.0, eta=0.1)
comparison.confidence.mano(p=4, eta=5.0)
comparison.confidence.soft_neighborhood_density(temperature=0.05)
comparison.retraining.mixval(ratio=0.55)
comparison.selection.Candidate.__init__(retrain=None)
comparison.selection.validate(chosen=None)
distances.proxy_a_distance(limit=5000)
transferability.transrate(epsilon=0.0001)
"""


def defaults() -> list[str]:
    """`module.name(argument=default, ...)` of every public function, and of every method of a public class, that has defaults."""
    lines = []
    for module in (importlib.import_module(f"xferlab.{name}") for name in MODULES):
        for name, thing in sorted(vars(module).items()):
            if callable(thing) and getattr(thing, "__module__", None) == module.__name__ and name[0] != "_":
                methods = [(f"{name}.{k}", v) for k, v in sorted(vars(thing).items()) if inspect.isfunction(v)]
                for called, function in methods if inspect.isclass(thing) else [(name, thing)]:
                    given = inspect.signature(function).parameters.values()
                    shown = [f"{p.name}={p.default!r}" for p in given if p.default is not p.empty]
                    lines += [f"{module.__name__[8:]}.{called}({', '.join(shown)})"] if shown else []
    return lines


def test_no_default_changed_unseen():
    assert defaults() == AS_IT_WAS.split("\n")[1:-1]


def test_objectives_that_need_one_class_an_example_say_so():
    """`fit` refuses multi-label domains by this mark; without it they would train on a softmax of labels that are not exclusive."""
    public = [getattr(xl.objectives, name) for name in xl.objectives.__all__]
    classes = [one for one in public if inspect.isclass(one) and issubclass(one, xl.objectives.Objective)]
    marked = {one.__name__ for one in classes if one.single_label}
    assert marked == set(
        "BNM CDAN CoTuning DeepJDOT Distillation EntropyMinimization FixMatch GroupDRO InformationMaximization JMMD MCC MCD MDD "
        "MeanTeacher PseudoLabel".split()
    )
