"""The page of app.py through its server.

What every tab gives, errors as sentences, limits, and that visitors see their own files alone.
Needs requirements-app.txt, else it is skipped. The test in a browser also needs Chromium and `pip
install playwright`:
    pytest tests/test_app.py -k browser
"""

import csv
import io
import shutil
import socket
import threading
import time
import zipfile
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import app
from data.synthesis.kernels import random_kernel
from data.synthesised import PairMaker
from methods.blur2vid import inference as blur2vid
from methods.blur2vid.config import InferenceConfig as UnfoldConfig
from methods.image_deblur import inference as image_deblur
from methods.image_deblur.config import InferenceConfig as PhotoConfig
from methods.irp.judge import mixed_score
from methods.irp.predict import load as load_irp
from methods.video_deblur import inference as cdvd_tsp
from methods.video_deblur.config import InferenceConfig as VideoConfig
from tabs import pick, video
from tabs.blur import LONGEST_BLUR
from tabs.networks import downloadable, image_networks
from utils.config import ROOT
from utils.errors import UserError
from utils.image import encode_image, read_image, to_tensor, write_image
from utils.progress import Progress, heard
from utils.video import VideoFile
from utils.video_writer import NewVideo, VideoWriter
from utils.web import results
from utils.web.page import handler, plain, serve
from utils.web.turns import Turns, waiting
from utils.web.visitors import Visitor, Visitors, private_folder

gr = pytest.importorskip("gradio", reason="pip install -r requirements-app.txt")
from gradio_client import Client, handle_file  # noqa: E402 - comes with gradio
from gradio_client.exceptions import AppError  # noqa: E402

CHOSEN = ("image_deblur.safetensors", "auto", 1, False)  # values of the fields of a photo
CONFIG_OF_EXAMPLES = app.AppConfig(device="cpu")
CONFIG = app.AppConfig(
    device="cpu", upload_mb=1, photo_megapixels=0.02, burst=3, video_frames=9, video_megapixels=0.01
)


def find_chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    for root in (Path("/ms-playwright"), Path.home() / ".cache/ms-playwright"):
        for path in root.glob("chromium-*/*/chrome"):
            return str(path)
    return None


CHROMIUM = find_chromium()


@pytest.fixture(scope="module")
def site():
    """The server, in this process: its address, its visitors."""
    with pytest.MonkeyPatch.context() as patch, private_folder() as root, socket.socket() as free:
        patch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.1")  # so that who goes is soon missed
        patch.setenv("GRADIO_TEMP_DIR", "")  # build sets it; afterwards it is as before
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        visitors = Visitors(root, 3600)
        page = app.build(CONFIG, visitors)
        serve(page, visitors, "127.0.0.1", port, CONFIG.upload_mb)
        yield SimpleNamespace(url=page.local_url, visitors=visitors, root=root, page=page)
        page.close(verbose=False)


@pytest.fixture
def visit(site, tmp_path):
    """A function that opens the page anew; visitors leave at the end of the test."""
    opened = []

    def open_page() -> Client:
        downloads = tmp_path / f"downloads{len(opened)}"
        client = Client(site.url, download_files=str(downloads), verbose=False)
        opened.append(client)
        return client

    yield open_page
    for client in opened:
        client.close()


def pixels(seed=0, size=(48, 64)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3))
    return np.uint8(np.kron(blocks, np.ones((8, 8, 1))))


def photo(path: Path, seed=0, size=(48, 64)) -> Path:
    write_image(path, pixels(seed, size))
    return path


