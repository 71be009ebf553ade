"""The same training in PyTorch, as its users would write it: the peers of minilte. Needs the extra [bench].

A function here returns a function that, at every call, trains T steps and merges, where there is a merge.
"""

from collections.abc import Callable

from minilte.bench.step import Size, samples


def tensors(size: Size):
    """x (N, b, n) and labels (N b,) as tensors."""
    import torch

    x, y = samples(size)
    x = torch.from_numpy(x).reshape(size.heads, -1, size.widths[0])
    return x, torch.from_numpy(y)


def stacked_lte(size: Size, fused: bool = False) -> Callable[[], object]:
    """LTE in the structure of the authors' code: a dense forward of the whole batch, stacked adapters by bmm, once for
    now and once for the last merge, a dense delta for each head at a merge. `fused`: one bmm of rank 2r, fused AdamW."""
    import torch

    x, y = tensors(size)
    N, s, layers, parameters = size.heads, 16.0 / size.rank, [], []
    for n, m in zip(size.widths, size.widths[1:]):
        r = min(size.rank, n, m)
        W, c = torch.randn(m, n) * (2 / n) ** 0.5, torch.zeros(m)
        A, B = torch.randn(N, r, n) / n**0.5, torch.zeros(N, m, r)
        layers.append([W, c, A.requires_grad_(), B.requires_grad_(), A.detach().clone(), B.detach().clone()])
        parameters += [A, B]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=fused)

    def low_rank(x, A, B):
        return torch.bmm(torch.bmm(x, A.transpose(1, 2)), B.transpose(1, 2))

    def layer(x, W, c, A, B, A0, B0):
        y = torch.nn.functional.linear(x, W, c)
        if fused:
            return y + s * low_rank(x, torch.cat([A, A0], 1), torch.cat([B, -B0], 2))
        return y + s * low_rank(x, A, B) - s * low_rank(x, A0, B0)

    def train():
        for _ in range(size.every):
            z = x
            for i, weights in enumerate(layers):
                z = layer(z, *weights)
                z = torch.relu(z) if i < len(layers) - 1 else z
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(z.flatten(0, 1), y).backward()
            optimizer.step()
        with torch.no_grad():
            for W, _, A, B, A0, B0 in layers:
                W += s * (torch.bmm(B, A) - torch.bmm(B0, A0)).mean(0)
                A0.copy_(A)
                B0.copy_(B)

    return train


def network(widths):
    """The dense network."""
    import torch

    layers = []
    for n, m in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def dense(size: Size, net=None, parameters=None) -> Callable[[], object]:
    """Plain training of all weights."""
    import torch

    x, y = tensors(size)
    x, net = x.flatten(0, 1), net or network(size.widths)
    optimizer = torch.optim.AdamW(parameters or net.parameters(), lr=1e-4, weight_decay=0.0)

    def train():
        for _ in range(size.every):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()

    return train


def peft_lora(size: Size) -> Callable[[], object]:
    """LoRA of Hugging Face peft on every dense layer, on the whole batch."""
    import peft

    names = [str(2 * i) for i in range(len(size.widths) - 1)]
    config = peft.LoraConfig(r=size.rank, lora_alpha=16, target_modules=names)
    net = peft.get_peft_model(network(size.widths), config)
    return dense(size, net, [p for p in net.parameters() if p.requires_grad])


def adamw(numbers: int) -> Callable[[], object]:
    """torch's default AdamW on a flat tensor, on one thread."""
    import torch

    p = torch.randn(numbers, requires_grad=True)
    p.grad = torch.randn(numbers)
    optimizer = torch.optim.AdamW([p], lr=1e-4, weight_decay=0.0)

    def step():
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        optimizer.step()
        torch.set_num_threads(before)

    return step


def naive_merge(width: int, heads: int, rank: int) -> Callable[[], object]:
    """A merge with a dense matrix a head, as in the authors' code."""
    import torch

    W = torch.randn(width, width)
    A, B, A0, B0 = (torch.randn(heads, *shape) for shape in ((rank, width), (width, rank)) * 2)

    def merge():
        W.add_((torch.bmm(B, A) - torch.bmm(B0, A0)).mean(0))

    return merge
