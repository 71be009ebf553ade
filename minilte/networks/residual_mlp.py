"""A residual MLP: x + activation(W norm(x)) in every hidden layer but the first (pre-norm, as He et al. 2016)."""

from minilte.core.errors import BadInput
from minilte.core.networks import GAINS, Affine, Dense, Network, Residual
from minilte.core.pairs import ACTIVATIONS
from minilte.networks.mlp import ACTIVATION, BIAS, LABEL_SMOOTHING, WIDTHS
from minilte.settings.part import part


def residual_mlp(widths, activation: str = "relu", bias: bool = True, **loss) -> Network:
    """layer1, then for each further hidden width x + act(layer_i(norm_i(x))), then normL and layerL.

    `widths` counts inputs and outputs; the hidden ones are equal. Raises BadInput where they are not.
    """
    if len(hidden := widths[1:-1]) < 1 or len(set(hidden)) > 1:
        got = ",".join(map(str, hidden))
        raise BadInput(f"widths: expected equal ones for a residual network, as 128,128, got {got}")
    depth, gain = len(widths) - 1, GAINS.get(activation, 1.0)
    shapes: dict = {"layer1": Dense(widths[1], widths[0], bias=bias)}
    chain: list = ["layer1"]
    for i in range(2, depth + 1):
        last = i == depth
        shapes |= {
            f"norm{i}": Affine(widths[i - 1]),
            f"layer{i}": Dense(widths[i], widths[i - 1], 1.0 if last else gain, bias),
        }
        block = (f"norm{i}", f"layer{i}")
        chain += block if last else [Residual((*block, ACTIVATIONS[activation]))]
    return Network(tuple(chain), shapes, **loss)


@part("network", "residual-mlp")
class ResidualMLP:
    """An MLP with residual connections and a layer norm before each hidden layer."""

    widths: tuple[int, ...] = WIDTHS
    activation: str = ACTIVATION
    bias: bool = BIAS
    label_smoothing: float = LABEL_SMOOTHING

    def build(self, inputs: int, outputs: int, loss: str) -> Network:
        """The network for data of these widths."""
        widths = [inputs, *self.widths, outputs]
        return residual_mlp(widths, self.activation, self.bias, loss=loss, smoothing=self.label_smoothing)
