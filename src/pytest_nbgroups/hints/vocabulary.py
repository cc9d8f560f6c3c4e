"""The words by which the use of GPUs, and of several CPUs, is known in Python code."""

from __future__ import annotations

import re
from typing import TypeGuard

GPU_MODULES = {
    "cucim", "cudf", "cugraph", "cuml", "cupy", "cupyx", "cuspatial", "cuvs", "dask_cuda",
    "dask_cudf", "diffusers", "fastai", "flash_attn", "flax", "jax", "keras", "lightning", "monai",
    "pycuda", "pytorch_lightning", "rmm", "sentence_transformers", "tensorflow", "tensorrt",
    "torch", "torch_tensorrt", "transformers", "ultralytics", "vllm",
}  # fmt: skip
"""Libraries that need a GPU, or can use one."""
GPU_CALLS = {
    "spacy.require_gpu", "torch.cuda.current_device", "torch.cuda.get_device_name",
    "torch.cuda.get_device_properties", "torch.cuda.mem_get_info", "torch.cuda.set_device",
    "torch.cuda.synchronize",
}  # fmt: skip
_DEVICE = re.compile(r"cuda(:\d{1,3})?|/(device:)?(XLA_)?GPU:\d{1,3}", re.IGNORECASE)
DEVICE_CALLS = {"device", "devices", "set_default_device", "to"}
SHOWING_CALLS = {"display", "format", "print", "str"}
"""Functions that only show their arguments."""
_DEVICE_KEYS = {"device", "device_map", "device_name", "map_location", "torch_device"}
_GPU_SETTINGS = {
    ("accelerator", "cuda"),
    ("accelerator", "gpu"),
    ("device", "gpu"),  # LightGBM, XGBoost
    ("device_type", "cuda"),
    ("device_type", "gpu"),
    ("jax_platforms", "cuda"),
    ("predictor", "gpu_predictor"),
    ("task_type", "gpu"),
    ("tree_method", "gpu_hist"),
}
"""Key and value, in lower case, wherever they stand: keyword, dict, assignment."""
COUNTS = {
    "max_workers", "n_jobs", "n_processes", "n_threads", "n_workers", "nb_workers", "nthread",
    "num_proc", "num_threads", "num_workers", "thread_count",
}  # fmt: skip
COUNTS_OF_CALLS = COUNTS | {"workers"}  # too plain a word for a variable's name
COUNTS_OF_POOLS = {"max_workers", "n_workers", "num_cpus", "processes"}
POOLS = {"LocalCUDACluster", "LocalCluster", "ProcessPoolExecutor"}
THREAD_POOLS = {"ThreadPool", "ThreadPoolExecutor"}
"""Mostly for downloads and files, which need no CPUs."""
CLUSTERS = {"dask.distributed.Client", "distributed.Client", "ray.init"}
"""They start one here unless they are given the address of another."""
POOL_MODULES = ("multiprocess.", "multiprocessing.", "torch.multiprocessing.")
_LARGEST_COUNT = 4096

_LOOSE_WORDS = {"cuda", "gpu", " ray", "client", "pool"}
_WORDS = {w.lower() for w in _LOOSE_WORDS | GPU_MODULES | COUNTS_OF_CALLS | POOLS}


def may_have_signs(source: str) -> bool:
    """Return True if a source has a word that all signs need: most notebooks have no word of this kind."""
    lowered = source.lower()
    return any(word in lowered for word in _WORDS)


def is_device(value: object) -> bool:
    return isinstance(value, str) and _DEVICE.fullmatch(value) is not None


def is_gpu_setting(key: str, value: str) -> bool:
    """``key`` in lower case."""
    names_device = key in _DEVICE_KEYS and is_device(value)
    return names_device or (key, value.lower()) in _GPU_SETTINGS


def is_several(value: object) -> bool:
    """Return True for several processes or threads, or (-1, -2) for all CPUs but a few."""
    return is_count(value) or (isinstance(value, int) and value < 0)


def is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 1 < value <= _LARGEST_COUNT
