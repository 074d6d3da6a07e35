"""A SLURM cluster of two nodes on this machine, started for the tests and ended after them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import h5py
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "slurm"
PROBLEM = ROOT / "scripts" / "drill" / "slow_problem.py"
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "scontrol", "squeue", "scancel")
NODES = ("n1", "n2")

CONFIGURATION = """\
ClusterName=landscape
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdTimeout=15
KillWait=10
MinJobAge=3600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=requeue_delay=1,sched_interval=5,bf_interval=5
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=10 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""


def obstacle():
    """Return why a cluster cannot be started here; empty if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a cluster for tests is started by root, on Linux"
    # The daemons are where only root looks for programs.
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=path) is None]
    return f"no {', '.join(missing)}: apt-get install slurm-wlm munge libpmix-dev" if missing else ""


def adjacent_ports():
    """Return three free ports, the last two of which are adjacent."""
    for first in range(17010, 18000, 3):
        with suppress(OSError):
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first, first + 1, first + 2
    raise RuntimeError("no free ports")


class Cluster:
    """The daemons of the cluster, and its commands."""

    def __init__(self, folder):
        self.folder, self.processes, self.crashes = folder, {}, []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "OMPI", "PMI"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "LANDSCAPE_RANKS": "1",
        }

    def start(self):
        folder = self.folder
        for name in ("state", "bin", "spool-n1", "spool-n2"):
            (folder / name).mkdir()
        configuration = CONFIGURATION.format(host=socket.gethostname(), ports=adjacent_ports(), folder=folder)
        (folder / "slurm.conf").write_text(configuration)
        self.install(sys.executable)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        options = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log",
                   "seed-file": "munge.seed"}  # fmt: skip
        words = [f"--{option}={folder / name}" for option, name in options.items()]
        self.daemon("munged", "munged", "--foreground", "--force", *words)
        self.wait(lambda: (folder / "munge.socket").exists(), "munged does not start")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def install(self, python):
        """Let ``landscape`` be run by a Python."""
        program = self.folder / "bin" / "landscape"
        program.write_text(f'#!/bin/sh\nexec "{python}" -m landscape "$@"\n')
        program.chmod(0o755)

    def daemon(self, name, *words):
        with (self.folder / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def start_controller(self):
        self.daemon("slurmctld", "slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))

    def keep_controller(self):
        """Start the controller again if it has crashed, as a supervisor does: it did after a node had failed."""
        code = self.processes["slurmctld"].poll() if "slurmctld" in self.processes else None
        if code is not None:
            self.crashes.append(code)
            self.start_controller()

    def start_node(self, node):
        self.daemon(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))

    def wait_for_nodes(self):
        self.wait(lambda: self.run("sinfo", "-h", "-o", "%T %D").stdout.split() == ["idle", "2"], "no idle nodes")

    def kill_daemon(self, node):
        process = self.processes.pop(node)
        process.kill()
        process.wait()

    def crash_node(self, node):
        """Kill the daemon of a node and all processes of its jobs, as a power cut would."""
        self.kill_daemon(node)
        wanted = {f"SLURM_CONF={self.folder / 'slurm.conf'}".encode(), f"SLURMD_NODENAME={node}".encode()}
        victims, supervisors = [], set()
        for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
            with suppress(OSError):
                if wanted <= set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                    victims.append(pid)
                    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                    if b"slurmstepd" in Path(f"/proc/{parent}/cmdline").read_bytes():
                        supervisors.add(parent)
        # Those that would report the end of a job die first.
        for pid in (*supervisors, *victims):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(self, *words, **environment):
        return subprocess.run(
            words, env={**self.environment, **environment}, capture_output=True, text=True, timeout=120, check=False
        )

    def wait(self, condition, message, seconds=300.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{message}\n{self.logs()}"
            self.keep_controller()
            time.sleep(0.3)

    def logs(self):
        """Return the ends of all logs of the daemons and the queue."""
        parts = [self.run("squeue", "-a").stdout, f"crashes of slurmctld: {self.crashes}"]
        parts += [f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log"))]
        return "\n".join(parts)

    def job(self, number):
        """Return what the scheduler knows of a job, by name."""
        said = self.run("scontrol", "show", "job", str(number), "-o").stdout.splitlines()
        words = said[0].split() if said else []
        return dict(word.split("=", 1) for word in words if "=" in word)

    def hurry(self, number):
        """Let a requeued job start at once: the scheduler makes it wait for two minutes."""
        self.run("scontrol", "update", f"JobId={number}", "StartTime=now")

    def stop(self):
        self.run("scancel", "--user=root")
        time.sleep(2)
        for name in (*NODES, "slurmctld", "munged"):
            if name in self.processes:
                self.processes[name].terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A running cluster; skips where none can be started."""
    if reason := obstacle():
        pytest.skip(reason)
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Site:
    """A working directory with spaces in its name, and the sweep that is computed there."""

    GRID = ("--x", "-1:0.5:9", "--y", "0:1:8")

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        folder.mkdir()
        from tests_slow_problem import network

        torch.save({"state_dict": network().state_dict()}, folder / "check point.pt")
        self.words = ("check point.pt", "--problem", f"{PROBLEM}:make", *self.GRID)

    def submit(self, *words, pause=0.0, **environment):
        """Call a script or ``sbatch`` there, and return the numbers of the jobs."""
        given = {**self.cluster.environment, "LANDSCAPE_DRILL_PAUSE": str(pause), **environment}
        done = subprocess.run(
            [str(word) for word in words], cwd=self.folder, env=given, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [int(word.rstrip(",")) for word in done.stdout.split() if word.rstrip(",").isdigit()]

    def said(self):
        """Return the contents of all logs of the jobs."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def wait_until_complete(self, name, seconds=600.0, jobs=()):
        def complete():
            for job in jobs:
                if self.cluster.job(job).get("Reason") in ("BeginTime", "JobHeldUser"):
                    self.cluster.hurry(job)
            with suppress(OSError, KeyError), h5py.File(self.folder / name, "r", locking=False) as file:
                return bool(file.attrs["finished"])
            return False

        self.cluster.wait(complete, f"{name} is not completed: {self.said()}", seconds)

    def points(self, name):
        """Return the number of points that a file has."""
        with suppress(OSError), h5py.File(self.folder / name, "r", locking=False) as file:
            return int((file["status"][()] == 1).sum())
        return 0

    def assert_undisturbed(self, name):
        """Compare a file with a run in one process, bit for bit."""
        command = [sys.executable, "-m", "landscape", "surface", *self.words, "--ranks", "1", "--out", "alone.h5"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.cluster.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with h5py.File(self.folder / name) as found, h5py.File(self.folder / "alone.h5") as expected:
            for dataset in ("status", "train_loss"):
                assert found[dataset][()].tobytes() == expected[dataset][()].tobytes(), dataset


@pytest.fixture
def site(cluster, tmp_path, monkeypatch):
    """A new working directory."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("tests_slow_problem", PROBLEM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "tests_slow_problem", module)
    return Site(cluster, tmp_path / "a folder with spaces")
