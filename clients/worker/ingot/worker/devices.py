"""Print the GPUs torch can use as one line of JSON; `check.devices` runs it as a process."""

import json
import os
import sys

import torch


def gpus() -> list[dict[str, object]]:
    """Return kind, name and memory in bytes of each GPU."""
    rows: list[dict[str, object]] = []
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        rows.append({"kind": "cuda", "name": facts.name, "memory_bytes": facts.total_memory})
    return rows


if __name__ == "__main__":
    sys.stdout.write(json.dumps(gpus()) + "\n")
    sys.stdout.flush()
    os._exit(0)  # torch's own clean-up takes longer than the answer
