"""Files that somebody might hand over: noise, and good files with a few things changed, so that they get past the door."""

import gzip
import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import tiny
from hypothesis import strategies as st

from minilte.settings.config import all_settings
from minilte.settings.flags import parser
from minilte.settings.part import knobs

SIZES = [0, 1, 2, 3, 7, 2**8, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
NAMES = [
    "../../x",
    "/etc/passwd",
    "a\nb",
    "",
    "\0",
    "\u2028",
    "\r",
    "x" * 5000,
    "data",
    "self",
    "__class__",
    "é",
    "label1",
]
TOKENS = [b"[" * 3000, b'{"a":' * 3000, b"1" * 5000, b"1e999", b"NaN", b"-Infinity", b"null", b"true", b'"\\ud800"']
TOKENS += [
    b"a" + b".a" * 3000,
    b"0x" + b"f" * 5000,
    b"../../x",
    b"\0",
    b"\n",
    b"\r",
    b"\xff",
    b"\xe2\x80\xa8",
    b"-1",
    b"9" * 30,
]
NOISE = st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))


class Trap:
    """A pickle that leaves a folder behind where it is opened."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


# ---------------------------------------------------------------- changes of any file


@st.composite
def changed(draw, files: st.SearchStrategy[bytes]) -> bytes:
    """A file after up to four accidents."""
    data = bytearray(draw(files))
    for _ in range(draw(st.integers(0, 4))):
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        kind = draw(st.sampled_from(["flip", "insert", "delete", "cut", "double", "number", "token"]))
        if kind == "flip" and first < len(data):
            data[first] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[first:first] = draw(st.binary(max_size=8))
        elif kind == "delete":
            del data[first:last]
        elif kind == "cut":
            del data[first:]
        elif kind == "double":
            data[first:first] = data[first:last]
        elif kind == "number":
            number = draw(st.sampled_from(SIZES)).to_bytes(4, draw(st.sampled_from(["big", "little"])))
            data[first : first + 4] = number
        elif kind == "token":
            data[first : first + draw(st.integers(0, 5))] = draw(st.sampled_from(TOKENS))
    return bytes(data)


def of(*good: bytes) -> st.SearchStrategy[bytes]:
    """Noise, and some good files as they are after accidents."""
    return NOISE | changed(st.sampled_from(good))


# ---------------------------------------------------------------- settings: TOML, JSON, the command line

FIELDS = all_settings()
KEYS = st.sampled_from(FIELDS) | st.sampled_from(NAMES)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 10**30, 10**4000, 1e308, 5e-324, -0.0])
WORDS = st.sampled_from(["lte", "full", "mlp", "none", "server", "nf4", "layer1=2", "layer1", *NAMES]) | st.text(
    max_size=8
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)


@st.composite
def of_a_part(draw) -> dict:
    """Settings of a part that is chosen, each of them anything."""
    cls = draw(st.sampled_from(list(tiny.PARTS.values())))
    names = st.sampled_from(list(knobs(cls)) or ["zzz"])
    return tiny.chosen(cls) | draw(st.dictionaries(names, VALUES, max_size=3))


OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5) | of_a_part()


def deep(value, opening: str, closing: str, depth: int) -> str:
    """JSON or TOML of many brackets."""
    return opening * depth + value + closing * depth


def as_json(value) -> bytes:
    """JSON as no strict writer would write it: NaN, numbers of any length, halves of surrogate pairs."""
    if isinstance(value, dict):
        return b"{" + b", ".join(as_json(str(key)) + b": " + as_json(one) for key, one in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b", ".join(map(as_json, value)) + b"]"
    if isinstance(value, int) and abs(value) > 2**64:
        return f"{value:#x}".encode() if value % 2 else b"1" + b"0" * 4500
    return json.dumps(value).encode()


def as_toml(table: dict) -> bytes:
    """A table as TOML, without None and with keys in quotes where they need it."""
    pairs = [(key, value) for key, value in table.items() if value is not None]
    return b"\n".join(json.dumps(key).encode() + b" = " + toml_value(value) for key, value in pairs) + b"\n"


def toml_value(value) -> bytes:
    if isinstance(value, dict):
        return b"{" + b", ".join(json.dumps(key).encode() + b" = " + toml_value(v) for key, v in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b", ".join(map(toml_value, value)) + b"]"
    if isinstance(value, float):
        return repr(value).encode()
    return hex(value).encode() if type(value) is int and abs(value) > 2**64 and value > 0 else as_json(value)


DEEP = st.builds(
    deep, st.just("1"), st.sampled_from(["[", '{"a":', "{a="]), st.sampled_from(["]", "}"]), st.integers(0, 4000)
)
JSON = (
    NOISE
    | changed(OBJECTS.map(as_json))
    | st.builds(lambda k, v: as_json({k: 0})[:-2] + v.encode() + b"}", KEYS, DEEP)
)
DOTS = st.builds(lambda head, n, tail: (head + ".a" * n + tail).encode(), st.sampled_from(["data", "[data", "a"]),
                 st.integers(0, 20_000), st.sampled_from([" = 1", "]", "", "\n"]))  # fmt: skip
TOML = NOISE | changed(OBJECTS.map(as_toml)) | DEEP.map(lambda text: f"data = {text}".encode()) | DOTS

FLAGS = [option for action in parser("p", "", settings=True)._actions for option in action.option_strings]
ODD_WORDS = st.sampled_from(
    ["-hx", "-h=1", "--", "-", "--=", "--no-", "--help=1", "-1", "1_0", "nan", "1,,2", "\ud800", "1e400"]
)
TEXTS = (
    ODD_WORDS | WORDS | NUMBERS.map(lambda x: f"{x:g}" if isinstance(x, float) else "9" * 40) | st.text(max_size=20)
)
WORD = (
    st.builds("{}={}".format, st.sampled_from(FLAGS), TEXTS)
    | st.sampled_from(FLAGS)
    | TEXTS
    | TEXTS.map("--{}".format)
)
ARGV = st.lists(WORD, max_size=5).filter(
    lambda argv: not {"-h", "--help"} & set(argv)
)  # for them the help is printed

# ---------------------------------------------------------------- data


@st.composite
def idx(draw) -> bytes:
    """An IDX file whose header may say anything, packed or plain; packed ones may unpack to far more than they are."""
    axes = draw(st.sampled_from([1, 3]))
    shape = [draw(st.sampled_from(SIZES) | st.integers(1, 4)) for _ in range(axes)]
    length = draw(st.sampled_from([0, 1, 10, 40, 41, 10**6]) | st.integers(0, 50))
    data = struct.pack(f">{axes + 1}I", 0x800 + axes, *shape) + bytes(i % 10 for i in range(min(length, 50)))
    data += bytes(length - min(length, 50))
    return gzip.compress(data, mtime=0) if draw(st.booleans()) else data


CELLS = st.sampled_from(
    [
        "",
        " ",
        "NA",
        "# label",
        ' "label"',
        "red",
        "nan",
        "inf",
        "1_0",
        "1e999",
        "a",
        '"',
        '"a\nb"',
        "label",
        "y",
        "\0",
        "-1",
        "1.5",
        "é",
        "1" * 5000,
    ]
)
ROWS = st.lists(st.lists(CELLS | st.integers(-3, 3).map(str), min_size=1, max_size=4).map(",".join), max_size=6)
CSV = NOISE | changed(ROWS.map(lambda rows: "\n".join(rows).encode())) | of(b"a,b,label\n" + b"1,2,0\n3.5,4,1\n" * 4)

SHAPES = [
    "(8, 2)",
    "(8,)",
    "()",
    "(0,)",
    "(-1,)",
    "(True,)",
    "(1L,)",
    "(10**9,)",
    "(99999999999999999999,)",
    "(2.0,)",
    "'a'",
]
SHAPES += ["(" + "1," * 70 + ")", "(" * 300, "[" * 3000, "-" * 5000 + "1"]
DTYPES = [
    "'<f8'",
    "'|O'",
    "'<f16'",
    "'<f2'",
    "'|b1'",
    "'<i8'",
    "'<u8'",
    "'<U4'",
    "'<M8[s]'",
    "[('a', '<f8')]",
    "('<f8', (2,))",
]
DTYPES += [r"'\d'", "'f8,' * 99", "'<f99999999999'", "None"]


@st.composite
def npy(draw, length=st.sampled_from([0, 8, 64, 128, 10**6])) -> bytes:
    """An .npy file whose header may say anything, or a pickle."""
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
    head = f"{{'descr': {dtype}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape}, }}\n".encode()
    version = draw(st.sampled_from([1, 1, 1, 2, 3, 9]))
    size = len(head).to_bytes(2 if version == 1 else 4, "little")
    body = pickle.dumps(Trap()) if "O" in dtype else bytes(draw(length))
    return b"\x93NUMPY" + bytes([version, 0]) + size + head + body


def saved(**arrays) -> bytes:
    """What np.savez makes of them."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


