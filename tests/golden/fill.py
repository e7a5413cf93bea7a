"""Deterministic weights from the KEY NAME alone (numpy only).

fill_state_dict(shapes) -> {key: float32 ndarray}

rng  = np.random.default_rng(zlib.crc32((key + salt).encode()))
N    = rng.standard_normal(shape)            # float64, cast to float32 at the very end

rules, first match wins
  0-d (num_batches_tracked etc.)          0
  '...num_batches_tracked'                0
  '...running_mean'                       0.05*N
  '...running_var'                        1 + 0.05*|N|
  TensorFlow '.../weights' (HWIO)         gain*N/sqrt(prod(shape[:-1]))
  TensorFlow '.../biases'                 0.05*N
  ndim >= 2                               gain*N/sqrt(prod(shape[1:]))
  1-d '.bias'                             0.05*N
  1-d '.weight'                           1 + 0.05*N
  any other 1-d tensor                    N   (HyperCUT 'hyperplane.hyperplane')

gain: a float, or a dict {key prefix: float} (longest matching prefix wins, '' = default).
gain only multiplies tensors with ndim >= 2.
salt: '' for the open case, '#held' for the held one.
"""

import zlib

import numpy as np


def _gain(key, gain):
    if not isinstance(gain, dict):
        return float(gain)
    best = max((p for p in gain if key.startswith(p)), key=len, default=None)
    return 1.0 if best is None else float(gain[best])


def fill_state_dict(shapes, gain=1.0, salt=""):
    out = {}
    for key, shape in shapes.items():
        shape = tuple(int(s) for s in shape)
        rng = np.random.default_rng(zlib.crc32((key + salt).encode()))
        if len(shape) == 0 or key.endswith("num_batches_tracked"):
            w = np.zeros(shape)
        else:
            n = rng.standard_normal(shape)
            if key.endswith("running_mean"):
                w = 0.05 * n
            elif key.endswith("running_var"):
                w = 1.0 + 0.05 * np.abs(n)
            elif key.endswith("/weights"):
                w = _gain(key, gain) * n / np.sqrt(np.prod(shape[:-1]))
            elif key.endswith("/biases"):
                w = 0.05 * n
            elif len(shape) >= 2:
                w = _gain(key, gain) * n / np.sqrt(np.prod(shape[1:]))
            elif key.endswith("bias"):
                w = 0.05 * n
            elif key.endswith(".weight"):
                w = 1.0 + 0.05 * n
            else:
                w = n
        out[key] = w.astype(np.float32)
    return out