def clip(path: Path, frames=6, size=(48, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, NewVideo(size, Fraction(25))) as writer:
        for time_ in range(frames):
            writer.write(np.roll(pixels(size=size), 3 * time_, axis=1), time_)
    return path


def same(one: str | Path, other: str | Path) -> bool:
    return np.array_equal(read_image(one), read_image(other))


def test_video(visit, tmp_path):
    """What the command writes; the slider shows the very frames."""
    source = clip(tmp_path / "my clip.mp4")
    visitor = visit()
    slider, number, _, files = visitor.predict(handle_file(source), api_name="/restore_video")
    cdvd_tsp.main(VideoConfig(source, output_dir=tmp_path / "command", report=False, device="cpu"))
    ours = list(VideoFile(tmp_path / "command/my clip.mp4"))
    before = list(VideoFile(source))
    given = list(VideoFile(Path(files[0])))
    assert Path(files[0]).name == "my_clip_restored.mp4"
    assert len(given) == 6 and all(np.array_equal(*pair) for pair in zip(given, ours))
    assert number["value"] == 3 and number["maximum"] == 5
    assert np.array_equal(read_image(slider[0]), before[3])
    assert np.array_equal(read_image(slider[1]), ours[3])
    slider = visitor.predict(5, api_name="/show_frame")
    assert np.array_equal(read_image(slider[0]), before[5])
    assert np.array_equal(read_image(slider[1]), ours[5])


def test_photo(visit, tmp_path):
    source = photo(tmp_path / "-Foto \u5199.png")
    slider, files = visit().predict(
        handle_file(source), "image_deblur.safetensors", api_name="/restore_photo"
    )
    image_deblur.main(
        PhotoConfig(source, output_dir=tmp_path / "command", report=False, device="cpu")
    )
    command = tmp_path / "command" / f"{source.stem}.png"
    assert same(slider[0], source) and same(slider[1], command) and same(files[0], command)
    assert Path(files[0]).name == "Foto_\u5199_restored.png"
    assert Image.open(files[0]).format == "PNG"


def test_photos_are_shown_upright_and_not_too_large(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SHOWN_SIDE", 40)
    notes = Image.Exif()
    notes[0x0112] = 6  # lies on its side
    Image.fromarray(pixels()).save(tmp_path / "photo.jpg", exif=notes)
    slider, files = visit().predict(
        handle_file(tmp_path / "photo.jpg"), "image_deblur.safetensors", api_name="/restore_photo"
    )
    assert [read_image(path).shape for path in slider] == [(40, 30, 3)] * 2
    assert read_image(files[0]).shape == (64, 48, 3)


def test_sharp_frames(visit, tmp_path):
    source = photo(tmp_path / "photo.png")
    player, files = visit().predict(handle_file(source), api_name="/unfold_photo")
    blur2vid.main(UnfoldConfig(source, output_dir=tmp_path / "command", device="cpu"))
    assert player["frames"] and len(player["before"]) == 1 and len(player["after"]) == 7
    assert [Path(file).name for file in files] == ["photo_sharp_frames.zip"]
    names = [f"deblur_{index}.png" for index in range(7)]
    with zipfile.ZipFile(files[0]) as archive:
        assert archive.namelist() == [*names, "moments.gif", "moments.mp4", "strip.png"]
        archive.extractall(tmp_path / "given")
    for name in [*names, "strip.png"]:
        assert same(tmp_path / "given" / name, tmp_path / "command" / name)
    assert Image.open(tmp_path / "given/moments.gif").n_frames == 12


def test_pick_of_a_burst(visit, tmp_path):
    """The order is that of the predictor, the best are restored as the command of photos does.

    Pictures of one name are told apart.
    """
    shots = [photo(tmp_path / str(seed) / "shot.png", seed) for seed in range(3)]
    visitor = visit()
    slider, choice, chart, files = visitor.predict(
        [handle_file(shot) for shot in shots], 2, api_name="/pick_shots"
    )
    predictor = load_irp(None, "cpu", "auto")
    potential = {}
    for number, shot in enumerate(shots, 1):
        picture = read_image(shot)
        potential[f"{number:02d}_shot"] = mixed_score(predictor(to_tensor(picture)), picture)
    ranked = sorted(potential, key=potential.get, reverse=True)
    restored = [f"{name}_restored.png" for name in ranked[:2]]
    assert [Path(file).name for file in files] == [*restored, "scores.csv", "picked.zip"]
    rows = list(csv.DictReader(io.StringIO(Path(files[2]).read_text())))
    assert [row["name"] for row in rows] == ranked
    assert [float(row["potential"]) for row in rows] == pytest.approx(
        [potential[name] for name in ranked], abs=1e-4
    )
    assert choice["value"] == ranked[0]
    assert choice["choices"] == [["shot.png", name] for name in ranked[:2]]  # as uploaded
    assert chart.count("<li class") == 3 and chart.count('<li class="selected"') == 2
    second = visitor.predict(ranked[1], api_name="/show_picked")
    for name, shown, file in zip(ranked, (slider["value"], second), files):
        shot = shots[int(name[:2]) - 1]
        assert same(shown[0], shot) and same(shown[1], file)


def test_pick_of_a_clip_and_of_one_photo(visit, tmp_path):
    visitor = visit()
    _, choice, chart, files = visitor.predict(
        [handle_file(clip(tmp_path / "clip.mp4"))], 1, api_name="/pick_shots"
    )
    rows = list(csv.DictReader(io.StringIO(Path(files[1]).read_text())))
    assert sorted(float(row["seconds"]) for row in rows) == pytest.approx(
        [number / 25 for number in range(6)], abs=1e-3
    )
    assert "<svg" in chart and choice["value"] == rows[0]["name"]
    assert choice["choices"][0][0] == f"{float(rows[0]['seconds']):.2f} s"
    _, _, chart, files = visitor.predict(
        [handle_file(photo(tmp_path / "one.png"))], 5, api_name="/pick_shots"
    )
    assert "<svg" not in chart and len(files) == 2


def test_blur_is_the_kernels(visit, tmp_path):
    """The pair's size follows from the length, and the same seed makes the same again."""
    source = photo(tmp_path / "sharp.png", size=(96, 96))
    visitor = visit()
    slider, _, files = visitor.predict(handle_file(source), None, 6, 3, api_name="/make_blur")
    margin = (2 * 6 + 5) // 2
    sharp = read_image(files[1])
    assert np.array_equal(sharp, read_image(source)[margin:-margin, margin:-margin])
    again, other = (
        visitor.predict(handle_file(source), None, 6, seed, api_name="/make_blur")[2][0]
        for seed in (3, 4)
    )
    assert same(again, files[0]) and not same(other, files[0])
    assert same(slider[0], files[0]) and not same(files[0], files[1])


def test_an_object_moves_on_its_own(visit, tmp_path, monkeypatch):
    """As many kernels as masks and one, all of the asked length."""
    made = []
    make = PairMaker.make

    def make_and_keep(maker, *job):
        made.append(make(maker, *job))
        return made[-1]

    monkeypatch.setattr(PairMaker, "make", make_and_keep)
    source = photo(tmp_path / "sharp.png", size=(96, 96))
    masks = []
    for number in range(2):
        mask = np.zeros((96, 96, 3), np.uint8)
        mask[20 + 30 * number : 40 + 30 * number, 30:60] = 255
        write_image(tmp_path / str(number) / "mask.jpg", mask)
        masks.append(handle_file(tmp_path / str(number) / "mask.jpg"))
    visit().predict(handle_file(source), masks, 8, 1, api_name="/make_blur")
    assert made[0].record["objects"] == 2 and made[0].kernels.shape == (3, 21, 21)
    for kernel in made[0].kernels:
        rows, columns = np.nonzero(kernel > 1e-6)
        assert max(np.ptp(rows), np.ptp(columns)) in (8, 9)
    for length in range(1, LONGEST_BLUR + 1):  # every kernel of the slider's lengths fits
        kernel = random_kernel(np.random.default_rng(length), 2 * length + 5, length=length)
        assert max(np.ptp(np.nonzero(kernel > 1e-6), axis=1)) in (length, length + 1)


def half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text(path: Path) -> Path:
    path.write_text("no picture at all")
    return path


def test_bad_photos_and_clips_are_sentences(visit, site, tmp_path):
    """With the name of the file, without the server's folders, before anything is computed."""
    large = photo(tmp_path / "large.png", size=(160, 160))
    bad = text(tmp_path / "note.png")
    photos = {
        "/restore_photo": ("image_deblur.safetensors",),
        "/unfold_photo": (),
        "/make_blur": (None, 5, 1),
        "/pick_shots": (1,),
    }
    cases = [(task, bad, "note.png is not an image this program can read") for task in photos]
    cases += [
        (task, large, "large.png is 160x160, 0.03 megapixels: at most 0.02 are taken")
        for task in photos
    ]
    cases += [(task, None, "no photo yet") for task in photos]
    cases += [
        (
            "/restore_photo",
            half(photo(tmp_path / "half.png")),
            "half.png can&#x27;t be read, it may be truncated",
        ),
        ("/restore_photo", text(tmp_path / "note.txt"), "Invalid file type"),
        ("/restore_video", text(tmp_path / "note.mp4"), "note.mp4 can&#x27;t be opened as a video"),
        (
            "/restore_video",
            half(clip(tmp_path / "half.mp4")),
            "half.mp4 can&#x27;t be opened as a video, it may be truncated",
        ),
        (
            "/restore_video",
            clip(tmp_path / "long.mp4", frames=10),
            "long.mp4 has more than 9 frames",
        ),
        (
            "/restore_video",
            clip(tmp_path / "wide.mp4", size=(96, 128)),
            "wide.mp4 is 128x96: frames of at most 0.01 megapixels",
        ),
        ("/pick_shots", tmp_path / "long.mp4", "long.mp4 has more than 9 frames"),
        ("/restore_video", None, "no clip yet"),
    ]
    visitor = visit()
    for task, path, message in cases:
        given = handle_file(path) if path else None
        if given and task == "/pick_shots":
            given = [given]
        with pytest.raises(AppError, match=message) as caught:
            visitor.predict(given, *photos.get(task, ()), api_name=task)
        assert str(site.root) not in str(caught.value) and str(ROOT) not in str(caught.value)


def test_further_mistakes_are_sentences(visit, tmp_path):
    visitor = visit()
    good = handle_file(photo(tmp_path / "good.png"))
    for task, values, message in (
        ("/pick_shots", ([good] * 4, 1), "4 pictures are too many: a burst has at most 3"),
        (
            "/pick_shots",
            ([good, handle_file(clip(tmp_path / "clip.mp4"))], 1),
            "several pictures, or one clip alone",
        ),
        (
            "/make_blur",
            (good, [handle_file(photo(tmp_path / "mask.png", size=(40, 40)))], 5, 1),
            "masks of good are 40x40, their picture is 64x48",
        ),
        ("/make_blur", (good, [good] * 6, 5, 1), "6 masks are too many"),
        ("/make_blur", (good, None, 1000, 1), "greater than maximum"),
        ("/pick_shots", ([good], 0), "less than minimum"),
        ("/make_blur", (good, None, 30, 1), "all 1 pictures have a side of at most 66 px"),
        ("/show_frame", (1,), "not kept any more"),
        ("/restore_photo", (good, "cdvd_tsp.safetensors"), "not in the list of choices"),
    ):
        with pytest.raises(AppError, match=message):
            visitor.predict(*values, api_name=task)


def test_what_nobody_expected_is_told_to_the_server_alone(visit, tmp_path, monkeypatch, capfd):
    def fail(config):
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(image_deblur, "main", fail)
    with pytest.raises(AppError, match="reason stands in the server") as caught:
        visit().predict(
            handle_file(photo(tmp_path / "a.png")),
            "image_deblur.safetensors",
            api_name="/restore_photo",
        )
    assert "secret" not in str(caught.value)
    assert "RuntimeError: the secret reason" in capfd.readouterr().err


def test_html_in_a_sentence_is_text(tmp_path):
    error = UserError(
        f"{tmp_path}/work/x-_Y/photo/<img src=x>.png is bad, and so is {ROOT}/pretrain_models/w.pth"
    )
    assert plain(error, tmp_path) == "&lt;img src=x&gt;.png is bad, and so is w.pth"


def test_one_job_at_a_time(visit, tmp_path, monkeypatch):
    running = threading.Lock()
    together = []

    def work(config):
        alone = running.acquire(blocking=False)
        together.append(not alone)
        time.sleep(0.1)
        if alone:
            running.release()
        raise UserError("done")

    for module in (image_deblur, blur2vid):
        monkeypatch.setattr(module, "main", work)
    source = handle_file(photo(tmp_path / "a.png"))
    jobs = [
        visit().submit(source, "image_deblur.safetensors", api_name="/restore_photo")
        for _ in range(2)
    ]
    jobs += [visit().submit(source, api_name="/unfold_photo")]
    assert all("done" in str(job.exception(20)) for job in jobs)
    assert together == [False] * 3


def test_files_of_others_are_refused(visit, site, tmp_path):
    """Neither handed out nor taken for an upload: working folders, the repository, the system."""
    import httpx

    visitor = visit()
    visitor.predict(
        handle_file(photo(tmp_path / "mine.png")),
        "image_deblur.safetensors",
        api_name="/restore_photo",
    )
    with site.visitors.at_work(visitor.session_hash) as mine:
        private = [path for path in mine.work.rglob("*") if path.is_file()]
        shown = next(mine.shown["photo"].iterdir())
    assert {path.suffix for path in private} == {".jpg", ".png", ".yaml"}
    assert httpx.get(f"{site.url}gradio_api/file={shown}").status_code == 200
    hidden = [
        *private,
        mine.work,
        mine.shown["photo"],
        site.root / "served",
        ROOT / "README.md",
        ROOT / "app.py",
        Path("/etc/passwd"),
    ]
    hidden += [f"{shown}/../../../work/{path.relative_to(site.root / 'work')}" for path in private]
    for path in (*hidden, "https://example.org/", "http://127.0.0.1/", "file:///etc/passwd"):
        assert httpx.get(f"{site.url}gradio_api/file={path}").status_code == 403, path
    call = f"{site.url}gradio_api/call/restore_photo"
    files = {"files": ("a.png", (tmp_path / "mine.png").read_bytes())}
    uploaded = httpx.post(f"{site.url}gradio_api/upload", files=files).json()[0]
    link = Path(uploaded).with_name("link.png")
    link.symlink_to(ROOT / "docs/before_after.jpg")
    refused = (*hidden, shown, link, "https://example.org/a.png", f"http://{'../' * 30}{shown}")
    for path, end in ((uploaded, "complete"), *((path, "error") for path in refused)):
        # A client would upload its own file of this name.
        for more in ({}, {"is_stream": True}):  # which gradio hands on without a look at the path
            given = {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}
            answer = httpx.post(call, json={"data": [given, *CHOSEN]}).json()
            assert f"event: {end}" in httpx.get(f"{call}/{answer['event_id']}").text, path


def test_foreign_names_and_pages_are_refused(site, tmp_path):
    """A name that was pointed at this machine, and what a page of another site sends."""
    import httpx

    upload = f"{site.url}gradio_api/upload"
    files = {"files": ("a.png", photo(tmp_path / "a.png").read_bytes())}
    port = httpx.URL(site.url).port
    for host, status in ((f"localhost:{port}", 200), (f"[::1]:{port}", 200), ("evil.example", 403)):
        assert httpx.get(site.url, headers={"host": host}).status_code == status, host
        assert httpx.post(upload, files=files, headers={"host": host}).status_code == status, host
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{port}"):
        answer = httpx.post(upload, files=files, headers={"origin": origin})
        assert answer.status_code == 403 and "other sites" in answer.text, origin
    answer = httpx.post(upload, files=files, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    own = {"origin": site.url.rstrip("/"), "sec-fetch-site": "same-origin"}
    assert httpx.post(upload, files=files, headers=own).status_code == 200


def test_a_visitor_has_few_jobs_and_others_get_their_turn():
    """Three of one visitor wait; those of another come between them."""
    jobs = Turns()
    for session in "aaab":
        jobs.append(SimpleNamespace(session_hash=session))
    jobs.append(SimpleNamespace(session_hash="c"))
    jobs.append(SimpleNamespace(session_hash="b"))
    assert "".join(job.session_hash for job in jobs) == "abcaba"
    running = [SimpleNamespace(session_hash="a", concurrency_id="job")]
    queue = SimpleNamespace(
        event_queue_per_concurrency_id={"job": SimpleNamespace(queue=jobs)},
        active_jobs=[None, running],
    )
    assert [waiting(queue, session) for session in "abcd"] == [4, 2, 1, 0]


def test_too_many_jobs_of_a_visitor_are_refused(site, monkeypatch):
    import httpx

    seen = {}

    def block(*_):
        seen.setdefault("started", threading.Event()).set()
        seen.setdefault("go_on", threading.Event()).wait(20)
        raise UserError("done")

    monkeypatch.setattr(image_deblur, "main", block)
    call = f"{site.url}gradio_api/call/restore_photo"
    files = {"files": ("a.png", io.BytesIO(encode_image(pixels(), ".png")))}
    path = httpx.post(f"{site.url}gradio_api/upload", files=files).json()[0]
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}

    def ask(session: str) -> int:
        body = {"data": [given, *CHOSEN], "session_hash": session}
        return httpx.post(call, json=body).status_code

    try:
        assert [ask("greedy") for _ in range(6)] == [200] * 3 + [429] * 3
        assert ask("modest") == 200
    finally:
        seen.setdefault("go_on", threading.Event()).set()


def test_equal_uploads_stay_until_all_who_gave_them_have_gone(tmp_path):
    visitors = Visitors(tmp_path, 3600)
    upload = tmp_path / "served/content/a.png"
    photo(upload)
    for _ in range(2):
        visitors.uploaded(upload)
    with visitors.at_work("one") as one:
        one.claim(str(upload))
    visitors.leave("one")
    assert upload.exists()  # the other one has not started yet
    with visitors.at_work("two") as two:
        two.claim(str(upload))
    visitors.leave("two")
    assert not upload.exists()
    with visitors.at_work("three") as three, pytest.raises(UserError, match="no upload"):
        three.claim(str(upload))


def test_all_files_together_have_a_limit(tmp_path):
    """Beyond it nothing is begun that fills the disk; a dragged slider still gets its answer."""
    visitors = Visitors(tmp_path, 3600, total_gb=1e-5)
    visitors.check_room()
    (tmp_path / "served/large").write_bytes(bytes(20_000))
    request = SimpleNamespace(session_hash="a")
    with pytest.raises(gr.Error, match="no room"):
        handler(lambda visitor: "done", visitors, fills=True)(request)
    assert handler(lambda visitor: "done", visitors)(request) == "done"


def test_pages_load_nothing_from_elsewhere(site):
    import httpx

    answer = httpx.get(site.url)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "googleapis" not in httpx.get(f"{site.url}theme.css").text


def test_uploads_are_limited(site):
    import httpx

    for size, status in ((2**20, 200), (2**20 + 9, 413)):
        files = {"files": (f"{size}.png", b"0" * size)}
        assert httpx.post(f"{site.url}gradio_api/upload", files=files).status_code == status


def test_who_goes_takes_the_files_along(visit, site, tmp_path):
    visitor = visit()
    other = visit()
    for client, seed in ((visitor, 1), (other, 2)):
        client.predict(
            handle_file(photo(tmp_path / "a.png", seed)),
            "image_deblur.safetensors",
            api_name="/restore_photo",
        )
    with (
        site.visitors.at_work(visitor.session_hash) as mine,
        site.visitors.at_work(other.session_hash) as theirs,
    ):
        assert mine.uploads()
        goes = [mine.work, *mine.shown.values(), *mine.uploads()]
        stays = [theirs.work, *theirs.shown.values(), *theirs.uploads()]
    visitor.close()
    end = time.monotonic() + 10
    while any(path.exists() for path in goes) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(path.exists() for path in goes)
    assert all(path.exists() for path in stays)


def test_work_for_nobody_stops(tmp_path):
    visitors = Visitors(tmp_path, 3600)

    def work(visitor):
        visitors.leave("a")
        Progress(total=2).update()

    with pytest.raises(gr.Error, match="Stopped"):
        handler(work, visitors)(SimpleNamespace(session_hash="a"))


def test_a_cancelled_job_stops_before_the_next_layer(tmp_path):
    """Of one large picture, too, where no bar advances; other visitors' jobs go on."""
    visitors = Visitors(tmp_path, 3600)
    layers = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity())
    seen = []

    def cancel(*_):
        seen.append("first")
        visitors._by_session["a"].cancelled.add("job")

    layers[0].register_forward_hook(cancel)
    layers[1].register_forward_hook(lambda *_: seen.append("second"))

    def work(visitor):
        layers(torch.zeros(1))

    with pytest.raises(gr.Error, match="Stopped"):
        handler(work, visitors, "job")(SimpleNamespace(session_hash="a"))
    assert seen == ["first"]
    handler(work, visitors, "job")(SimpleNamespace(session_hash="b"))
    assert seen == ["first", "first", "second"]


def new_visitors(tmp_path: Path) -> Visitors:
    (tmp_path / "root").mkdir()
    return Visitors(tmp_path / "root", 3600)


def test_a_cancelled_video_keeps_what_is_done(tmp_path, monkeypatch):
    visitors = new_visitors(tmp_path)
    upload = tmp_path / "root/served/content/clip.mp4"
    clip(upload)
    visitors.uploaded(upload)
    with visitors.at_work("a") as visitor, heard(lambda bar: stop_after(bar, visitor)):
        slider, number, player, files = video.restore_video(CONFIG, visitor, str(upload))
        done = len(list(VideoFile(Path(files[0]))))
        assert Path(files[0]).name == f"clip_first_{done}_frames_restored.mp4" and 2 <= done < 6
        assert number["maximum"] == done - 1 and not player["frames"]
        played = [len(list(VideoFile(path))) for path in visitor.shown["video"].glob("played*")]
        assert played == [done] * 2
        assert all(Path(path).exists() for path in slider)


@pytest.mark.parametrize(("stage", "shots", "restored"), [("shot 2", 2, 0), ("selected 1", 3, 1)])
def test_a_cancelled_pick_keeps_what_is_done(tmp_path, stage, shots, restored):
    """Two of three shots are judged, or all are and one of two is restored."""
    visitors = new_visitors(tmp_path)
    uploads = [tmp_path / f"root/served/content{seed}/{seed}.png" for seed in range(3)]
    for seed, upload in enumerate(uploads):
        photo(upload, seed)
        visitors.uploaded(upload)

    def cancel(bar: Progress) -> None:
        words = {"judging": "shot", "selected": "selected"}
        if f"{words.get(bar.desc.strip(': '))} {bar.n}" == stage:
            visitor.cancelled.add("pick_shots")
            visitor.check("pick_shots")

    with visitors.at_work("a") as visitor, heard(cancel):
        given = [str(upload) for upload in uploads]
        slider, choice, chart, files = pick.pick_shots(CONFIG, visitor, given, 2)
        assert f"{shots} judged, {restored} restored" in chart
        assert chart.count("<li class") == shots
        assert slider["visible"] == bool(restored) and not choice["visible"]
        assert len(files) == 1 + restored and Path(files[-1]).name == "scores.csv"
        rows = list(csv.DictReader(io.StringIO(Path(files[-1]).read_text())))
        scores = [float(row["potential"]) for row in rows]
        assert len(rows) == shots and scores == sorted(scores, reverse=True)
        if restored:
            assert same(slider["value"][1], files[0])
            assert Path(files[0]).name.startswith(rows[0]["name"])


def stop_after(bar: Progress, visitor: Visitor) -> None:
    if bar.n == 4 and bar.total == 6:
        visitor.cancelled.add("restore_video")
        visitor.check("restore_video")


def test_a_clip_that_is_too_long_or_large_is_cut_and_shrunk(visit, tmp_path):
    source = clip(tmp_path / "wide.mp4", frames=30, size=(96, 128))
    visitor = visit()
    _, _, _, files = visitor.predict(handle_file(source), True, 0.4, api_name="/restore_video")
    restored = VideoFile(Path(files[0]))
    assert len(list(restored)) == CONFIG.video_frames
    assert restored.size == (86, 114)  # at most 0.01 megapixels, even
    with pytest.raises(AppError, match="ends before 7 s"):
        visitor.predict(handle_file(source), True, 7, api_name="/restore_video")
    for start in (-1, "x", None):
        with pytest.raises(AppError):
            visitor.predict(handle_file(source), True, start, api_name="/restore_video")


def test_an_upload_is_looked_at_and_claimed(tmp_path):
    visitors = new_visitors(tmp_path)
    upload = tmp_path / "root/served/content/wide.mp4"
    clip(upload, frames=10, size=(96, 128))
    visitors.uploaded(upload)
    with visitors.at_work("a") as visitor:
        shown, words, fit, start = video.look_at_clip(CONFIG, visitor, str(upload))
        assert visitor.uploads() == [upload]
    assert same(shown, shown) and read_image(shown).shape == (96, 128, 3)
    assert words.startswith("128x96, 10 frames, 0.4 s. That is more than is taken here")
    assert fit["visible"] and fit["value"] and start["visible"]


def test_examples_are_uploads_that_go_with_their_visitor(tmp_path):
    visitors = new_visitors(tmp_path)
    with visitors.at_work("a") as visitor:
        uploads, shown, *_ = pick.example(CONFIG_OF_EXAMPLES, visitor)
        assert visitor.uploads() == [Path(path) for path in uploads] and len(shown) == len(uploads)
    visitors.leave("a")
    assert not any(Path(path).exists() for path in uploads)


def test_networks_have_names_and_sizes():
    assert list(image_networks().items())[0] == (
        "Small network (shipped)",
        "image_deblur.safetensors",
    )
    offered = downloadable()
    assert "NAFNet-64 on GoPro: 271.8 MB" in offered.replace("272 MB", "271.8 MB")
    assert "`python download.py NAFNet-GoPro-width64.pth`" in offered
    assert "CDVD" not in offered and "PWC" not in offered


def test_mistakes_at_the_start_are_sentences(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # build sets it; afterwards it is as before
    for arguments, message in (
        (["--device", "tpu9"], "unknown device 'tpu9'"),
        (["--prot", "1"], "unknown option --prot, did you mean --port?"),
    ):
        monkeypatch.setattr("sys.argv", ["app.py", *arguments])
        assert app.main() == 2 and f"error: {message}" in capsys.readouterr().err
    with (
        socket.socket() as taken,
        pytest.raises(UserError, match="can't listen on port .* choose another --port"),
    ):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        visitors = Visitors(tmp_path, 3600)
        serve(app.build(CONFIG, visitors), visitors, "127.0.0.1", taken.getsockname()[1], 1)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser(site, tmp_path):
    """A photo is restored, the next one is shown, a broken one gets its sentence, and no other
    machine is asked.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})  # of a phone
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(site.url)
        page.get_by_role("tab", name="Photo").click()
        assert all(tab.is_visible() for tab in page.get_by_role("tab").all())
        tab = page.locator("[role=tabpanel]:visible")
        for path, expected in (
            (photo(tmp_path / "photo.png"), "text=photo_restored"),
            (text(tmp_path / "note.png"), "text=note.png is not an image"),
        ):
            if tab.get_by_label("Clear").count():
                tab.get_by_label("Clear").first.click()
            tab.locator("input[type=file]").set_input_files(path)
            tab.locator(f"text={path.name}").first.wait_for()
            tab.get_by_role("button", name="Restore").click()
            page.locator(expected).first.wait_for(timeout=20_000)
            restore = tab.get_by_role("button", name="Restore")
            playwright.expect(restore).to_be_enabled(timeout=20_000)
            if "restored" in expected:
                assert tab.locator("img").first.evaluate("image => image.naturalWidth") == 64
                tab.get_by_label("Clear").first.click()
                other = photo(tmp_path / "other.png", size=(48, 40))
                tab.locator("input[type=file]").set_input_files(other)  # shown in place of results
                tab.locator(".still img").wait_for(timeout=20_000)
                assert tab.locator(".still img").evaluate("image => image.naturalWidth") == 40
        browser.close()
    assert asked and not [url for url in asked if not url.startswith((site.url, "data:", "blob:"))]
