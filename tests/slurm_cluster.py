"""A real SLURM of this machine alone: one controller and nodes on loopback addresses, for as long as a test runs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "setpriv", "unshare")
CPUS, MEMORY_MB, GPUS = 4, 64000, 2
"""Of a node, by its word: SLURM counts them, and nothing here holds a job to them."""

CONF = """
ClusterName=t2s
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket,cred_expire=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
DefMemPerCPU=100
MinJobAge=3600
{nodes}
PartitionName=main Nodes=ALL Default=YES LLN=YES MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}"
)


class Cluster:
    """Its nodes, by name. Commands of SLURM reach it by `SLURM_CONF` in the environment."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.nodes: dict[str, subprocess.Popen[bytes] | None] = dict.fromkeys(names)
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Write the configuration and start all daemons.

        Raises: TimeoutError where they don't become ready.
        """
        host = socket.gethostname().split(".")[0]
        ports = free_ports(1 + len(self.nodes))
        own = {"host": host, "cpus": CPUS, "memory": MEMORY_MB, "gpus": GPUS}
        lines = [NODE.format(node=name, port=port, **own) for name, port in zip(self.nodes, ports[1:], strict=True)]
        user = subprocess.run(["id", "-un"], check=True, text=True, capture_output=True).stdout.strip()
        nodes = "\n".join(lines)
        (self.folder / "slurm.conf").write_text(
            CONF.format(host=host, port=ports[0], user=user, folder=self.folder, nodes=nodes)
        )
        gpus = "\n".join(f"NodeName={name} Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]" for name in self.nodes)
        (self.folder / "gres.conf").write_text(gpus + "\n")
        for i in range(GPUS):
            os.mknod(self.folder / f"gpu{i}", stat.S_IFCHR | 0o600, os.makedev(1, 3))  # /dev/null by another name
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.folder / "munge.key").chmod(0o400)
        (self.folder / "state").mkdir()
        self.daemons.append(self.munged())
        wait((self.folder / "munge.socket").exists, "the socket of munged", 30)
        self.daemons.append(self.daemon("slurmctld", "-D", "-i"))
        for name in self.nodes:
            self.boot(name)
        wait(self.is_idle, f"all nodes idle (logs in {self.folder})", 60)

    def stop(self) -> None:
        """End everything that was started."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.call("scancel", "--user", str(os.getuid()))
        for name in self.nodes:
            self.crash(name)
        for process in reversed(self.daemons):
            process.terminate()
            process.wait(timeout=30)

    def boot(self, name: str) -> None:
        """Start a node: slurmd as the first of processes that end with it, the configuration where all of them look."""
        (self.folder / name).mkdir(exist_ok=True)
        start = f"mount --bind {shlex.quote(str(self.folder))} /etc/slurm && exec slurmd -D -N {name}"
        own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.nodes[name] = self.daemon(*own, "sh", "-c", start)

    def crash(self, name: str) -> None:
        """End a node as a loss of power does: at once, with all of its jobs, unknown to the controller."""
        node = self.nodes[name]
        if node:
            for first in Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text(encoding="utf-8").split():
                os.kill(int(first), signal.SIGKILL)  # and with it the kernel kills the others
            node.wait(timeout=30)
        self.nodes[name] = None

    def is_idle(self) -> bool:
        """Whether the controller answers and all nodes are ready."""
        with contextlib.suppress(subprocess.CalledProcessError):
            return set(self.states().values()) == {"idle"}
        return False

    def states(self) -> dict[str, str]:
        """Of every node: idle, mixed, allocated, down, ..."""
        lines = self.call("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return {name: state.rstrip("*") for name, state in map(str.split, lines)}

    def jobs(self, *fields: str) -> list[list[str]]:
        """Fields (those of squeue --Format) of every job there was."""
        form = ",".join(f"{field}:.500" for field in fields)
        lines = self.call("squeue", "--noheader", "--states=all", f"--Format={form}").splitlines()
        return [[line[i * 500 : (i + 1) * 500].strip() for i in range(len(fields))] for line in lines]

    def call(self, *command: str) -> str:
        """What a command of SLURM prints.

        Raises: CalledProcessError.
        """
        done = subprocess.run(command, env=self.environment(), check=True, text=True, capture_output=True, timeout=60)
        return done.stdout

    def environment(self) -> dict[str, str]:
        """That of this process, and the way to this cluster."""
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def daemon(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a daemon in a session of its own, its output in a log; it doesn't outlive this process."""
        with (self.folder / "daemons.log").open("ab") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def munged(self) -> subprocess.Popen[bytes]:
        """Start what signs the messages between the daemons."""
        names = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log"}
        names |= {"seed-file": "munged.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in names.items()]
        return self.daemon("munged", "--foreground", "--force", *options)


@contextlib.contextmanager
def running(folder: Path, names: list[str]) -> Iterator[Cluster]:
    """A cluster with nodes of these names, everything of it in `folder`; nothing of it runs afterwards."""
    cluster = Cluster(folder, names)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def missing() -> str | None:
    """What this machine lacks, and the command that mends it; None where it has all."""
    lacking = [command for command in COMMANDS if not shutil.which(command)]
    if lacking:
        return f"no {lacking[0]}: run 'apt-get install slurm-wlm munge'"
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return "no executor for SLURM: run 'pip install --constraint constraints.txt snakemake-executor-plugin-slurm'"
    return None if os.geteuid() == 0 else "slurmd is to be started by root"


def free_ports(n: int) -> list[int]:
    """So many ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait(get: Callable[[], T | None], what: str, seconds: float) -> T:
    """The first value it gives that is neither empty nor false.

    Raises: TimeoutError where there is none in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := get():
            return value
        time.sleep(0.1)
    raise TimeoutError(f"expected {what} within {seconds:.0f} s")
