"""A trained model as one file: safetensors, whose metadata say in JSON how to build the network. Nothing is unpickled."""

import functools
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from .. import __version__
from ..encoders import Classifier, encoder
from ..encoders.images import load_state, read_state
from ..errors import ArgumentError, DataError
from ..recipe import recipes
from ..storage import write_atomically
from .reference import Reference

FORMAT = 2  # raised when a file of today would be read wrongly by yesterday's code
KEPT = "reference."  # what the names of a Reference's tensors begin with


def save(path: str | Path, model: Classifier, reference: Reference | None = None, **about) -> Path:
    """Writes a Classifier's weights, its classes, a Reference and `about` (plain values). `load` needs of it: `encoder`, a name
    that `xl.encoder` knows, or None for a network of your own; `size`, the encoder's, or None; `recipe`."""
    kept = {} if reference is None else {KEPT + name: part for name, part in vars(reference).items()}
    state = {key: part.detach().cpu().contiguous().clone() for key, part in (model.state_dict() | kept).items()}
    about = {"format": FORMAT, "classes": model.classes, "version": __version__, "use": "not for clinical use"} | about
    with write_atomically(path) as temporary:
        save_file(state, temporary, metadata={"xferlab": json.dumps(about)})
    return Path(path)


def load(path: str | Path, factory: str | None = None) -> tuple[Classifier, dict]:
    """The Classifier of a file that `save` wrote, ready to predict, and what the file says about itself; `reference` is None, or
    the Reference that was saved with it.

    Parameters
    ----------
    factory
        `module.py:function`, as in `from_factory`, where the network is your own: a model file never says which
        code to run.

    Raises
    ------
    DataError
        For a file that is damaged or not one of ours.
    ArgumentError
        When the factory is missing or makes another network.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; give the .safetensors file that `xferlab compare` wrote")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["xferlab"])
        if (written := about["format"]) == FORMAT:  # what another format holds is not for this version to judge
            name, size, classes, recipe = (about[key] for key in ("encoder", "size", "classes", "recipe"))
            about.setdefault("intensities", {})
            kinds = {"classes": list, "encoder": str | None, "size": int | None, "intensities": dict}
            fits = all(isinstance(about[key], kind) for key, kind in kinds.items())
            if not fits or not (size is None or 1 <= size <= 4096):
                raise ValueError("not what save writes")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        kind = f"no model file of xferlab, or a damaged one ({type(error).__name__})"
        raise DataError(f"{path} is {kind}; give the .safetensors file that `xferlab compare` wrote") from error
    if written != FORMAT:
        instead = "predict with the version that wrote it, or run `xferlab compare` again"
        raise DataError(f"{path} is of format {written!r}, and this xferlab reads format {FORMAT}; {instead}")
    if name is None and factory is None:
        own = f"weights of a network of your own ({about.get('factory', 'unnamed')})"
        raise ArgumentError(f"{path} holds {own}; give the function that makes it: --factory module.py:function")
    made: Any = encoder(name, pretrained=False, size=size) if name else from_factory(str(factory), size=size)()
    model = made if isinstance(made, Classifier) else Classifier(made, classes)
    for stage in recipes[recipe].stages if recipe in recipes else ():
        stage.strategy.prepare(model)  # it may have added parts
    state = load_file(path)
    kept = {key.removeprefix(KEPT): state.pop(key) for key in list(state) if key.startswith(KEPT)}
    try:
        model.load_state_dict(state)
        about["reference"] = Reference(**kept) if kept else None
    except RuntimeError as error:
        raise ArgumentError(f"{path} does not fit the network: {str(error).splitlines()[1].strip()}") from error
    except TypeError as error:
        raise DataError(f"{path} keeps {', '.join(kept)} for reference, which is not what save writes") from error
    return model.eval(), about


def named(name: str, size: int | None = None) -> Callable[..., nn.Module]:
    """A function that makes a network that `xl.encoder` knows, of a seed; it can be sent to another process."""
    make = functools.partial(encoder, name, size=size)
    make.__name__ = name  # type: ignore[attr-defined]
    return make


def from_factory(reference: str, weights: str | Path | None = None, size: int | None = None) -> Callable[..., Any]:
    """A function that makes your own network from `module.py:function`, with the weights of a file of tensors in it.

    The function takes nothing, or `seed`, and gives a module that maps float images to `(B, D)`, an Encoder or a Classifier.
    Its file is run, so give your own.

    Raises
    ------
    ArgumentError
        When it cannot be.
    DataError
        For weights that do not fit.
    """
    file, _, name = reference.rpartition(":")
    if not file.endswith(".py") or not Path(file).is_file():
        raise ArgumentError(
            f"{reference!r} names no file of Python code; expected module.py:function, such as net.py:make"
        )
    spec = importlib.util.spec_from_file_location(f"xferlab_own_{Path(file).stem}", file)
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ArgumentError(f"{file} fails when it is imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ArgumentError(f"{file} has no function {name!r}; it has {', '.join(known)}")
    state = None if weights is None else read_state(Path(weights))

    def make(seed: int = 0):
        made = function(seed=seed) if "seed" in inspect.signature(function).parameters else function()
        if not isinstance(made, nn.Module):
            raise ArgumentError(f"{reference} gives a {type(made).__name__}, expected a torch.nn.Module")
        if state is not None:
            load_state(made, state, f"{weights} does not fit {reference}")
        return made if hasattr(made, "blocks") or isinstance(made, Classifier) else encoder(made, size=size)

    make.__name__ = reference
    return make
