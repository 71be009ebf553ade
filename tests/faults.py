"""Every way to ask for a run that cannot be, and words that the one line about it must hold."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

from minilte.data.idx import NAMES, write_idx

X_TRAIN, Y_TRAIN = (f"{name}.gz" for name in NAMES[:2])


class Fault(NamedTuple):
    """What is on disk, and the argument that takes the place of a setting of a tiny run."""

    argv: list[str]
    words: list[str]
    disk: Callable = lambda: None


# ---------------------------------------------------------------- what is on disk


def images(**content):
    """A folder of IDX files, 10 images of 2 x 2 and 10 classes; x and y change their bytes."""
    folder = Path("images")
    folder.mkdir()
    for name in NAMES:
        values = np.arange(40).reshape(10, 2, 2) if "images" in name else np.arange(10)
        write_idx(folder / f"{name}.gz", values.astype(np.uint8))
    for name, change in content.items():
        path = folder / dict(x=X_TRAIN, y=Y_TRAIN)[name]
        path.write_bytes(change(path.read_bytes()))


def unpacked(change):
    """A change of the content below gzip."""
    return lambda packed: gzip.compress(change(gzip.decompress(packed)), mtime=0)


def bad_sum(packed):
    """One bit of gzip's checksum."""
    return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]


def labels(*values):
    """Other labels in place of the good ones."""
    return unpacked(lambda _: b"\0\0\x08\x01" + len(values).to_bytes(4) + bytes(values))


class Planted:
    """A pickle that ends the process which opens it."""

    def __reduce__(self):
        return os._exit, (3,)


def write(name, content):
    """Write a file."""
    return lambda: Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def full_folder():
    """A folder in use, which is no run."""
    Path("full").mkdir()
    Path("full", "notes").touch()


# ---------------------------------------------------------------- the faults

