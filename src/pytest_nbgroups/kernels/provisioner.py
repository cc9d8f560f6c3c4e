"""Lets jupyter_client start and stop a kernel through the kernel host."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from pytest_nbgroups.core.errors import KernelHostError
from pytest_nbgroups.kernel_host.client import KernelHost, KernelProcess
from pytest_nbgroups.kernel_host.connection import NotForkedError
from pytest_nbgroups.kernel_host.warm_start import Command, Wanted, command_of
from pytest_nbgroups.kernels.holding import Holding


class HostProvisioner(KernelProvisionerBase):
    """Provisioner that a kernel manager calls in place of Popen.

    It is given to the manager as an instance, not by an entry point, and not built on ``LocalProvisioner``: that one
    asks the machine for its network addresses with a subprocess before it starts a kernel over TCP.
    """

    def __init__(
        self,
        *,
        host: KernelHost,
        log_path: Path | None,
        scratch: Path | None,
        holding: Holding,
        preload: tuple[str, ...] | None,
        prepare_timeout_s: float | None,
        **traits: Any,  # noqa: ANN401
    ) -> None:
        """``scratch`` is a folder that goes with the kernel, whatever becomes of this process.

        With ``preload`` a kernel is forked if that is possible, with these modules imported.
        """
        super().__init__(**traits)
        self._preload = preload
        self._prepare_timeout_s = prepare_timeout_s
        self.plainly: str | None = None
        """Why the kernel was not forked."""
        self.warning: str | None = None
        self._holding = holding
        self._host = host
        self._log_path = log_path
        self._scratch = scratch
        self.process: KernelProcess | None = None

    @property
    def _manager(self) -> KernelManager:
        assert isinstance(self.parent, KernelManager)  # noqa: S101  it made us
        return self.parent

    @property
    def has_process(self) -> bool:
        return self.process is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        """Write the connection file, build the command and the environment."""
        extra_arguments = kwargs.pop("extra_arguments", [])
        self._manager.write_connection_file()
        self.connection_info = self._manager.get_connection_info()
        command = self._manager.format_kernel_cmd(extra_arguments=extra_arguments)
        return await super().pre_launch(cmd=command, **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ANN401
        """Start the kernel; of what Popen would take, only ``cwd`` and ``env`` are used."""
        command, cwd = list(map(os.path.expanduser, cmd)), Path(kwargs.get("cwd") or Path.cwd())
        env = {**kwargs["env"], **self._holding.env}
        start = partial(
            self._host.start,
            command,
            cwd=cwd,
            env=env,
            descriptors=self._holding.descriptors,
            log_path=self._log_path,
            scratch=self._scratch,
        )
        try:
            self.process = await start(fork=await self._prepare(command, cwd, env))
        except NotForkedError as exc:
            self.plainly = str(exc)
            self.process = await start()
        return self.connection_info

    async def _prepare(self, command: list[str], cwd: Path, env: Mapping[str, str]) -> Command:
        """Raises NotForkedError, TimeoutError, KernelHostError."""
        if self._preload is None:
            raise NotForkedError("experiment_kernel_start = plain")
        wanted = Wanted(
            command=command_of(command),
            cwd=cwd,
            env=env,
            preload=self._preload,
            log_path=self._log_path,
        )
        prepared = await self._host.prepare(wanted, timeout_s=self._prepare_timeout_s)
        self.warning = prepared.warning
        if prepared.obstacle is not None:
            raise NotForkedError(prepared.obstacle)
        return wanted.command

    async def poll(self) -> int | None:
        return 0 if self.process is None else self.process.returncode

    async def wait(self) -> int | None:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        try:
            return await process.wait()
        except KernelHostError:
            return process.returncode

    async def send_signal(self, signum: int) -> None:
        if self.process is not None:
            await self._host.signal(signum)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        await self.send_signal(signal.SIGTERM)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        await self._host.kill_tree()

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        """Nothing to do: the endpoint owns the files, and no port is cached."""
