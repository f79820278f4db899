"""Make writer.safetensors: a file of the reference writer that test_safetensors_write.c rebuilds.

Run in this folder with the safetensors package (made with 0.8.0)."""
import numpy as np
from safetensors.numpy import save_file

tensors = {
    "model.layers.10.w": np.arange(6, dtype=np.float16).reshape(2, 3),
    "model.layers.2.w": np.arange(4, dtype=np.float16),
    "b/with/slashes": np.arange(2, dtype=np.float32),
    'quote" back\\slash': np.array(1.5, dtype=np.float64),
    "tab\tnewline\nbell\x07return\rform\fback\b": np.zeros((0, 3), dtype=np.int64),
    "h\u00e9\U0001f600": np.array([True, False, True]),
    "Z": np.arange(3, dtype=np.uint8),
    "a": np.arange(3, dtype=np.int8),
    "del\x7f": np.arange(2, dtype=np.uint16),
    "i16": np.arange(2, dtype=np.int16),
    "u32": np.arange(2, dtype=np.uint32),
    "i32": np.arange(2, dtype=np.int32),
    "u64": np.arange(1, dtype=np.uint64),
    "": np.arange(1, dtype=np.float32),
}
save_file(tensors, "writer.safetensors", metadata={"format": "pt"})
