"""A method whose factors travel on a thin wire: coded by the sender, decoded by the receiver."""

from minilte.core.method import Method
from minilte.methods.facts import known
from minilte.quant.wire import FULL, Wire, decoded, encoded, template


def wired(method: Method, wire: Wire) -> Method:
    """The method with its `factors` coded. Error feedback: V_n becomes what was decoded, see `quant.wire`."""
    if wire is FULL:
        return method

    def tell(head):
        said = method.tell(head)
        return said._replace(factors=encoded(wire, said.factors))

    def whole(said, n, shown, step):
        return said._replace(factors=decoded(wire, said.factors, method.like(n, shown, step).factors))

    def like(n, shown, step):
        said = method.like(n, shown, step)
        return said._replace(factors=template(wire, said.factors))

    def view(shown, before, said):
        if said is not None:
            said = {n: whole(words, n, before, 0) for n, words in said.items()}
        return method.view(shown, before, said)

    def merge(main, said, step, each):
        return method.merge(main, [whole(words, n, main, step) for n, words in enumerate(said)], step, each)

    def hear(shown, head, step):
        """A head that did not count in full goes on from its decoded factors."""
        trust = known(method).trust(shown)
        if trust is not None and trust[head.index] < 1:
            head = head._replace(now=decoded(wire, encoded(wire, head.now), head.now))
        return method.hear(shown, head, step)

    return method._replace(tell=tell, like=like, merge=merge, hear=hear, view=view)
