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
from pytest_nbgroups.kernels.launch import Launch


class HostProvisioner(KernelProvisionerBase):
    """Provisioner that a kernel manager calls in place of Popen.

    It is given to the manager as an instance, not by an entry point, and not built on ``LocalProvisioner``: that one
    asks the machine for its network addresses with a subprocess before it starts a kernel over TCP.
    """

    def __init__(
        self,
        host: KernelHost,
        launch: Launch,
        *,
        scratch: Path | None,
        **traits: Any,  # noqa: ANN401
    ) -> None:
        """``scratch`` is a folder that goes with the kernel, whatever becomes of this process."""
        super().__init__(**traits)
        self._host = host
        self._launch = launch
        self._scratch = scratch
        self.process: KernelProcess | None = None
        self.plainly: str | None = None
        """Why the kernel was not forked."""
        self.warning: str | None = None

    @property
    def has_process(self) -> bool:
        return self.process is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        """Write the connection file, build the command and the environment."""
        manager = self.parent
        assert isinstance(manager, KernelManager)  # noqa: S101  the caller
        extra_arguments = kwargs.pop("extra_arguments", [])
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        command = manager.format_kernel_cmd(extra_arguments=extra_arguments)
        return await super().pre_launch(cmd=command, **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ANN401
        """Start the kernel; of the options, only ``env`` is used."""
        launch = self._launch
        command = list(map(os.path.expanduser, cmd))  # as jupyter_client's own launcher does
        env = {**kwargs["env"], **launch.holding.env}
        start = partial(
            self._host.start,
            command,
            cwd=launch.cwd,
            env=env,
            descriptors=launch.holding.descriptors,
            log_path=launch.log_path,
            scratch=self._scratch,
        )
        try:
            self.process = await start(fork=await self._prepare(command, env))
        except NotForkedError as exc:
            self.plainly = str(exc)
            self.process = await start()
        return self.connection_info

    async def _prepare(self, command: list[str], env: Mapping[str, str]) -> Command:
        """Raises NotForkedError, TimeoutError, KernelHostError."""
        launch = self._launch
        if launch.preload is None:
            raise NotForkedError("experiment_kernel_start = plain")
        wanted = Wanted(
            command=command_of(command),
            cwd=launch.cwd,
            env=env,
            preload=launch.preload,
            log_path=launch.log_path,
        )
        prepared = await self._host.prepare(wanted, timeout_s=launch.left_s())
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
