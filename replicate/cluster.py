"""The workers that train together: who they are, and their meeting before training starts.

    cluster = from_environment()
    if cluster:
        with cluster.chief_first():
            if cluster.is_chief:
                prepare()          # records, config; the others wait
        cluster.wait_for_all()     # right before the strategy is made
        cluster.export()
        strategy = tf.distribute.MultiWorkerMirroredStrategy()

TensorFlow's own start waits without end and in silence for a worker that never comes. The
meeting here has a time limit and names who is missing. Imports no TensorFlow.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from replicate.errors import UserError

TIMEOUT_S = 600
TIMEOUT_VARIABLE = "REPLICATE_RENDEZVOUS_TIMEOUT_S"
_FIRST_PORT, _PORTS = 10_000, 20_000  # below Linux's ephemeral ports (32768 and up)
_SKYPILOT_PORT = 12_355
_HELLO_TIMEOUT_S = 5
_MESSAGE_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers of one training run, this process being one of them.

    Attributes:
      workers: "host:port" of each, in the order of their index; at least two.
      index: this process's place in `workers`.
      source: what said so: "TF_CONFIG", "Slurm" or "SkyPilot".
      timeout_s: how long the workers wait for each other; a user's setting, see TIMEOUT_VARIABLE.
    """

    workers: tuple[str, ...]
    index: int
    source: str = "TF_CONFIG"
    timeout_s: float = TIMEOUT_S

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes: index 0."""
        return self.index == 0

    def export(self) -> None:
        """Sets TF_CONFIG, from which MultiWorkerMirroredStrategy takes its cluster."""
        task = {"type": "worker", "index": self.index}
        os.environ["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": list(self.workers)}, "task": task}
        )

    def wait_for_all(self, timeout_s: float | None = None) -> None:
        """Returns when every worker has called it.

        Args:
          timeout_s: seconds to wait; None takes the cluster's.

        Raises:
          UserError: one did not come in time, or ended meanwhile; it is named on every worker.
        """
        with self.chief_first(timeout_s):
            pass

    @contextlib.contextmanager
    def chief_first(self, timeout_s: float | None = None) -> Iterator[None]:
        """All meet; the chief goes through the block at once, the others when it has ended there.

        The others wait for the chief's block without limit, but not for a chief that died.

        Args:
          timeout_s: seconds in which all must have come; None takes the cluster's.

        Raises:
          UserError: as `wait_for_all`; on the others also where the chief's block raised.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        if not self.is_chief:
            self._follow(timeout_s)
            yield
            return
        with contextlib.ExitStack() as open_sockets:
            connections = self._gather(timeout_s, open_sockets)
            try:
                yield
            except BaseException as error:
                _tell(connections.values(), {"stopped": f"{type(error).__name__}: {error}"})
                raise
            _tell(connections.values(), {"go": True})

    def _gather(
        self, timeout_s: float, open_sockets: contextlib.ExitStack
    ) -> dict[int, socket.socket]:
        """The chief's side: {index: connection} of all others, or UserError naming the missing."""
        deadline = time.monotonic() + timeout_s
        server = open_sockets.enter_context(_listen(self.workers[0]))
        arrived: dict[int, socket.socket] = {}
        self._say(f"waiting for {len(self.workers) - 1} other workers, {timeout_s:g} s at most")
        while self._missing(arrived):
            left = deadline - time.monotonic()
            if left <= 0:
                _tell(arrived.values(), {"missing": self._missing(arrived)})
                raise self._absence(self._missing(arrived), timeout_s)
            server.settimeout(min(left, 1))
            with contextlib.suppress(TimeoutError):
                connection = open_sockets.enter_context(server.accept()[0])
                self._welcome(connection, arrived)
            arrived = {index: worker for index, worker in arrived.items() if not _has_gone(worker)}
        self._say("all workers are here")
        return arrived

    def _missing(self, arrived: dict[int, socket.socket]) -> list[int]:
        return [index for index in range(1, len(self.workers)) if index not in arrived]

    def _welcome(self, connection: socket.socket, arrived: dict[int, socket.socket]) -> None:
        """Adds who says hello to `arrived`; whoever else connects is sent off."""
        connection.settimeout(_HELLO_TIMEOUT_S)
        hello = _receive(connection.makefile("rb"))
        if not hello or type(hello.get("index")) is not int:
            connection.close()
        elif hello.get("workers") != list(self.workers) or not (
            0 < hello["index"] < len(self.workers)
        ):
            _tell([connection], {"refused": list(self.workers)})
            connection.close()
        else:
            _tell([connection], {"welcome": True})
            arrived[hello["index"]] = connection

    def _follow(self, timeout_s: float) -> None:
        """The other workers' side: reach the chief, then wait for its word."""
        _listen(self.workers[self.index]).close()  # TensorFlow's server needs this port
        self._say(f"waiting for the chief, {self.workers[0]}, {timeout_s:g} s at most")
        connection, stream = self._reach_chief(timeout_s)
        with connection:
            connection.settimeout(None)
            _keep_alive(connection)
            word = _receive(stream) or {"stopped": "its connection was lost"}
        if "missing" in word:
            raise self._absence(word["missing"], timeout_s)
        if "stopped" in word:
            raise UserError(
                f"worker 0 (the chief, {self.workers[0]}) ended while {self._own_name()} waited "
                f"for it: {word['stopped']}. Its own log has the reason"
            )

    def _reach_chief(self, timeout_s: float) -> tuple[socket.socket, IO[bytes]]:
        """(connection, its stream) once the chief has said welcome."""
        deadline = time.monotonic() + timeout_s
        host, port = _split(self.workers[0])
        last: object = None
        while (left := deadline - time.monotonic()) > 0:
            try:
                connection = socket.create_connection((host, port), timeout=min(left, 10))
            except OSError as error:
                last = error
            else:
                _tell([connection], {"workers": list(self.workers), "index": self.index})
                connection.settimeout(max(_HELLO_TIMEOUT_S, left))
                stream = connection.makefile("rb")
                answer = _receive(stream)
                if answer and "welcome" in answer:
                    return connection, stream
                connection.close()
                if answer and "refused" in answer:
                    raise UserError(
                        f"{self._own_name()} was started for the workers "
                        f"{', '.join(self.workers)}, the chief at {self.workers[0]} for "
                        f"{', '.join(map(str, answer['refused']))}; start all with one list"
                    )
                last = "what listens there is not the chief of a run"
            time.sleep(min(0.5, max(0, deadline - time.monotonic())))
        raise self._absence([0], timeout_s, last)

    def _absence(
        self, indices: list[int], timeout_s: float, detail: object | None = None
    ) -> UserError:
        missing = [f"worker {index} ({self.workers[index]})" for index in indices]
        return UserError(
            f"{', '.join(missing)} did not come within {timeout_s:g} s"
            + (f" ({detail})" if detail else "")
            + f"; {self._own_name()} gave up. See whether its process started there and what its "
            f"log says, and whether that host and {self.workers[0]} reach each other (firewall, "
            f"name resolution); {TIMEOUT_VARIABLE} sets another limit in seconds"
        )

    def _own_name(self) -> str:
        return f"worker {self.index} ({self.workers[self.index]})"

    def _say(self, message: str) -> None:
        print(f"{self._own_name()}: {message}", file=sys.stderr, flush=True)