@st.composite
def npz(draw) -> bytes:
    """A zip of such arrays under any names, whose directory may declare any sizes."""
    content = io.BytesIO()
    names = draw(st.sampled_from([("x", "y"), ("x", "y"), ("x_train", "y_train"), ("../../x", "y"), ("x",)]))
    good = npy_of(np.eye(8)), npy_of(np.arange(8) % 2)
    with zipfile.ZipFile(content, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for name, array in zip(names, (*good, good[1])):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), draw(st.just(array) | npy()), archive.compression)
    data = bytearray(content.getvalue())
    if draw(st.booleans()):
        start = data.index(b"PK\x01\x02") + draw(st.sampled_from([20, 24]))  # packed and unpacked size
        data[start : start + 4] = draw(st.sampled_from(SIZES)).to_bytes(4, "little")
    return bytes(data)


def npy_of(array) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array)
    return content.getvalue()


# what a program may hand over in the place of arrays; good ones are 6 wide, with targets 4 wide or labels of three
SAMPLES = [
    np.eye(8, 6),
    np.eye(8, 6).tolist(),
    np.ones((8, 3, 2)),
    np.eye(2, 6, dtype="u1"),
    np.eye(8, 6, dtype="f2"),
]
GOALS = [
    np.arange(8) % 3,
    (np.arange(8) % 3)[:, None],
    np.eye(8, 4),
    np.eye(8)[:, 0],
    np.arange(8) > 3,
    ["a", "b"] * 4,
]
ODD = [None, "x", b"x", 3, 3.5, 10**400, [], [[]], [[1], [1, 2]], {"a": 1}, {1}, object, (1, 2), np.ma.masked, "\n"]
ODD += [np.zeros(()), np.zeros((0, 6)), np.zeros((8, 0)), np.ma.array(np.eye(8, 6)), np.eye(8, 6) * 1j]
ODD += [
    np.zeros(8, "M8[s]"),
    np.zeros(8, "i4,f4"),
    np.full((8, 6), None),
    np.array(["", "\ud800"]),
    np.zeros((1,) * 60),
]
ODD += [np.full((8, 6), value) for value in (np.nan, np.inf, 1e30, 1e300, -(2**63), np.longdouble("1e4000"))]
ODD += [np.full(8, value) for value in (-1, 2**63, 2**64 - 1, 65535, 0.5, np.nan)]
ARRAYS = st.sampled_from([*SAMPLES, *GOALS, *ODD])


