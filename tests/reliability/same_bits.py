"""A redesign that keeps behavior: the same weights and history, to the bit, as another revision of this repository gives.

python tests/reliability/same_bits.py --base main~20
python tests/reliability/same_bits.py --base v0.3 --only dann resumed

Each case runs in the working tree and in a checkout of `--base`, in processes of one thread each, by public names alone.
A case that a revision lacks is listed, and so is one whose bits a change was meant to move: say which in the commit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = dict(steps=6, batch_size=16, progress_bar=False)


def results(only: list[str]) -> dict[str, str]:
    """A fingerprint of what each case leaves: weights and history, or the error that it ends with."""
    import torch
    from small import TwentyLines, blobs

    import xferlab as xl
    from xferlab.storage import fingerprint

    torch.set_num_threads(1)
    source, target = blobs(48, seed=1, size=28), blobs(40, seed=2, size=28, shift=60).unlabeled()
    small = blobs(40, seed=3, size=20, channels=1).unlabeled()

    def lenet(classes=source.classes):
        return xl.Classifier(xl.encoder("lenet"), classes)

    def own():
        torch.manual_seed(0)
        return xl.Classifier(xl.encoder(TwentyLines(), size=16), source.classes)

    folder = Path(tempfile.mkdtemp())

    class Stop(xl.objectives.Objective):
        needs = frozenset()

        def forward(self, step):
            if step.progress > 0.6 and not (folder / "stopped").exists():
                (folder / "stopped").touch()
                raise KeyboardInterrupt
            return 0 * step.source.logits.sum()

    def fitted(model, *domains, **settings):
        run = xl.fit(model, *domains, **(STEPS | settings))
        return model.state_dict(), run.history, [objective.state_dict() for objective in run.objectives]

    def resumed():
        settings = dict(steps=8, checkpoint=folder / "run.pt", checkpoint_every=3)

        def go_on():
            return fitted(lenet(), source, target, **settings, objectives=[xl.CrossEntropy(), xl.DANN(), Stop()])

        try:
            go_on()
        except KeyboardInterrupt:
            return go_on()

    def texts():
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(5, 90, (40, 12), generator=generator)
        ids[torch.arange(12) >= torch.randint(3, 12, (40, 1), generator=generator)] = 0
        texts = xl.Domain(ids, torch.arange(40) % 2, ("a", "b"))
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        sizes = dict(vocab_size=90, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
        net = BertModel(BertConfig(**sizes), add_pooling_layer=False)
        model = xl.Classifier(xl.text.TextEncoder(net, name="tiny", mask_token=1, special=(0, 1, 2, 3)), texts.classes)
        return fitted(
            model, texts, texts.unlabeled(), objectives=[xl.CrossEntropy(), xl.objectives.MaskedLanguageModeling()]
        )

    def recipe(name):
        model, recipe = lenet(), xl.recipes[name]
        run = recipe.fit(model, source, target if recipe.needs_target else None, augment=None, **STEPS)
        return model.state_dict(), run.history

    o, s, a = xl.objectives, xl.strategies, xl.augment

    def with_target(*objectives, **settings):
        return fitted(lenet(), source, target, objectives=[xl.CrossEntropy(), *objectives], **settings)

    cases = {
        "plain": lambda: fitted(own(), source),
        "resumed": resumed,
        "validated": lambda: fitted(lenet(), source, val=blobs(30, seed=4, size=28), val_every=2),
        "joint, two shapes": lambda: fitted(lenet(), source, small, objectives=[xl.CrossEntropy(), xl.CORAL()]),
        "frozen": lambda: fitted(own(), source, target, strategy=s.head_only()),
        "frozen, augmented": lambda: fitted(own(), source, strategy=s.head_only(), augment=[a.Flip()]),
        "text": texts,
        "two objectives with state": lambda: with_target(o.DANN(), o.EMA(), o.MeanTeacher()),
        "views": lambda: with_target(o.FixMatch(threshold=0.1), views={"weak": [a.Flip()], "strong": [a.Noise()]}),
        "taps": lambda: with_target(o.DELTA(last=2), o.MaskedAutoencoder(on="source")),
        "augmented, mixed labels": lambda: with_target(augment=[a.Flip(), a.Noise(), a.MixUp()]),
        "statistics alone": lambda: fitted(own(), None, target, objectives=[]),
        "lora": lambda: fitted(own(), source, strategy=s.lora(2)),
        "gradual_unfreeze": lambda: fitted(own(), source, strategy=s.gradual_unfreeze()),
        "layerwise": lambda: fitted(own(), source, strategy=s.layerwise()),
        "few target labels": lambda: fitted(
            lenet(), source, blobs(12, seed=5, size=28), target_labels=True, objectives=[xl.CrossEntropy(), xl.MMD()]
        ),
        **{f"recipe {name}": lambda name=name: recipe(name) for name in xl.recipes},
    }
    found = {}
    for name, case in cases.items():
        if not only or any(part in name for part in only):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found[name] = fingerprint(*case())
                except Exception as error:
                    found[name] = f"{type(error).__name__}: {error}"
    return found


def in_tree(tree: Path, only: list[str]) -> dict[str, str]:
    """`results` of the package in `tree`, by this file's cases."""
    path = os.pathsep.join([str(tree), str(ROOT / "tests")])
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "XFERLAB_DATA": cache}
        command = [sys.executable, __file__, "--child", "--only", *only]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=tree)
    return json.loads(done.stdout.splitlines()[-1])


def compared(before: dict[str, str], after: dict[str, str]) -> tuple[list[str], list[str]]:
    """Lines to print, and the cases of both revisions whose bits differ."""
    shared = [name for name in after if name in before]
    changed = [name for name in shared if before[name] != after[name]]
    lines = [f"{len(shared) - len(changed)} of {len(shared)} cases leave the same bits"]
    lines += [f"changed: {name} ({before[name]} -> {after[name]})" for name in changed]
    new, gone = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    lines += [f"only in the working tree: {', '.join(new)}"] if new else []
    lines += [f"only in the base: {', '.join(gone)}"] if gone else []
    return lines, changed


def main(base: str, only: list[str]) -> tuple[list[str], list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", tree, base], check=True)
        try:
            return compared(in_tree(tree, only), in_tree(ROOT, only))
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="the revision to compare with")
    parser.add_argument("--only", nargs="*", default=[], help="cases whose name holds one of these")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(results(options.only)))
        sys.exit()
    if not options.base:
        parser.error("give --base, the revision to compare with")
    lines, changed = main(options.base, options.only)
    print(*lines, sep="\n")
    sys.exit(bool(changed))
