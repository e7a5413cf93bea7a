"""Lossy compression as people's photos and videos have it."""

import io

import av
import cv2
import numpy as np

FRAME_RATE = 30


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels [H,W,3] uint8 after JPEG of a quality (1..100) with halved colours (4:2:0)."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def h264(clip: np.ndarray, crf: int) -> np.ndarray:
    """A clip [T,H,W,3] uint8 of even sides after H.264 of a constant rate factor (0..51), 4:2:0."""
    count, height, width = clip.shape[:3]
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE)
        stream.width = width
        stream.height = height
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for pixels in clip:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    memory.seek(0)
    with av.open(memory) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    if len(frames) != count:
        raise RuntimeError(f"{count} frames went into H.264, {len(frames)} came back")
    return np.stack(frames)
