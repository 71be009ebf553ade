"""Workers that hold q(W), coded in 8 or 4 bits: under a master, or, at a loss, without a master copy of W.

Under a master process 0 keeps W in full precision and broadcasts codes and scales. "packed" decodes inside every
product; "fake" once into floats. Without a master every process quantizes again after each merge, W <- q(q(W) + D):
most of a small D is lost, since a number moves only where D carries it past the middle between two codes. Of a
change of 1 % of W less than a fiftieth survives (section 4 of the paper keeps a master copy for that reason).
"""

from collections.abc import Callable, Sequence

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.core.random import stream
from minilte.core.types import Array, Tree, Weights
from minilte.methods.facts import known
from minilte.quant import packed
from minilte.quant.codes import ROUNDINGS, SCALES, Quantizer, fake
from minilte.settings.knob import knob
from minilte.settings.part import part

Draw = Callable[[str, int], Callable[[tuple], Array]]  # (layer, step) -> draw(shape)


@part("quant", "none", gives={"float W"})
class Whole:
    """The heads see W as it is."""

    coded = False

    def note(self, master: bool) -> str:
        return ""


def coded_part(code: str, words: str) -> type:
    """The part of a code."""

    @part("quant", code, needs={"each"})
    class Coded:
        """The heads see q(W)."""

        quant_mode: str = knob(
            "packed", "decode inside every product, or once into floats", choices=("packed", "fake")
        )
        quant_scale: str = knob("block", "one scale for each", choices=SCALES)
        quant_block: int = knob(64, "numbers that share a scale, a power of two", least=2, most=65536)
        quant_rounding: str = knob("nearest", "to a code", choices=ROUNDINGS)

        coded = True

        def check(self):
            if self.quant_block & (self.quant_block - 1):
                raise BadInput(f"quant-block: expected a power of two, got {self.quant_block}")

        def wrap(
            self, method: Method, weights: Weights, adapted: Sequence[str], master: bool, seed: int, dtype: str
        ) -> Method:
            kind = Quantizer(code, self.quant_scale, self.quant_block, self.quant_rounding)
            draw = rounding(weights, seed, dtype)
            if not master:
                return in_place(method, adapted, kind, draw)
            return quantized(method, weights, adapted, kind, self.quant_mode == "packed", draw)

        def note(self, master: bool) -> str:
            return "" if master else IN_PLACE

    Coded.__doc__ = words
    return Coded


INT8 = coded_part("int8", "Uniform codes of 8 bits.")
INT4 = coded_part("int4", "Uniform codes of 4 bits.")
NF4_ = coded_part("nf4", "The quantiles of a normal distribution, 4 bits (Dettmers et al. 2023).")
IN_PLACE = "quantized without a master: a merge that moves W by less than half a code is lost; see --topology server"


def rounding(weights: Weights, seed: int, dtype: str) -> Draw:
    """(layer, step) -> draw(shape), of its own for each, by the layer's number among the matrices."""
    matrices = [name for name, layer in weights.items() if getattr(layer, "W", None) is not None]
    number = {name: i for i, name in enumerate(matrices, 1)}
    return lambda layer, step: lambda shape: stream(seed, "rounding", number[layer], step).random(shape, dtype)


def quantized(
    method: Method, weights: Weights, adapted: Sequence[str], kind: Quantizer, stay_packed: bool, draw: Draw
) -> Method:
    """The method under a master that sends codes and scales in the place of matrices."""
    empty = {name: blank(kind, weights[name].W) for name in adapted}

    def by_kind(copies: dict, seen: dict) -> dict:
        codes = {name: copy.codes for name, copy in copies.items()}
        scales = {name: copy.absmax for name, copy in copies.items()}
        return {"codes": codes, "scales": scales} | {kind: seen[kind] for kind in seen if kind != "weights"}

    def show(main, step):
        seen = method.show(main, step)
        return by_kind({name: packed.pack(W, kind, draw(name, step)) for name, W in seen["weights"].items()}, seen)

    def view(shown, before, said):
        rest = dict(shown)
        codes, scales = rest.pop("codes"), rest.pop("scales")
        copies = {name: empty[name]._replace(codes=codes[name], absmax=scales[name]) for name in codes}
        W = copies if stay_packed else {name: packed.unpacked(copy) for name, copy in copies.items()}
        return method.view({"weights": W} | rest, before, said)

    facts = known(method)

    def held(main, head, all_heads):
        had = facts.held(main, head, all_heads)
        coded = weights | {name: weights[name]._replace(W=copy) for name, copy in empty.items()}
        return had | ({"weights": coded} if stay_packed else {})

    frame = lambda: by_kind(empty, method.frame())  # noqa: E731
    return method._replace(show=show, frame=frame, view=view, facts=facts._replace(held=facts.held and held))


def blank(kind: Quantizer, W: Array) -> packed.Packed:
    """A packed matrix of W's shape whose codes and scales take no memory."""
    zeros = packed.empty(kind, W.shape, W.dtype)
    return zeros._replace(codes=tree.blank(zeros.codes), absmax=tree.blank(zeros.absmax))


def in_place(method: Method, adapted: Sequence[str], kind: Quantizer, draw: Draw) -> Method:
    """The method with a new quantization of the main weights at the start and after every merge."""

    def again(main: Tree, merges: int) -> Tree:
        weights = dict(main.weights)
        for name in adapted:
            weights[name] = weights[name]._replace(W=fake(weights[name].W, kind, draw(name, merges)))
        return main._replace(weights=weights)

    def merge(main, said, step, each):
        return again(method.merge(main, said, step, each), -(-step // method.every))

    bare = known(method)._replace(bound={}, one_lora=None)
    return method._replace(begin=lambda: again(method.begin(), 0), merge=merge, facts=bare)
