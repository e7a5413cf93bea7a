"""Files of a page's visitors: names are safe, files stay apart, and nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.config import ROOT
from utils.errors import UserError
from utils.web.visitors import SERVED, WORK, Visitors, private_folder

ENDINGS = (".png", ".jpg")


@pytest.fixture
def visitors(tmp_path):
    return Visitors(tmp_path, keep_s=3600)


def uploaded(visitors, name, content="x", folder="hash") -> Path:
    path = visitors.root / SERVED / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    visitors.uploaded(path)
    return path


def eventually(condition, seconds=5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.PNG", "photo.png"),
        ("-rf.png", "rf.png"),
        ("...png", "upload.png"),
        (".hidden.jpg", "hidden.jpg"),
        ("my holiday (1) & more.jpg", "my_holiday_1_more.jpg"),
        ("<img src=x onerror=alert(1)>.png", "img_src_x_onerror_alert_1.png"),
        ("Caf\u0065\u0301 \u5199\u771f.jpg", "Caf\u00e9_\u5199\u771f.jpg"),
        ("a\nb\u202e.png", "a_b.png"),
        ("x" * 200 + ".png", "x" * 40 + ".png"),
    ],
)
def test_names_become_safe(visitors, tmp_path, name, safe):
    with visitors.at_work("a") as visitor:
        taken = visitor.take(str(uploaded(visitors, name)), visitor.start("task"), ENDINGS)
    assert taken.name == safe and taken.read_text() == "x" and taken.is_relative_to(visitor.work)


def test_only_uploads_are_taken(visitors, tmp_path):
    """No other file, whichever way a path leads to it, and no link in an upload's place."""
    source = uploaded(visitors, "a.png")
    private = tmp_path / "private.png"
    private.write_text("secret")
    link = source.with_name("link.png")
    link.symlink_to(private)
    replaced = uploaded(visitors, "b.png")
    replaced.unlink()
    replaced.symlink_to(private)
    with visitors.at_work("a") as visitor:
        folder = visitor.start("task")
        for path in (private, link, f"{source.parent}/../hash/a.png", f"http://{private}", ""):
            with pytest.raises(UserError, match="this is no upload"):
                visitor.take(str(path), folder, ENDINGS)
        with pytest.raises(UserError, match="b is not kept any more"):
            visitor.take(str(replaced), folder, ENDINGS)
        assert visitor.take(str(source), folder, ENDINGS).read_text() == "x"


def test_files_of_one_name_stay_apart(visitors):
    with visitors.at_work("a") as visitor:
        folder = visitor.start("task")
        taken = [
            visitor.take(str(uploaded(visitors, "same.png", word, word)), folder, ENDINGS, n)
            for n, word in ((1, "one"), (2, "two"))
        ]
    assert [(path.name, path.read_text()) for path in taken] == [
        ("01_same.png", "one"),
        ("02_same.png", "two"),
    ]


def test_what_cannot_be_taken(visitors):
    with visitors.at_work("a") as visitor:
        folder = visitor.start("task")
        with pytest.raises(UserError, match=r"notes.txt can't be read here: give one of .png .jpg"):
            visitor.take(str(uploaded(visitors, "notes.txt")), folder, ENDINGS)
        gone = uploaded(visitors, "gone.png")
        gone.unlink()
        with pytest.raises(UserError, match="gone is not kept any more: upload it again"):
            visitor.take(str(gone), folder, ENDINGS)


def test_names_cannot_be_guessed_and_a_task_starts_afresh(visitors):
    with (
        visitors.at_work("a") as one,
        visitors.at_work("b") as two,
        visitors.at_work(None) as three,
        visitors.at_work(None) as four,
    ):
        # Callers without a session share nothing.
        assert len({one.work, two.work, three.work, four.work}) == 4
        old = one.start("task") / "old"
        old.touch()
        first = one.shown["task"]
        (first / "result").touch()
        assert one.start("task") == old.parent and not old.exists() and not first.exists()
        for folder in (one.work, first, one.shown["task"]):
            assert re.fullmatch(r"[\w-]{32}", folder.name)


def test_who_goes_takes_everything_along(visitors):
    with visitors.at_work("a") as visitor, visitors.at_work("b") as other:
        upload = uploaded(visitors, "photo.png")
        visitor.take(str(upload), visitor.start("task"), ENDINGS)
        (visitor.shown["task"] / "result.png").touch()
        stays = other.start("task")
        visitors.leave("a")
        assert visitor.gone
        for path in (upload, visitor.work, visitor.shown["task"]):
            assert not path.exists()
        visitor.start("task")  # the work had not noticed
    assert not visitor.work.exists() and not visitor.shown["task"].exists() and stays.exists()
    assert set((visitors.root / SERVED).iterdir()) == {other.shown["task"]}
    visitors.leave("nobody")


def test_a_visitor_at_work_is_not_idle(visitors):
    """Also after a second, shorter job of the same visitor."""
    with visitors.at_work("a") as visitor:
        with visitors.at_work("a"):
            pass
        visitors.keep_s = -1
        visitors.sweep()
        assert not visitor.gone
    visitors.sweep()
    assert visitor.gone


def test_idle_visitors_and_forgotten_uploads_are_swept(visitors):
    forgotten = uploaded(visitors, "forgotten.png")
    fresh = uploaded(visitors, "fresh.png", folder="other")
    temporary = visitors.root / SERVED / "tmp1"
    temporary.touch()
    with visitors.at_work("idle") as idle:
        idle.start("task")
    with visitors.at_work("new") as new:
        new.start("task")
    idle.used = time.time() - 3601
    for path in (forgotten.parent, temporary, new.shown["task"]):
        os.utime(path, (0, time.time() - 3601))
    with visitors.at_work("busy") as busy:
        busy.start("task")
        visitors.sweep()
    for path in (idle.work, forgotten, temporary):
        assert not path.exists()
    for path in (fresh, new.shown["task"], new.work, busy.work):
        assert path.exists()


def test_a_thread_sweeps(tmp_path):
    visitors = Visitors(tmp_path, keep_s=0.1)
    with visitors.at_work("a") as visitor:
        visitor.start("task")
    assert eventually(lambda: not visitor.work.exists())


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_folder_goes_with_the_process(number):
    """However it ends."""
    program = (
        "import signal, sys\n"
        "from utils.web.visitors import private_folder\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with private_folder() as root:\n"
        "    (root / 'file').touch()\n"
        "    print(root, flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=-1, stdout=-1, stderr=-1, text=True
    ) as process:
        root = Path(process.stdout.readline().strip())
        assert (root / "file").exists() and root.stat().st_mode & 0o777 == 0o700
        if number is None:
            process.stdin.close()
        else:
            process.send_signal(number)
        process.wait(10)
    assert eventually(lambda: not root.exists())


def test_what_is_written_at_the_end_goes_too():
    with private_folder() as root:
        (root / WORK).mkdir()
    assert not root.exists()
    root.mkdir()
    assert eventually(lambda: not root.exists())
