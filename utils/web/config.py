"""Options of the page."""

from dataclasses import dataclass

from utils.config import option
from utils.options import DEVICE

EXAMPLES = (
    ("for this machine alone", "python app.py"),
    ("for a local network, on a GPU", "python app.py --host 0.0.0.0 --device cuda"),
    ("for longer clips", "python app.py --video_frames 900 --upload_mb 1000"),
)


@dataclass(frozen=True)
class AppConfig:
    """A web page that restores clips and photos, turns a photo into frames, selects the best
    photos or frames and makes blur.
    """

    host: str = option(
        "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in, without a password"
    )
    port: int = option(7860, "port to listen on")
    allowed_host: list[str] | None = option(
        None,
        "host names under which the page may be opened, besides localhost and IP addresses",
    )
    device: str = option("auto", DEVICE)
    upload_mb: int = option(200, "maximum size of an uploaded file, MB")
    photo_megapixels: float = option(24.0, "maximum size of a photo, megapixels")
    burst: int = option(40, "maximum number of pictures in a burst")
    video_frames: int = option(300, "maximum length of a clip, frames")
    video_megapixels: float = option(
        2.1, "maximum size of a clip's frames, megapixels; 1920x1080 has 2.1"
    )
    total_gb: float = option(
        10.0, "maximum size of all files of all visitors, GB; beyond it no new work begins"
    )
    keep_minutes: float = option(
        60.0, "minutes after which the files of an idle visitor are removed"
    )
