"""Modules whose parts lie on several devices, or on the disk: where what they read goes, and where it comes back.

`accelerate` moves what a part needs to where it computes, by hooks on the parts. What is asked of the module from
outside, such as its device, its parameters no longer tell: those on the disk have none.
"""

from __future__ import annotations

from typing import Any

import torch


def device_of(module: Any) -> torch.device:
    """Return the device to which what a module reads is sent."""
    execution = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    if execution is not None:
        return torch.device(execution)
    device: torch.device = next(module.parameters()).device
    return device


def in_parts(module: Any) -> bool:
    """Return whether a module lies in several places."""
    return len(set(getattr(module, "hf_device_map", None) or ())) > 1
