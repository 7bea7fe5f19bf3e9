"""Peak memory of this very process image."""

from pathlib import Path


def peak_bytes() -> int:
    """Read the peak resident size from Linux's /proc; ru_maxrss would inherit the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
