"""Loss and accuracy of a network on a whole set."""

from minilte.core.networks import Network, classifies, forward
from minilte.core.pairs import LOSSES
from minilte.core.types import Array


def evaluate(net: Network, params: dict, x: Array, y: Array, chunk: int = 4096) -> tuple[float, float | None]:
    """Mean loss, and accuracy (None for a regression), over a whole set; in chunks of rows, so memory stays bounded."""
    f, _ = LOSSES[net.loss]
    loss, right = 0.0, 0
    for start in range(0, len(x), chunk):
        rows = slice(start, start + chunk)
        z, _ = forward(net, params, x[rows])
        loss += float(f(z, y[rows])[0]) * len(z)
        right += int((z.argmax(axis=-1) == y[rows]).sum()) if classifies(net) else 0
    return loss / len(x), (right / len(x) if classifies(net) else None)