ARGUMENTS = {
    "--data=fashion-mnist --data-dir=/nowhere": "fashion-mnist, data-dir /nowhere: cannot be read",
    "--target=1": "target: belongs to --data PATH",
    "--validate=64": "validate: 64 of 64 training rows, expected fewer",
    "--validate=1.5": "validate: expected a number of rows, or a share below 1, got 1.5",
    "--zzz=1": "--zzz: unknown option; --help lists all",
    "--merge-evry=1": "--merge-evry: unknown option, did you mean --merge-every?",
    "--merge=1": "--merge: unknown option",
    "-x": "-x",
    "word": "word",
    "--lr": "--lr: expected one argument",
    "--lr=1 --lr=1": "--lr: given twice",
    "--heads=0": "heads: expected a whole number of at least 1, got 0",
    "--heads=-8": "heads: expected a whole number of at least 1, got -8",
    "--heads=1e20": "heads: expected a whole number, got '1e20'",
    "--heads=100001": "heads: expected a whole number of at most 100000, got 100001",
    "--heads=2.5": "heads: expected a whole number, got '2.5'",
    "--heads=1_0": "heads: expected a whole number, got '1_0'",
    "--lr=nan": "lr: expected a number, got 'nan'",
    "--lr=inf": "lr: expected a number, got 'inf'",
    "--lr=1e999": "lr: expected a number, got inf",
    "--lr=0": "lr: expected a number above 0, got 0.0",
    "--lr=-1": "lr: expected a number above 0, got -1.0",
    "--alpha=1e20": "alpha: expected alpha / rank of at most 1e+06, got 5e+19",
    "--alpha=0": "alpha: expected a number above 0, got 0.0",
    "--rank=0": "rank: expected a whole number of at least 1, got 0",
    "--rank=5": "rank: expected 1 to 4 (the largest min(m, n) of the adapted layers), got 5 in layer1",
    "--rank=1" + "0" * 400: "rank: expected a whole number of at most 1e+09, got 1000",
    "--steps=1" + "0" * 400: "steps: expected a whole number of at most 1e+09, got 1000",
    "--method=lro": "method: expected one of full, lora, mhlora, lte, dynamic, fedavg, diloco, fedit, fedex, galore, flora-projected, adamix, relora, flora-stacked, shared-basis, got 'lro'",
    "--method=a\nb": r"method: expected one of full, lora, mhlora, lte, dynamic, fedavg, diloco, fedit, fedex, galore, flora-projected, adamix, relora, flora-stacked, shared-basis, got 'a\nb'",
    "--quant=int3": "quant: expected one of none, int8, int4, nf4, got 'int3', did you mean int8?",
    "--method=full --rank=2": "rank: belongs to --method lora, mhlora, lte, ",
    "--density=0.3": "density: belongs to --merge-rule ties or --outer-over ties; leave it out, or choose that",
    "--quorum=2": "quorum: belongs to --topology server; leave it out, or choose that",
    "--topology=server --quorum=2": "quorum: needs --bad-heads skip or clip",
    "--merge-rule=telescope --reset=b": "merge-rule telescope: needs --reset none",
    "--outer-rate=0.5": "outer-rate: belongs to --method diloco, shared-basis or --merge-rule outer; leave it out, or choose that",
    "--data=own": "data: this run has one of its own, which the program that made it must give again",
    "--batch=1": "batch: expected at least one sample for each of 2 heads, got 1",
    "--samples=4": "batch 8 for 2 heads with own data, expected 2 to 4",
    "--model=mlp --widths=1000000,1000000": "memory: Unable to allocate 7.28 TiB",
    "--config=none.toml": "config none.toml: cannot be read: No such file or directory",
    "--config=.": "config .: expected a file, got a folder",
    "--config=a\nb": r"config 'a\nb': cannot be read: No such file",
    "--out=/proc/minilte": "out /proc/minilte: No such file or directory; name a folder that can be written",
    "--resume=none": "none: no such folder; give the folder of a run",
    "--out=": "--out: expected a value, got nothing",
    "--resume=": "--resume: expected a value, got nothing",
    "--config=": "--config: expected a value, got nothing",
    "--out=a --resume=b": "--out: a resumed run goes on in its own folder",
    "--resume-latest-good": "--resume-latest-good: expected --resume RUN beside it",
    "--init-from=none": "none: cannot be read: No such file",
    "--data=least_squares": "no such name, folder or file, did you mean least-squares?",
}
CONFIGS = {
    "lrr = 1": "config run.toml: unknown key 'lrr', did you mean lr?",
    "lr = 1\nlr = 1": "config run.toml: not a TOML file",
    "merge-every = 1\nmerge_every = 1": "config run.toml: 'merge_every' is given twice",
    "lr = nan": "lr: expected a number, got nan",
    "lr = 1" + "0" * 400: "lr: expected a number, got 1000",
    "eval_every = true": "eval-every: expected a whole number, got True",
    'eval_every = "8"': "eval-every: expected a whole number, got '8'",
    bytes(range(256)): "config run.toml: not a TOML file",
    "save_every = 0x"
    + "f" * 9999: "save-every: expected a whole number of at most 1e+09, got a whole number too long to show",
    "data" + ".a" * 9999 + " = 1": "config run.toml: not a TOML file (a name of 32 parts)",
}
GOOD = "".join(f"{i},{i % 3},{i % 2}\n" for i in range(8))
TABLES = {
    GOOD + "1,1\n": "t.csv line 9 column 3 is missing: 2 cells, expected 3",
    GOOD + "1,a,1\n": "t.csv line 9 column 2: expected a finite number, got 'a'",
    GOOD + "1,nan,1\n": "t.csv line 9 column 2: expected a finite number, got 'nan'",
    GOOD + "1,1,-1\n": "t.csv line 9: label -1, expected 0 to",
    GOOD + "1,1,1.7\n": "t.csv line 9: target 1.7 is no whole number",
    "": "t.csv: empty",
    "a,b,label\n": "t.csv: a header and no rows",
    "0,1,2\n3,4,1\n": "t.csv line 1: 0, 1, 2, … are the names that pandas gives to columns",
    "red,2,1\n3,4,1\n": "t.csv line 1: column 1 ('red') is a word and column 2 a number",
    "NA,2,1\n3,4,1\n": "t.csv line 1 column 1: expected a finite number, got 'NA'",
    "7,0\n8,0\n": "t.csv: every target is 0, so there is nothing to learn; where that is the wrong column, name",
    "1,2\n3,a\n": "t.csv line 2 column 2: 'a' is a word and '2' a number",
}
X, Y = np.eye(8), np.arange(8) % 2
ARRAYS = {
    "missing": (dict(x=X, z=Y), "t.npz: holds the arrays ['x', 'z'], expected"),
    "dtype": (dict(x=X.astype(complex), y=Y), "t.npz: array x has dtype complex128"),
    "object": (dict(x=np.array([Planted()] * 8, object), y=Y), "t.npz: array x has dtype object"),
    "nan": (dict(x=X * np.nan, y=Y), "t.npz: x_train[0, 0] is nan"),
    "no names": (dict(arr_0=X, arr_1=Y), "t.npz: holds the arrays ['arr_0', 'arr_1'], expected"),
    "one-hot": (dict(x=X, y=np.eye(2, dtype=int)[Y]), "t.npz: y has int64 of shape (8, 2), expected one label a row"),
    "huge": (dict(x=X, y=Y * 1e20), "t in float32: y_t"),
    "constant": (dict(x=X, y=Y * 0), "t.npz: every target is 0"),
}
IDX = {
    "magic": (
        dict(x=unpacked(lambda data: b"\0\0\x0d\x03" + data[4:])),
        f"{X_TRAIN}: magic 0x00000d03 (unknown), expected 0x00000803 (images)",
    ),
    "short": (dict(x=unpacked(lambda data: data[:-1])), f"{X_TRAIN}: 39 bytes after the header, expected 40"),
    "long": (dict(x=unpacked(lambda data: data + b"\0")), f"{X_TRAIN}: more bytes after the header"),
    "images-as-labels": (
        dict(y=lambda _: Path("images", X_TRAIN).read_bytes()),
        f"{Y_TRAIN}: magic 0x00000803 (images), expected 0x00000801 (labels)",
    ),
    "counts": (dict(y=labels(0, 1)), f"{Y_TRAIN}: 2 labels, expected 10"),
    "gzip-cut": (dict(x=lambda packed: packed[:-9]), f"{X_TRAIN}: damaged gzip"),
    "gzip-checksum": (dict(x=bad_sum), f"{X_TRAIN}: damaged gzip"),
    "gzip-beyond-header": (
        dict(x=unpacked(lambda data: data + bytes(10**7))),
        f"{X_TRAIN}: more bytes after the header, expected 40",
    ),
}
FAULTS = {
    **{argv[:40]: Fault(argv.split(" "), [words]) for argv, words in ARGUMENTS.items()},
    **{
        f"config {text[:40]!r}": Fault(["--config=run.toml"], [words], write("run.toml", text))
        for text, words in CONFIGS.items()
    },
    **{
        f"csv {text[-9:]!r}": Fault(["--data=t.csv"], [words], write("t.csv", text)) for text, words in TABLES.items()
    },
    **{
        f"npz {name}": Fault(["--data=t.npz"], [words], lambda arrays=arrays: np.savez("t.npz", **arrays))
        for name, (arrays, words) in ARRAYS.items()
    },
    **{
        f"idx {name}": Fault(["--data=images"], [words], lambda content=content: images(**content))
        for name, (content, words) in IDX.items()
    },
    "label 10 of 10": Fault(
        ["--data=fashion-mnist", "--data-dir=images"],
        [f"{Y_TRAIN} position 9: label 10, expected 0 to 9"],
        lambda: images(y=labels(*range(9), 10)),
    ),
    "out a file": Fault(["--out=file"], ["out file: expected a folder, found a file"], write("file", "")),
    "out under a file": Fault(["--out=file/run"], ["out file/run: Not a directory"], write("file", "")),
    "out with a line break": Fault(["--out=a\nb"], [r"out 'a\nb': expected a folder"], write("a\nb", "")),
    "out in use": Fault(["--out=full"], ["out full: expected an empty or new", "--resume full"], full_folder),
    "resume no run": Fault(["--resume=full"], ["full/config.json: cannot be read: No such file"], full_folder),
    "init-from damaged": Fault(["--init-from=w"], ["w: not a whole .safetensors"], write("w", b"\0" * 9)),
    "init-from another": Fault(
        ["--init-from=w"], ["w: no tensor 'layer1.weight'"], lambda: save_file({"a": np.zeros(3)}, "w")
    ),
}
