"""Make the files of PyTorch with views, in the kinds that torch has written over the years, and
kinds.expected: what torch.load makes of them. Run in this folder; made with torch 2.15.

new.bin     as torch.save writes it
old.bin     as torch 1.6 to 1.13 did: no byteorder, records in the order 0, 1, 10, 11, 2
big.bin     as a big-endian machine writes it
before.bin  the legacy kind, of before torch 1.6
parts.bin   the same with storages that are parts of others, as torch 0.4 to 1.5 had them
"""
import io
import pickle
import struct
import zipfile
import zlib

import torch


def views():
    f32 = torch.arange(12, dtype=torch.float32) / 4
    f64 = torch.arange(20, dtype=torch.float64).reshape(4, 5) - 7
    f16 = torch.arange(120).reshape(2, 3, 4, 5).to(torch.float16)
    c64 = torch.arange(6, dtype=torch.float32).reshape(2, 3).to(torch.complex64) * (1 + 2j)
    matrix = torch.arange(15, dtype=torch.float32).reshape(3, 5) * 1.5
    return {
        "whole": f32,
        "tied": f32,
        "part": f32[5:9],
        "one": f32[3],
        "row twice": f32.as_strided((3, 2), (0, 1), 4),
        "overlapping": f32.as_strided((4, 3), (2, 1)),
        "transposed": matrix.t(),
        "column": f64[:, 1],
        "every other": f64[1:, ::2],
        "permuted": f16.permute(3, 1, 0, 2),
        "steps": torch.arange(20)[3::3],
        "bf16": torch.arange(8).to(torch.bfloat16).reshape(2, 4).t(),
        "i16": torch.arange(6, dtype=torch.int16).reshape(2, 3).t(),
        "i32": torch.arange(4, dtype=torch.int32) - 2,
        "i8": torch.arange(4, dtype=torch.int8) - 2,
        "bool": torch.tensor([[True, False, True], [False, False, True]]).t(),
        "complex": c64.t(),
        "empty": torch.zeros(3, 0, 2).permute(2, 0, 1),
    }


def save_zip(path, records):
    """The archive as PyTorch's writer makes it: sizes in descriptors, data aligned to 64."""
    out, directory = io.BytesIO(), io.BytesIO()
    for name, data in records:
        at, name, crc = out.tell(), name.encode(), zlib.crc32(data)
        pad = -(at + 30 + len(name) + 4) % 64
        out.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 0, 0x0808, 0, 0, 0, 0, 0, 0, len(name),
                              4 + pad))
        out.write(name + struct.pack("<2sH", b"FB", pad) + b"Z" * pad + data)
        out.write(struct.pack("<IIII", 0x08074B50, crc, len(data), len(data)))
        directory.write(struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 0, 0x0808, 0, 0, 0, crc,
                                    len(data), len(data), len(name), 0, 0, 0, 0, 0, at) + name)
    at, entries, n = out.tell(), directory.getvalue(), len(records)
    out.write(entries)
    end = out.tell()
    out.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 0x031E, 45, 0, 0, n, n, len(entries), at))
    out.write(struct.pack("<IIQI", 0x07064B50, 0, end, 1))
    out.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, n, n, len(entries), at, 0))
    open(path, "wb").write(out.getvalue())


def records_of(path):
    with zipfile.ZipFile(path) as z:
        return {name.split("/", 1)[1]: z.read(name) for name in z.namelist()}


def save_old(path, new):
    names = ["data.pkl"] + sorted(n for n in new if n.startswith("data/")) + ["version"]
    save_zip(path, [("archive/" + n, new[n]) for n in names])


def swapped(data, unit):
    return b"".join(data[i:i + unit][::-1] for i in range(0, len(data), unit))


def save_big(path, new, tensors):
    unit = {}
    for t in tensors.values():
        unit[t.untyped_storage().data_ptr()] = 4 if t.is_complex() else t.element_size()
    units = [u for u in unit.values()]  # storages are numbered in the order they are met
    seen, order = set(), []
    for t in tensors.values():
        p = t.untyped_storage().data_ptr()
        if p not in seen:
            seen.add(p)
            order.append(unit[p])
    assert len(order) == len(units)
    big = dict(new)
    for i, u in enumerate(order):
        big[f"data/{i}"] = swapped(new[f"data/{i}"], u)
    big["byteorder"] = b"big"
    names = ["data.pkl", "byteorder"] + [f"data/{i}" for i in range(len(order))] + ["version"]
    save_zip(path, [("archive/" + n, big[n]) for n in names])


class PartPickler(pickle.Pickler):
    """Persistent ids of tuples that stand for storages."""

    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Part) else None


class Part:
    def __init__(self, id):
        self.id = id


class Tensor:
    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.args


def save_parts(path):
    root = ("storage", torch.FloatStorage, "0", "cpu", 12)
    other = ("storage", torch.LongStorage, "94", "cpu", 3, None)
    import collections
    hooks = collections.OrderedDict()
    tensors = {
        "middle": Tensor(Part(root + (("0v", 4, 6),)), 1, (2, 2), (2, 1), False, hooks),
        "all": Tensor(Part(root + (None,)), 0, (12,), (1,), False, hooks),
        "back": Tensor(Part(root + (("0w", 2, 8),)), 0, (2, 4), (1, 2), False, hooks),
        "i64": Tensor(Part(other), 0, (3,), (1,), False, hooks),
    }
    out = io.BytesIO()
    pickle.dump(0x1950A86A20F9469CFC6C, out, 2)
    pickle.dump(1001, out, 2)
    pickle.dump({"protocol_version": 1001, "little_endian": True,
                 "type_sizes": {"short": 2, "int": 4, "long": 4}}, out, 2)
    PartPickler(out, 2).dump(tensors)
    pickle.dump(["0", "94"], out, 2)
    out.write(struct.pack("<q12f", 12, *[i / 8 for i in range(12)]))
    out.write(struct.pack("<qqqq", 3, -1, 0, 1 << 40))
    open(path, "wb").write(out.getvalue())


names = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16",
         torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
         torch.bool: "BOOL", torch.complex64: "C64"}


def expected(out, path):
    for name, t in torch.load(path, weights_only=True).items():
        data = bytes(t.contiguous().reshape(-1).view(torch.uint8).numpy()) if t.numel() else b""
        shape = "x".join(str(n) for n in t.shape) or "scalar"
        print(f"{path}\t{name}\t{names[t.dtype]}\t{shape}\t{data.hex()}", file=out)


tensors = views()
torch.save(tensors, "new.bin")
torch.save(tensors, "before.bin", _use_new_zipfile_serialization=False)
save_old("old.bin", records_of("new.bin"))
save_big("big.bin", records_of("new.bin"), tensors)
save_parts("parts.bin")
with open("kinds.expected", "w") as out:
    for path in ("new.bin", "old.bin", "big.bin", "before.bin", "parts.bin"):
        expected(out, path)
