"""A model file as ONNX, to be run where there is no PyTorch: preprocessing and calibrated probabilities are part of the graph."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..encoders.reading import Depth
from ..errors import DataError, needs
from ..storage import write_atomically
from . import modelfile

TOLERANCE = 1e-4  # of a probability, between PyTorch and ONNX Runtime


def export(model_file: Path, out: Path, *, factory: str | None = None, say: Callable[[str], None] = print) -> Path:
    """The command `xferlab export`: writes `out`, and checks it against PyTorch on random pictures.

    The graph takes `pictures`, uint8 `(batch, channels, pixels, pixels)`, and gives `probabilities` `(batch, classes)`. Its
    metadata hold `classes` (JSON), `temperature`, the recipe, what it was trained on, and the model card that lies beside the file.

    Parameters
    ----------
    model_file, out
        What `compare` wrote; the `.onnx` file to write.
    factory
        `module.py:function`, where the network is your own.
    say
        Is told what was written.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    MissingExtra
        Without the extra `export`.
    DataError
        Where the network cannot be drawn as a graph, or the graph answers differently.
    """
    with needs(extra="export"):
        import onnxruntime
        import onnxscript  # noqa: F401
    model, about = modelfile.load(model_file, factory)
    for part in model.modules():
        if isinstance(part, Depth):  # in a graph a choice is made once
            flag = bool(part.symmetric)
            del part.symmetric
            part.symmetric = flag  # type: ignore[assignment]
    answers, card = nn.Sequential(model, nn.Softmax(1)).eval(), Path(model_file).with_suffix(".md")
    pixels = (about["channels"], about["pixels"], about["pixels"])
    pictures = torch.randint(0, 256, (4, *pixels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                answers,
                (pictures[:3],),
                dynamo=True,
                verbose=False,
                input_names=["pictures"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{model_file}: its network cannot be drawn as a graph: {reason}") from error
    assert program is not None
    metadata = {key: str(about[key]) for key in ("temperature", "recipe", "source", "version", "use") if key in about}
    metadata |= {"classes": json.dumps(list(model.classes)), "card": card.read_text("utf-8") if card.is_file() else ""}
    program.model.metadata_props.update(metadata)
    with write_atomically(out) as temporary:
        program.save(str(temporary), external_data=False)
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"pictures": pictures.numpy()})
        with torch.inference_mode():
            apart = float((torch.from_numpy(found) - answers(pictures)).abs().max())
        if not apart <= TOLERANCE:
            raise DataError(f"{model_file}: the graph's answers are {apart:.1e} apart from PyTorch's; not written")
    say(f"{out}: {len(model.classes)} classes, pictures uint8 (batch, {', '.join(map(str, pixels))}).")
    say(f"On random pictures its probabilities differ from PyTorch's by {apart:.0e} at most. Not for clinical use.")
    return out
