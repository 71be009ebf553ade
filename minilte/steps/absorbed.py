"""Local steps with V_n absorbed: a head computes with its own dense W - s_n V_n, beside s_n B_n A_n alone.

The same layer in the form of section 3.4 of the paper. It saves the correction in every product and costs an m x n
matrix a head. It needs W in full precision: with q(W) every head would have a base of its own, neither shared nor sent.
"""

from collections.abc import Sequence

from minilte.core.lora import Plan, plus_products
from minilte.core.method import Method
from minilte.core.types import Task
from minilte.settings.part import part


@part("local_steps", "absorbed", needs={"no reset", "float W"})
class Absorbed:
    """V_n absorbed into a dense W of each head."""

    def wrap(self, method: Method, task: Task, plan: Plan, factor: Sequence[float]) -> Method:
        return absorbed(method, plan)


def absorbed(method: Method, plan: Plan) -> Method:
    """LTE whose heads take their steps around W - s V."""

    def local(main, head, start, stop):
        weights, scales = dict(main.weights), plan.scales[head.index]
        for name, V in main.then[head.index].items():
            weights[name] = weights[name]._replace(W=plus_products(weights[name].W, [V], [-scales[name]]))
        return method.local(main._replace(weights=weights, then=None), head, start, stop)

    return method._replace(local=local)
