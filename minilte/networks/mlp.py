"""Chains of linear layers: with activations, without, and a single layer."""

from minilte.core.networks import Network, mlp
from minilte.core.pairs import ACTIVATIONS
from minilte.settings.knob import knob
from minilte.settings.part import part

WIDTHS = knob((256, 256), "hidden widths, as 256,256", least=1, most=1_000_000)
ACTIVATION = knob("relu", "between the layers", choices=tuple(ACTIVATIONS))
NORM = knob(False, "layer norm before each activation")
BIAS = knob(True, "biases in the dense layers")
LABEL_SMOOTHING = knob(0.0, "of the cross-entropy's targets", least=0.0, below=1.0)


def build(self, inputs: int, outputs: int, loss: str) -> Network:
    """The network for data of these widths."""
    widths = [inputs, *self.widths, outputs]
    return mlp(widths, self.activation, self.norm, self.bias, loss=loss, smoothing=self.label_smoothing)


@part("network", "mlp")
class MLP:
    """layer1, activation, layer2, … layerL; with `norm`, a layer norm before each activation."""

    widths: tuple[int, ...] = WIDTHS
    activation: str = ACTIVATION
    norm: bool = NORM
    bias: bool = BIAS
    label_smoothing: float = LABEL_SMOOTHING
    build = build


@part("network", "linear")
class OneLayer:
    """y = x W^T + c."""

    widths, activation, norm = (), "identity", False  # no knobs
    bias: bool = BIAS
    label_smoothing: float = LABEL_SMOOTHING
    build = build


@part("network", "deep-linear")
class DeepLinear:
    """A product of matrices: an mlp without activations."""

    activation = "identity"  # no knob
    widths: tuple[int, ...] = WIDTHS
    norm: bool = NORM
    bias: bool = BIAS
    label_smoothing: float = LABEL_SMOOTHING
    build = build
