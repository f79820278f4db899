"""Make the small files of PyTorch that test_torch_file.c opens. Run in this folder; made with
torch 2.15."""
import collections

import torch

plain = collections.OrderedDict()
base = torch.arange(12, dtype=torch.float32)
plain["f32"] = base.reshape(3, 4).clone()
plain["f16"] = torch.arange(4, dtype=torch.float16)
plain["bf16"] = torch.arange(3).to(torch.bfloat16)
plain["f64"] = torch.tensor(2.5, dtype=torch.float64)
plain["i64"] = torch.tensor([-1, 2])
plain["u8"] = torch.tensor([1, 2, 3], dtype=torch.uint8)
plain["bool"] = torch.tensor([True, False])
plain["empty"] = torch.zeros(0, 3)
plain["fp8"] = torch.arange(4).to(torch.float8_e4m3fn)
plain["tied"] = plain["f32"]
plain["view"] = base[4:8]
plain["whole"] = base
plain["parameter"] = torch.nn.Parameter(torch.ones(2))
plain["h\u00e9"] = torch.full((1,), 7.0)
plain._metadata = {"": {"version": 1}}
torch.save(plain, "plain.bin")

torch.save({"epoch": 3, "lr": 0.1, "state_dict": {"w": torch.ones(2), "note": "text"},
            "optimizer": {"state": {0: {"step": 5}}, "param_groups": [{"params": [0, 1]}]}},
           "nested.pt")
torch.save({"a": torch.ones(2), "t": torch.arange(6.0).reshape(2, 3).t()}, "strided.bin")
torch.save({"w": torch.ones(2)}, "legacy.bin", _use_new_zipfile_serialization=False)
torch.save({"w": torch.ones(2), "s": torch.eye(2).to_sparse()}, "sparse.bin")
torch.save({"w": torch.ones(2)}, "protocol4.bin", pickle_protocol=4)
torch.jit.script(torch.nn.Linear(1, 1)).save("script.pt")
