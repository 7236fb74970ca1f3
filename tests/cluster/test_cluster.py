"""Who trains together, and the meeting that names a host that is missing."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from replicate import cluster
from replicate.cluster import Cluster, from_environment
from replicate.errors import UserError


def _tf_config(workers, index=0, kind="worker", **others):
    return {
        "TF_CONFIG": json.dumps(
            {"cluster": {"worker": workers} | others, "task": {"type": kind, "index": index}}
        )
    }


def _slurm(nodelist, tasks_per_node, tasks, rank, job=7):
    return {
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NODELIST": nodelist,
        "SLURM_STEP_TASKS_PER_NODE": tasks_per_node,
        "SLURM_PROCID": str(rank),
        "SLURM_JOB_ID": str(job),
    }


@pytest.mark.parametrize(
    ("environment", "workers", "index", "source"),
    [
        (_tf_config(["a:1", "b:2"], 1), ("a:1", "b:2"), 1, "TF_CONFIG"),
        # A chief of its own is worker 0 for MultiWorkerMirroredStrategy's order too.
        (_tf_config(["b:2", "c:3"], 1, chief=["a:1"]), ("a:1", "b:2", "c:3"), 2, "TF_CONFIG"),
        (_tf_config(["b:2"], 0, "chief", chief=["a:1"]), ("a:1", "b:2"), 0, "TF_CONFIG"),
        (_slurm("gpu[1-2]", "1(x2)", 2, 1), ("gpu1:10007", "gpu2:10007"), 1, "Slurm"),
        (
            _slurm("n[08-10],m", "2(x3),1", 7, 6),
            (*(f"n{n}:{p}" for n in ("08", "09", "10") for p in (10014, 10015)), "m:10014"),
            6,
            "Slurm",
        ),
        (
            {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NODE_RANK": "1"},
            ("10.0.0.1:12355", "10.0.0.2:12355"),
            1,
            "SkyPilot",
        ),
        (
            {"SKYPILOT_NODE_IPS": "fd00::1\nfd00::2", "SKYPILOT_NODE_RANK": "0"},
            ("[fd00::1]:12355", "[fd00::2]:12355"),
            0,
            "SkyPilot",
        ),
    ],
)
def test_who_trains_together(environment, workers, index, source):
    found = from_environment(environment)
    assert (found.workers, found.index, found.source) == (workers, index, source)
    assert found.is_chief == (index == 0)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        _tf_config(["a:1"]),
        {"TF_CONFIG": "{}"},
        _slurm("gpu1", "1", 1, 0),
        {"SKYPILOT_NODE_IPS": "10.0.0.1", "SKYPILOT_NODE_RANK": "0"},
        # sbatch's own step: four tasks were asked for, this process is not one of them.
        {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"},
    ],
)
def test_alone(environment):
    assert from_environment(environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG='{' does not describe a cluster"),
        ({"TF_CONFIG": "[]"}, "does not describe a cluster"),
        (_tf_config(["a:1", "b"]), "'b' is not host:port"),
        (_tf_config(["a:1", "b:2"], 2), "this is worker 2 of only 2"),
        (_tf_config(["a:1", "b:2"], 0, "evaluator"), "not evaluator"),
        (_tf_config(["a:1", "b:2"], ps=["c:3"]), "not ps"),
        (_slurm("n[1-2]", "2(y2)", 4, 0), "'2(y2)' in SLURM_STEP_TASKS_PER_NODE"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_STEP_NODELIST"),
        ({"SKYPILOT_NODE_IPS": "a b", "SKYPILOT_NODE_RANK": "x"}, "SKYPILOT_NODE_IPS='a b'"),
    ],
)
def test_variables_that_contradict_themselves(environment, said):
    with pytest.raises(UserError, match=".*") as error:
        from_environment(environment)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("nodelist", "hosts"),
    [
        ("a", "a"),
        ("a,b-1,c", "a b-1 c"),
        ("n[1-3]", "n1 n2 n3"),
        ("n[01-03,7]", "n01 n02 n03 n7"),
        ("n[098-101]", "n098 n099 n100 n101"),
        ("rack[1-2]n[8-9],login", "rack1n8 rack1n9 rack2n8 rack2n9 login"),
    ],
)
def test_host_lists_expand_as_slurm_expands_them(nodelist, hosts, monkeypatch, tmp_path):
    """Without scontrol (in a container), as with it (where Slurm is installed)."""
    scontrol = shutil.which("scontrol")
    monkeypatch.setattr(cluster.shutil, "which", lambda name: None)
    assert cluster._slurm_hosts(nodelist) == hosts.split()
    if scontrol:
        conf = tmp_path / "slurm.conf"  # it starts with no cluster at all, but not without a file
        conf.write_text("ClusterName=none\nSlurmctldHost=localhost\n")
        answer = subprocess.run(
            [scontrol, "show", "hostnames", nodelist],
            capture_output=True,
            text=True,
            env=os.environ | {"SLURM_CONF": str(conf)},
        )
        assert answer.stdout.split() == hosts.split(), answer.stderr


def test_export_is_what_tensorflow_reads(monkeypatch):
    import tensorflow as tf

    monkeypatch.setenv("TF_CONFIG", "")
    Cluster(("a:1", "b:2", "c:3"), 2).export()
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    assert resolver.cluster_spec().as_dict() == {"worker": ["a:1", "b:2", "c:3"]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)
    assert from_environment().workers == ("a:1", "b:2", "c:3")


def _free_ports(count):
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _workers(count):
    return tuple(f"127.0.0.1:{port}" for port in _free_ports(count))


class _Meeting:
    """Threads that each take a worker's part; what they raised and when they left."""

    def __init__(self, workers, **parts):
        self.raised, self.order = {}, []
        self._threads = {
            int(name[1:]): threading.Thread(target=self._play, args=(workers, int(name[1:]), part))
            for name, part in parts.items()
        }
        for thread in self._threads.values():
            thread.start()

    def _play(self, workers, index, part):
        try:
            part(Cluster(workers, index))
            self.order.append(index)
        except (Exception, KeyboardInterrupt) as error:
            self.raised[index] = error

    def end(self):
        for thread in self._threads.values():
            thread.join(60)
            assert not thread.is_alive()
        return self


