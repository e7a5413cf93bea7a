"""What befalls a process from outside: signals, closed streams, no home, a lost peer."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import contents, pattern
from utils.config import ROOT
from utils.image import write_image

WAITING = """
import sys, time
from pathlib import Path
from methods import guarded
from utils.files import atomic_path
from utils.process import end_on_signals

def work():
    with atomic_path(sys.argv[1]) as temporary:
        temporary.write_text("half")
        Path(sys.argv[2]).touch()
        time.sleep(float(sys.argv[3]))
    return 0

end_on_signals()
sys.exit(guarded(work))
"""
PEER = """
import os, sys, torch
from methods import guarded
from utils import distributed

def work():
    with distributed.session(torch.device("cpu")):
        for step in range(1_000_000):
            distributed.all_gather([step])
            if step == 20:
                print("started", flush=True)
    return 0

sys.exit(guarded(work))
"""


def started(code: str, *words: object, **settings) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE, **settings)


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_half_written(number, tmp_path):
    (tmp_path / "out").mkdir()
    before = signal.signal(number, signal.SIG_DFL)  # what is ignored here, as under nohup, stays so
    try:
        process = started(WAITING, tmp_path / "out/a.txt", tmp_path / "ready", 60)
    finally:
        signal.signal(number, before)
    wait_for(tmp_path / "ready")
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == "interrupted; what was finished before is kept\n"
    assert process.returncode == 130 and os.listdir(tmp_path / "out") == []


def test_nohup_goes_on(tmp_path):
    process = started(
        WAITING,
        tmp_path / "a.txt",
        tmp_path / "ready",
        0.5,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0 and (tmp_path / "a.txt").read_text() == "half"


def test_a_lost_process_is_said_by_the_others():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = []
    for rank in ("0", "1"):
        environment = {**os.environ, **group, "RANK": rank, "LOCAL_RANK": rank}
        processes.append(started(PEER, env=environment, stdout=subprocess.PIPE))
    assert processes[0].stdout.readline() == "started\n"
    processes[1].kill()
    said = processes[0].communicate(timeout=60)[1]
    processes[1].communicate()
    assert processes[0].returncode == 1
    assert said.strip().splitlines()[-1] == (
        "error: another process of this run ended; what was finished before is kept"
    )
    assert "Traceback" not in said


def test_a_bare_surrounding_gives_the_same_picture(tmp_path):
    """Closed streams, no home, no locale, 64 handles."""
    write_image(tmp_path / "in.png", pattern((40, 48)))
    command = f"{sys.executable} inference.py image_deblur --device cpu --no_report"
    command += f" --data_path {tmp_path}/in.png --output_dir {tmp_path}"
    subprocess.run(f"{command}/usual", shell=True, cwd=ROOT, check=True, capture_output=True)
    bare = f"ulimit -n 64; exec {command}/bare <&- >&- 2>&-"
    kept = {"PATH": os.environ["PATH"], "LC_ALL": "POSIX", "HOME": "/nowhere"}
    kept["OMP_NUM_THREADS"] = "1"
    subprocess.run(bare, shell=True, cwd=ROOT, check=True, env=kept)
    usual = contents(tmp_path / "usual")
    assert contents(tmp_path / "bare")["in.png"] == usual["in.png"]
