"""Chains of linear layers: with activations, without, and a single one."""

from minilte.core.networks import Network, mlp
from minilte.core.pairs import ACTIVATIONS
from minilte.settings.knob import knob
from minilte.settings.part import part


@part("network", "mlp")
class MLP:
    """layer1, activation, layer2, … layerL; with `norm`, a layer norm before each activation."""

    widths: tuple[int, ...] = knob((256, 256), "hidden widths, as 256,256", least=1, most=1_000_000)
    activation: str = knob("relu", "between the layers", choices=tuple(ACTIVATIONS))
    norm: bool = knob(False, "layer norm before each activation")
    bias: bool = knob(True, "biases in the dense layers")
    label_smoothing: float = knob(0.0, "of the cross-entropy's targets", least=0.0, below=1.0)

    def build(self, inputs: int, outputs: int, loss: str) -> Network:
        """The network for data of these widths."""
        widths = [inputs, *self.widths, outputs]
        return mlp(widths, self.activation, self.norm, self.bias, loss=loss, smoothing=self.label_smoothing)


@part("network", "linear")
class OneLayer:
    """y = x W^T + c."""

    bias: bool = knob(True, "biases in the dense layers")
    label_smoothing: float = knob(0.0, "of the cross-entropy's targets", least=0.0, below=1.0)

    def build(self, inputs: int, outputs: int, loss: str) -> Network:
        """The network for data of these widths."""
        return mlp([inputs, outputs], "identity", bias=self.bias, loss=loss, smoothing=self.label_smoothing)


@part("network", "deep-linear")
class DeepLinear:
    """A product of matrices: an mlp without activations."""

    widths: tuple[int, ...] = knob((256, 256), "hidden widths, as 256,256", least=1, most=1_000_000)
    norm: bool = knob(False, "layer norm before each activation")
    bias: bool = knob(True, "biases in the dense layers")
    label_smoothing: float = knob(0.0, "of the cross-entropy's targets", least=0.0, below=1.0)

    def build(self, inputs: int, outputs: int, loss: str) -> Network:
        """The network for data of these widths."""
        widths = [inputs, *self.widths, outputs]
        return mlp(widths, "identity", self.norm, self.bias, loss=loss, smoothing=self.label_smoothing)
