"""The layers of a network in numbers: output shape, parameters and cost."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.data.limits import image_shape
from pipeline.model.classifier import Classifier


class Layer(NamedTuple):
    """One layer: output shape without the batch axis, trainable parameters, multiply-accumulates for one image."""

    kind: str
    output: tuple[int, ...]
    parameters: int
    multiplications: int


def list_layers(classifier: Classifier) -> list[Layer]:
    """The layers in the order in which an image passes through them."""
    layers: list[Layer] = []
    multiplications = 0  # of the parts of the present layer

    def add_multiplications(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal multiplications
        multiplications += _multiplications(module, tuple(output.shape[1:]))

    def append_layer(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal multiplications
        parameters = sum(weight.numel() for weight in module.parameters())
        layers.append(Layer(_kind(module), tuple(output.shape[1:]), parameters, multiplications))
        multiplications = 0

    handles = [part.register_forward_hook(add_multiplications) for part in classifier.network.modules()]
    handles += [module.register_forward_hook(append_layer) for module in classifier.network]
    with torch.inference_mode():
        classifier(torch.zeros(1, *image_shape(classifier.channels), dtype=torch.uint8))
    for handle in handles:
        handle.remove()
    return layers


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    match module:
        case nn.Conv2d():
            return f"{name} {module.kernel_size[0]}×{module.kernel_size[1]}"
        case nn.MaxPool2d():
            return f"{name} {module.kernel_size}×{module.kernel_size}"
        case nn.Dropout():
            return f"{name} {module.p}"
    return name


def _multiplications(module: nn.Module, shape: tuple[int, ...]) -> int:
    match module:
        case nn.Conv2d():
            return math.prod(shape) * module.in_channels * math.prod(module.kernel_size)
        case nn.Linear():
            return math.prod(shape) * module.in_features
    return 0


def summary(layers: list[Layer]) -> str:
    """The layers as a plain-text table, with totals."""
    rows: list[tuple[str, ...]] = [("layer", "output", "parameters", "multiplications")]
    rows += [
        (layer.kind, "×".join(map(str, layer.output)), f"{layer.parameters:,}", f"{layer.multiplications:,}")
        for layer in layers
    ]
    totals = sum(layer.parameters for layer in layers), sum(layer.multiplications for layer in layers)
    rows.append(("total", "", *(f"{total:,}" for total in totals)))
    return "".join("{:<18}{:<12}{:>12}{:>18}\n".format(*row) for row in rows)
