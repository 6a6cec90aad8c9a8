"""What this machine offers and what is missing: versions, device, data. ``companion doctor`` prints it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch
import torch.distributed as dist

from companion import folders, hardware
from companion.hardware import Hardware

PACKAGES = ("companion", "torch", "torchvision", "numpy", "scikit-learn", "scikit-image", "pydicom", "nibabel",
            "safetensors", "medmnist", "grad-cam", "jupyter-book", "nbval")


def examine() -> dict[str, str]:
    """Findings by name, in the order in which to read them."""
    device, precision = _device_and_precision()
    return {"python": f"{platform.python_version()} on {platform.system()}, {os.cpu_count()} processor cores",
            **{name: _version(name) for name in PACKAGES}, "torch": torch.__version__,
            "device": device,
            "precision": precision,
            "threads": str(torch.get_num_threads()),
            "several processes": _backends(),
            "data folder": f"{folders.data()} ({'there' if folders.data().is_dir() else 'not there yet'})",
            "stored studies": _files("studies", "*.json"),
            "downloaded sets": _files("cache", "*.npz")}


def complaint(device: torch.device) -> str | None:
    """Why torch can not compute on a device, in its own words; None where it can."""
    try:
        torch.zeros(1, device=device).cpu()
        Hardware.best(device)
        return None
    except (RuntimeError, AssertionError, NotImplementedError) as error:    # torch has no type of its own for it
        return str(error).splitlines()[0]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _device_and_precision() -> tuple[str, str]:
    """What computes and in which number format, or why nothing can."""
    try:
        place = hardware.device()
    except ValueError as error:
        return str(error), "none without a device"
    if why := complaint(place):
        source = " asked for by COMPANION_DEVICE" if os.environ.get("COMPANION_DEVICE") else ""
        return (f"{place}{source}, but torch can not use it here ({why}): set COMPANION_DEVICE to cpu, or mend the "
                "driver", "none without a device")
    return _device(place), str(Hardware.best(place).precision or torch.float32).removeprefix("torch.")


def _device(device: torch.device) -> str:
    if device.type != "cuda":
        return f"{device.type}; no GPU that torch can use" if not torch.cuda.is_available() else device.type
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    return f"{device}, {torch.cuda.get_device_name(device)}, {memory:.0f} GiB; {torch.cuda.device_count()} in all"


def _backends() -> str:
    found = [name for name, there in (("gloo", dist.is_gloo_available), ("nccl", dist.is_nccl_available)) if there()]
    return ", ".join(found) or "not in this build of torch"


def _files(folder: str, pattern: str) -> str:
    names = sorted(p.stem for p in (folders.data() / folder).glob(pattern))
    return f"{len(names)}" + (f" ({', '.join(names)})" if names else "")
