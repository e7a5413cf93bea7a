"""How a video's frames are encoded: the codec, its quality, bit depth and colours.

PyAV, which carries FFmpeg, x264 and x265, encodes.
"""

from dataclasses import dataclass

import av
import numpy as np
import torch

from utils.errors import UserError
from utils.options import CRF
from utils.video import CONVERSION
from utils.video_properties import MATRICES, RGB, VideoProperties

_ENCODERS = {"h264": "libx264", "hevc": "libx265", "ffv1": "ffv1"}


@dataclass(frozen=True)
class Encoding:
    """What a result is encoded as.

    codec: h264 (8 bits), hevc (8 or 10) or ffv1 (lossless RGB, 8 or 16); "": h264, of sources with
    more than 8 bits hevc, or if it is lossless ffv1. crf: of x264 and x265, 0 to 51, higher is
    smaller. lossless: RGB without loss, which most browsers can't play. Odd sizes are stored as
    4:4:4. Raises UserError for hevc without loss.
    """

    codec: str = ""
    crf: int = CRF
    lossless: bool = False

    def __post_init__(self) -> None:
        if self.codec == "hevc" and self.lossless:
            raise UserError("--lossless is h264 or ffv1 here: leave --codec hevc out")
        if self.in_rgb and self.crf != CRF:
            words = "--codec ffv1" if self.codec == "ffv1" else "--lossless"
            raise UserError(f"--crf {self.crf} says nothing beside {words}: leave one of them out")

    @property
    def in_rgb(self) -> bool:
        """Whether nothing is lost."""
        return self.lossless or self.codec == "ffv1"

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return ".mkv" if self.in_rgb else ".mp4"

    def encoder(self, properties: VideoProperties) -> str:
        """FFmpeg's name of the encoder for a source.

        Raises UserError for one with more bits than the codec has here.
        """
        deep = properties.deep
        if self.codec == "h264" and deep:
            raise UserError(
                f"{properties.path} has more than 8 bits per value, which h264 does not keep here: "
                "give --codec hevc or ffv1"
            )
        if self.in_rgb and self.codec != "ffv1":
            return "ffv1" if deep else "libx264rgb"
        return _ENCODERS[self.codec or ("hevc" if deep else "h264")]

    def configure(self, context: av.VideoCodecContext, properties: VideoProperties) -> None:
        """Let an encoder keep the properties of a source."""
        name = context.codec.name
        context.height, context.width = properties.size
        context.time_base = properties.time_base
        context.framerate = properties.rate
        context.color_primaries = properties.colours.primaries
        context.color_trc = properties.colours.transfer
        context.colorspace = RGB if self.in_rgb else properties.colours.matrix
        context.pix_fmt = self._pixel_format(name, properties)
        if properties.pixel_aspect != 1:
            context.sample_aspect_ratio = properties.pixel_aspect
        options = {}
        if name != "ffv1":
            options = {"crf": "0" if self.in_rgb else str(self.crf), "preset": "fast"}
        if name == "libx264" and torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
            # with AVX-512 its rate control (mbtree) gives another file each time
            options["x264-params"] = "asm=AVX2"
        if name == "libx265":
            context.codec_tag = "hvc1"  # Apple's players know no other
            words = [f"log-level=error:crf={self.crf}", properties.light]
            options["x265-params"] = ":".join(filter(None, words))
        context.options = options

    def _pixel_format(self, encoder: str, properties: VideoProperties) -> str:
        if self.in_rgb:
            packed = "bgr0" if encoder == "ffv1" else "rgb24"
            return "rgb48le" if properties.deep else packed
        odd = any(side % 2 for side in properties.size)
        return ("yuv444p" if odd else "yuv420p") + ("10le" if properties.deep else "")


USUAL = Encoding()


def encoder_frame(
    pixels: np.ndarray, timestamp: int, context: av.VideoCodecContext, properties: VideoProperties
) -> av.VideoFrame:
    """Pixels [H,W,3], uint8 or uint16, as an encoder takes them; timestamp: in time bases."""
    deep = pixels.dtype == np.uint16
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb48le" if deep else "rgb24")
    if context.pix_fmt != frame.format.name:
        frame = frame.reformat(
            format=context.pix_fmt,
            dst_colorspace=MATRICES.get(int(context.colorspace)),
            interpolation=CONVERSION,
        )
    frame.pts = timestamp
    frame.time_base = properties.time_base
    return frame
