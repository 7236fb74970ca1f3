"""A Slurm of one node, started by hand: munged, slurmctld, slurmd, all in one folder."""

import contextlib
import os
import platform
import secrets
import signal
import socket
import subprocess
import time

import pytest

from tests import debian

_PACKAGES = ("slurm-wlm", "munge")
_COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")

_KILL_WAIT_S = 60

# Two cores whatever the machine has, so that two tasks find room on one; jobs that are requeued
# start again after seconds, not minutes (cred_expire).
_CONF = """\
ClusterName=one
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=2,sched_interval=2
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait={kill_wait_s}
MailProg=/bin/true
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=120 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""


def install():
    """Slurm and munge from Debian, where this process may install and start them; or skips."""
    if os.geteuid() != 0:
        pytest.skip("starting Slurm's daemons needs root")
    debian.need(_COMMANDS, _PACKAGES)


@contextlib.contextmanager
def running(folder):
    """The cluster, up inside; SLURM_CONF names it to every Slurm command.

    Args:
      folder: an empty one, of a short path (a socket's path has 108 characters at most).
    """
    install()
    ports = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(
            folder=folder,
            ctld_port=ports[0],
            slurmd_port=ports[1],
            host=platform.node(),
            kill_wait_s=_KILL_WAIT_S,
        )
    )
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    try:
        _start(
            folder,
            *("munged", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
            *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"),
            f"--seed-file={folder}/munge.seed",
        )
        _start(folder, "slurmctld")
        _start(folder, "slurmd", "-N", "localhost")
        wait_for(lambda: "idle" in ask("sinfo", "--noheader", "--format=%T"), 60, "an idle node")
        yield
    finally:
        subprocess.run(["scancel", "--user=root"], capture_output=True)
        with contextlib.suppress(AssertionError):  # no controller to ask, or no end: killed below
            wait_for(lambda: not ask("squeue", "--noheader"), 2 * _KILL_WAIT_S, "end of the jobs")
        for daemon in ("slurmd", "slurmctld", "munged"):
            _end(folder / f"{daemon}.pid")
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def _start(folder, daemon, *arguments):
    with open(folder / f"{daemon}.out", "ab") as output:
        done = subprocess.run([daemon, *arguments], stdout=output, stderr=output)
    assert done.returncode == 0, (folder / f"{daemon}.out").read_text()


def _end(pid_file):
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def _free_ports(count):
    with contextlib.ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def ask(*command):
    """The output of a Slurm command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_for(condition, timeout_s, what, detail=lambda: ""):
    """Returns what `condition` returns, once that is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.5)
    raise AssertionError(f"no {what} within {timeout_s} s\n{detail()}")


def job(number):
    """What `scontrol show job` says of a job: {"JobState": "RUNNING", "Restarts": "1", …}."""
    words = ask("scontrol", "show", "job", "-o", str(number)).split()
    return dict(word.split("=", 1) for word in words if "=" in word)