def from_environment(environment: Mapping[str, str] | None = None) -> Cluster | None:
    """The cluster that this process is part of.

    TF_CONFIG is taken where it is set, then the variables of a Slurm step (`srun`), then those of
    SkyPilot.

    Args:
      environment: mapping of variables; None takes this process's.

    Returns:
      Cluster, or None where this process trains alone.

    Raises:
      UserError: the variables contradict themselves.
    """
    environment = os.environ if environment is None else environment
    for source, (variable, read) in _SOURCES.items():
        if not environment.get(variable):
            continue
        try:
            workers, index = read(environment)
            timeout_s = float(environment.get(TIMEOUT_VARIABLE) or TIMEOUT_S)
            for worker in workers:
                _split(worker)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{variable}={environment[variable]!r} does not describe a cluster "
                f"({type(error).__name__}: {error})"
            ) from None
        if len(workers) <= 1:
            return None
        if not 0 <= index < len(workers):
            raise UserError(f"{source}: this is worker {index} of only {len(workers)}")
        return Cluster(tuple(workers), index, source, timeout_s)
    return None


def _from_tf_config(environment: Mapping[str, str]) -> tuple[list[str], int]:
    config = json.loads(environment["TF_CONFIG"])
    cluster, task = config.get("cluster", {}), config.get("task", {})
    kinds = sorted(set(cluster) - {"chief", "worker"})
    if kinds or task.get("type", "worker") not in ("chief", "worker"):
        raise ValueError(
            "all take part in training; only the task types chief and worker are known, not "
            + (", ".join(kinds) or task["type"])
        )
    chiefs = list(cluster.get("chief", []))
    index = int(task.get("index", 0))
    if task.get("type") != "chief":
        index += len(chiefs)
    return chiefs + list(cluster.get("worker", [])), index