@st.composite
def datasets(draw) -> list:
    """The fields of a data set, good but for one or two of them."""
    rows = slice(draw(st.integers(1, 8)))
    y, classes = draw(st.sampled_from([(np.arange(8) % 3, 3), (np.eye(8, 4), None), (np.eye(8)[:, 0], None)]))
    fields = [np.eye(8, 6), y, np.eye(8, 6)[rows], y[rows], classes, "made", None, None, None, (), "", ()]
    for _ in range(draw(st.integers(0, 2))):
        fields[draw(st.integers(0, len(fields) - 1))] = draw(ARRAYS | VALUES)
    return fields


BOMB = saved(x=np.zeros((8, 2 * 10**6)), y=np.arange(8) % 2)  # 124 kB that hold 128 MB
NPZ = of(saved(x=np.eye(8), y=np.arange(8) % 2), pickle.dumps(Trap()), BOMB[:-5]) | npz() | changed(npz())

# ---------------------------------------------------------------- tensors

TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "O", ""]),
        "shape": st.lists(st.sampled_from([*SIZES, 2**63, 2**64 - 1, -1, 1.5, True]) | st.integers(0, 4), max_size=3)
        | st.integers(33, 80).map(lambda n: [1] * n),
        "data_offsets": st.lists(st.sampled_from([0, 4, 8, 16, 24, 48, 96, 2**63, -1]), min_size=1, max_size=3),
    }
)


@st.composite
def safetensors(draw, names: list[str]) -> bytes:
    """A .safetensors file whose header may say anything."""
    head = draw(st.dictionaries(st.sampled_from([*names, *NAMES, "__metadata__"]), TENSOR | VALUES, max_size=3))
    text = as_json(head)
    size = draw(st.just(len(text)) | st.sampled_from([*SIZES, 2**63, 2**64 - 1]))
    return size.to_bytes(8, "little") + text + bytes(draw(st.sampled_from([0, 4, 8, 48, 96])))