def _wait(timeout_s, delay_s=0):
    def part(own):
        time.sleep(delay_s)
        own.wait_for_all(timeout_s)

    return part


def test_all_meet_in_whatever_order_they_come():
    meeting = _Meeting(_workers(3), w0=_wait(30, 1), w1=_wait(30), w2=_wait(30, 2)).end()
    assert not meeting.raised and sorted(meeting.order) == [0, 1, 2]


def test_they_meet_again_at_once():
    def twice(own):
        own.wait_for_all(30)
        own.wait_for_all(30)

    meeting = _Meeting(_workers(2), w0=twice, w1=twice).end()
    assert not meeting.raised and sorted(meeting.order) == [0, 1]


def test_every_worker_names_the_one_that_did_not_come():
    workers = _workers(4)
    meeting = _Meeting(workers, w0=_wait(3), w1=_wait(3), w3=_wait(3)).end()
    assert sorted(meeting.raised) == [0, 1, 3]
    for error in meeting.raised.values():
        assert isinstance(error, UserError)
        assert str(error).startswith(f"worker 2 ({workers[2]}) did not come within 3 s;")


def test_without_a_chief_the_chief_is_named():
    workers = _workers(3)
    meeting = _Meeting(workers, w1=_wait(2), w2=_wait(2)).end()
    for error in (meeting.raised[1], meeting.raised[2]):
        assert isinstance(error, UserError)
        assert f"worker 0 ({workers[0]}) did not come within 2 s (" in str(error)
        assert "refused" in str(error).lower()


def test_the_chief_goes_first():
    done = []

    def part(own):
        with own.chief_first(30):
            if own.is_chief:
                time.sleep(1)
            done.append(own.index)

    assert not _Meeting(_workers(3), w0=part, w1=part, w2=part).end().raised
    assert done[0] == 0 and sorted(done) == [0, 1, 2]


def test_a_chief_that_fails_first_tells_the_others():
    def part(own):
        with own.chief_first(30):
            raise UserError("no such image folder: train2017")

    workers = _workers(2)
    meeting = _Meeting(workers, w0=part, w1=part).end()
    assert str(meeting.raised[0]) == "no such image folder: train2017"
    assert f"worker 0 (the chief, {workers[0]}) ended" in str(meeting.raised[1])
    assert "no such image folder: train2017" in str(meeting.raised[1])


def test_one_that_came_and_went_is_missed():
    workers = _workers(3)

    def comes_and_goes(own):
        own._reach_chief(10)[0].shutdown(socket.SHUT_RDWR)

    meeting = _Meeting(workers, w0=_wait(4), w1=comes_and_goes, w2=_wait(4, 1)).end()
    for index in (0, 2):
        assert str(meeting.raised[index]).startswith(f"worker 1 ({workers[1]}) did not come")


def test_strangers_at_the_door_do_no_harm():
    """A port scanner, a browser, a worker of another run, an index that is not there."""
    workers = _workers(2)
    host, port = cluster._split(workers[0])
    meeting = _Meeting(workers, w0=_wait(40))
    for said in (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[1, 2]\n",
        b'{"index": "1"}\n',
        json.dumps({"workers": list(workers), "index": 9}).encode() + b"\n",
        json.dumps({"workers": ["x:1"], "index": 1}).encode() + b"\n",
    ):
        with _connected(host, port) as stranger:
            stranger.sendall(said)
    Cluster(workers, 1).wait_for_all(30)
    assert not meeting.end().raised


def _connected(host, port):
    for _ in range(100):
        try:
            return socket.create_connection((host, port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise AssertionError("the chief does not listen")


def test_another_list_of_workers_is_told():
    workers = _workers(3)
    other = (workers[0], workers[2])
    meeting = _Meeting(workers, w0=_wait(4))
    with pytest.raises(UserError, match="start all with one list"):
        Cluster(other, 1).wait_for_all(30)
    assert isinstance(meeting.end().raised[0], UserError)


def test_a_port_that_is_taken_is_told():
    workers = _workers(2)
    with (
        socket.create_server(("", cluster._split(workers[0])[1])),
        pytest.raises(UserError, match="cannot be opened here"),
    ):
        Cluster(workers, 0).wait_for_all(5)


def test_the_limit_is_the_users(monkeypatch):
    monkeypatch.setenv(cluster.TIMEOUT_VARIABLE, "2.5")
    assert from_environment(dict(os.environ) | _tf_config(["a:1", "b:2"])).timeout_s == 2.5