def _from_slurm(environment: Mapping[str, str]) -> tuple[list[str], int]:
    """Tasks are numbered block by block (`srun --distribution=block`), as Slurm does by default."""
    if int(environment["SLURM_STEP_NUM_TASKS"]) == 1:
        return [], 0
    hosts = _slurm_hosts(environment["SLURM_STEP_NODELIST"])
    counts = _tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    first = _FIRST_PORT + int(environment["SLURM_JOB_ID"]) * max(counts) % _PORTS
    workers = [
        f"{host}:{first + local}"
        for host, count in zip(hosts, counts, strict=True)
        for local in range(count)
    ]
    return workers, int(environment["SLURM_PROCID"])


def _from_skypilot(environment: Mapping[str, str]) -> tuple[list[str], int]:
    hosts = environment["SKYPILOT_NODE_IPS"].split()
    workers = [f"[{h}]:{_SKYPILOT_PORT}" if ":" in h else f"{h}:{_SKYPILOT_PORT}" for h in hosts]
    return workers, int(environment["SKYPILOT_NODE_RANK"])


_SOURCES = {
    "TF_CONFIG": ("TF_CONFIG", _from_tf_config),
    "Slurm": ("SLURM_STEP_NUM_TASKS", _from_slurm),
    "SkyPilot": ("SKYPILOT_NODE_IPS", _from_skypilot),
}


def _slurm_hosts(nodelist: str) -> list[str]:
    """The hosts of a Slurm node list: "n[01-02,7],m" is n01, n02, n7, m.

    Slurm's own `scontrol show hostnames` answers where it is installed (in a container it often
    is not). TensorFlow's SlurmClusterResolver refuses brackets that are not at the end of a name.
    """
    if shutil.which("scontrol"):
        answer = subprocess.run(
            ["scontrol", "show", "hostnames", nodelist], capture_output=True, text=True
        )
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.split()
    parts = re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodelist)
    return [host for part in parts for host in _hosts(part)]


def _hosts(part: str) -> list[str]:
    bracket = re.search(r"\[([^\]]*)\]", part)
    if not bracket:
        return [part]
    hosts = []
    for piece in bracket[1].split(","):
        low, _, high = piece.partition("-")
        for number in range(int(low), int(high or low) + 1):
            hosts += _hosts(f"{part[: bracket.start()]}{number:0{len(low)}}{part[bracket.end() :]}")
    return hosts


def _tasks_per_node(text: str) -> list[int]:
    """Slurm's counts by node: "2(x3),1" is 2, 2, 2, 1."""
    counts = []
    for piece in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", piece)
        if not match:
            raise ValueError(f"{piece!r} in SLURM_STEP_TASKS_PER_NODE is no count")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _split(worker: str) -> tuple[str, int]:
    """(host, port) of "host:port" or "[IPv6]:port"."""
    host, colon, port = worker.rpartition(":")
    if not (host and colon):
        raise ValueError(f"{worker!r} is not host:port")
    return host.strip("[]"), int(port)


def _listen(worker: str) -> socket.socket:
    port = _split(worker)[1]
    dual = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual
        )
    except OSError as error:
        raise UserError(
            f"port {port}, where the other workers expect {worker}, cannot be opened here "
            f"({error.strerror}); another run may hold it: end that one, or start this one anew"
        ) from None


def _keep_alive(connection: socket.socket) -> None:
    """Lets a connection fail about 40 s after the other side's host vanished."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _has_gone(connection: socket.socket) -> bool:
    try:
        connection.settimeout(0)
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _tell(connections: Iterable[socket.socket], message: dict) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.settimeout(_HELLO_TIMEOUT_S)
            connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(stream: IO[bytes]) -> dict | None:
    """The next message, or None where none comes or what comes is not one.

    Args:
      stream: the connection's `makefile("rb")`; it keeps what came behind the message.
    """
    try:
        message = json.loads(stream.readline(_MESSAGE_BYTES))
    except (OSError, ValueError):
        return None
    return message if isinstance(message, dict) else None
