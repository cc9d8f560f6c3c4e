"""Boots a Linux kernel as an ordinary process, for what needs a cgroup that may be written to.

Debian's `user-mode-linux` runs without privileges over this file system, which it sees but cannot change. Imported by the
programs beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# Process 1 of that kernel: it moves into the cgroup "box" of version 2, does its work, and powers off.
_INIT = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm 2>/dev/null
export TMPDIR=/run NBGROUPS_POOL=/run/pool PYTHONDONTWRITEBYTECODE=1 {variables}
mount -t cgroup2 none /sys/fs/cgroup
echo "+memory +cpu" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/box
cp -r {tree} /run/tree; cd /run/tree
{limits}
echo $$ >/sys/fs/cgroup/box/cgroup.procs
{work}
poweroff -f
"""


# It has too little room for the registers of CPUs with AMX and panics. Where it is told that it cannot have the extended
# state (NT_X86_XSTATE) it takes the plain one, and programs must do without the registers that it then loses.
# The filter is that of seccomp(2), in classic BPF: code, jumps, operand.
_PLAIN = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load"
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 22  # EINVAL
_PTRACE, _GETREGSET, _SETREGSET, _XSTATE = 101, 0x4204, 0x4205, 0x202
_NUMBER, _REQUEST, _ADDRESS = 0, 16, 32  # offsets in struct seccomp_data
_FILTER = (
    (_LOAD, 0, 0, _NUMBER),
    (_IF_EQUAL, 0, 6, _PTRACE),
    (_LOAD, 0, 0, _REQUEST),
    (_IF_EQUAL, 1, 0, _GETREGSET),
    (_IF_EQUAL, 0, 3, _SETREGSET),
    (_LOAD, 0, 0, _ADDRESS),
    (_IF_EQUAL, 0, 1, _XSTATE),
    (_RETURN, 0, 0, _REFUSE),
    (_RETURN, 0, 0, _ALLOW),
)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


def _has_amx() -> bool:
    return "amx_tile" in Path("/proc/cpuinfo").read_text()


def _hide_extended_state() -> Callable[[], None] | None:
    """What to call before exec; None where there is room for all registers."""
    if not _has_amx():
        return None
    code = b"".join(struct.pack("HBBI", *line) for line in _FILTER)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(_FILTER), ctypes.addressof(buffer))
    prctl = ctypes.CDLL(None).prctl

    def hide() -> None:
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(program), 0, 0)
        assert buffer  # noqa: S101  the program points to it

    return hide


def kernel_argument(description: str | None) -> str:
    """The kernel: the program's one argument, else ``linux.uml`` in PATH. Exits where there is none."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kernel", nargs="?", default=shutil.which("linux.uml"))
    kernel: str | None = parser.parse_args().kernel
    if not kernel:
        sys.exit("there is no linux.uml in PATH: install Debian's user-mode-linux")
    return kernel


def run_in_box(
    kernel: str, tree: Path, work: str, *, limits: dict[str, str], memory: str, timeout_s: float
) -> str:
    """Run shell commands in a copy of a folder, in a cgroup with these files set; give what they print."""
    settings = "\n".join(
        f'echo "{value}" >/sys/fs/cgroup/box/{file}' for file, value in limits.items()
    )
    with tempfile.TemporaryDirectory() as scratch:
        init = Path(scratch) / "init.sh"
        variables = f'GLIBC_TUNABLES="{_PLAIN}"' if _has_amx() else ""
        init.write_text(_INIT.format(tree=tree, limits=settings, work=work, variables=variables))
        init.chmod(0o755)
        init.parent.chmod(0o755)
        devices = ["con=null", "con0=null,fd:1", "con1=null,fd:1", "quiet"]
        machine = ["rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", *devices]
        output = Path(scratch) / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [kernel, f"mem={memory}", *machine],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_hide_extended_state(),  # noqa: PLW1509  there is one thread
                env={**os.environ, "TMPDIR": "/dev/shm"},  # noqa: S108  the memory of that machine
            )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            print(f"the machine has not ended within {timeout_s:g}s")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return output.read_text("utf-8", errors="replace").replace("\r", "")
