"""What mergekit 0.1.5 makes of small random arrays, for each line of cases.txt.

    python make_methods.py      # with mergekit 0.1.5 and PyTorch; writes methods.safetensors

Inputs are named SET.SHAPE.DTYPE.I (0: the base), results NAME.SET.SHAPE.DTYPE. Of equal
magnitudes the one with the lowest index is made to count as the larger (breadcrumbs: sorted stably),
so that the choice does not depend on the machine; the seed is 42 for every result.
"""
import pathlib

import torch
from mergekit.merge_methods import api
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
SHAPES = {"matrix": (13, 9), "vector": (37,), "cube": (5, 3, 4)}
DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}
# How far the models lie from the base, and what is stored of that.
SETS = {
    "far": (0.3, [(s, d) for s in SHAPES for d in DTYPES if d != "F64" or s == "matrix"]),
    "near": (0.002, [("matrix", d) for d in ("BF16", "F16", "F32")]),
}
BOOLS = ("normalize", "rescale", "filter_wise", "normalize_weights", "nuslerp_flatten",
         "nuslerp_row_wise")

argsort, plain_sort = torch.argsort, torch.sort


def ranked(x, dim=-1, descending=False):
    if descending:
        return argsort(x, dim=dim, descending=True, stable=True)
    return x.shape[dim] - 1 - argsort(x.flip(dim), dim=dim, stable=True)


def sorted_stably(x, descending=False):
    return plain_sort(x, descending=descending, stable=True)


def topk_by_rank(x, k, largest=True):
    order = ranked(x, descending=largest)[:k]
    return x[order], order


torch.argsort = torch.Tensor.argsort = ranked
torch.sort = sorted_stably
torch.topk = topk_by_rank


def parse(line):
    name, method, n, base, *settings = line.split()
    parameters = {}
    for setting in settings:
        key, values = setting.split("=")
        values = [float(v) for v in values.split(",")]
        if key in BOOLS:
            values = [bool(v) for v in values]
        if key == "max_iter":
            values = [int(v) for v in values]
        many = key in ("weight", "density", "gamma", "scale") or (
            key == "epsilon" and method.startswith("della"))
        parameters[key] = values if many else values[0]
    return name, method, int(n), base == "base", parameters


def main():
    cases = [parse(line) for line in (HERE / "cases.txt").read_text().splitlines()
             if line and not line.startswith("#")]
    torch.manual_seed(7)
    out = {}
    for spread, (sigma, stored) in SETS.items():
        for shape, dtype in stored:
            base = torch.randn(SHAPES[shape], dtype=torch.float64) * 0.5
            inputs = [base] + [base + sigma * torch.randn_like(base) for _ in range(3)]
            inputs = [x.to(DTYPES[dtype]) for x in inputs]
            where = f"{spread}.{shape}.{dtype}"
            for i, x in enumerate(inputs):
                out[f"{where}.{i}"] = x
            for name, method, n, with_base, parameters in cases:
                models = inputs[1:n + 1] + ([inputs[0]] if with_base else [])
                ids = [f"m{i}" for i in range(len(models))]
                given = {}
                for key, v in parameters.items():
                    given[key] = dict(zip(ids, v)) if isinstance(v, list) else v
                torch.manual_seed(42)
                result = api.merge_tensors(
                    models, method, parameters=given, ids=ids,
                    base_index=n if with_base else None, name="w")
                out[f"{name}.{where}"] = result.clone().contiguous()
    save_file(out, HERE / "methods.safetensors")


main()
