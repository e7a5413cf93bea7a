"""Unfold a blurry picture into its sharp frames."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from models import SHIPPED, find, load_network
from models.contracts import SequenceNetwork
from restoration.image import ImageRestorer
from restoration.sanity import checked, range_of
from restoration.scale import parse_scale
from utils.device import available_memory, choose_device, choose_precision, inference
from utils.errors import UserError
from utils.tiling import OVERLAP, count_tiles, pad_to_multiple, restore_tiled, tile_for


@dataclass(frozen=True)
class SequenceRestorer:
    """A network that makes sharp frames on its device; dtype: what it computes in.

    deblurrer: makes the centre frame for a network that needs one, where none is given. tile: side
    of the tiles in px, 0 = whole pictures where `memory` bytes (None = what is free) allow.
    """

    network: SequenceNetwork
    device: torch.device
    dtype: torch.dtype = torch.float32
    weights: Path | None = None
    deblurrer: ImageRestorer | None = None
    tile: int = 0
    memory: float | None = None

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        *,
        deblurrer: str | Path | None = None,
        deblurs_centre: bool = True,
        scale: str | float = "auto",
        tile: int = 0,
        memory_gb: float = 0.0,
    ) -> Self:
        """The network in a weights file, ours or the authors', on a device.

        weights: a path, or the name of a file in pretrain_models/ or of a run in experiment/; none:
        the shipped network. deblurrer: the same of a single-image network; deblurs_centre: whether
        it is needed. scale: its ImageRestorer's, whose guard is on but for scale 1. memory_gb: 0 =
        what is free. Raises UserError for anything that can't be.
        """
        if memory_gb < 0 or tile < 0 or 0 < tile <= 2 * OVERLAP:
            raise UserError(f"--tile must be 0 or above {2 * OVERLAP} px, --memory not below 0")
        where = choose_device(device)
        path = find(weights or SHIPPED["sequence"])
        network = load_network(path, SequenceNetwork)
        centre = None
        if network.needs_centre and deblurs_centre:
            centre = ImageRestorer.load(
                deblurrer,
                device,
                precision,
                scale=scale,
                guard=parse_scale(scale) != 1,
                tile=tile,
                memory_gb=memory_gb,
            )
        return cls(
            network.to(where),
            where,
            choose_precision(precision, where),
            path,
            centre,
            tile,
            memory_gb * 2**30 or None,
        )

    def __call__(self, image: Tensor) -> Tensor:
        """As `restore`."""
        return self.restore(image)

    def restore(
        self,
        image: Tensor,
        centre: Tensor | None = None,
        progress: Callable[[], object] | None = None,
    ) -> Tensor:
        """The sharp frames [N,3,H,W] in [0,1], not clamped, on the CPU, of an image [3,H,W] in
        [0,1].

        centre [3,H,W]: the sharp centre frame, for a network that needs one; none: the deblurrer
        makes it. Large images are worked out in tiles; progress is called per tile.
        """
        network = self.network
        seen = image[None]
        axis = None
        if network.needs_centre:
            if centre is None:
                centre = self._centre(image, progress)
            # One axis for the whole image, so that its tiles agree on time's direction.
            axis = network.time_axis(image[None], centre[None])
            axis = None if axis is None else axis.to(self.device)
            seen = torch.cat((image, centre))[None]  # [1,6,H,W]

        def unfold(part: Tensor) -> Tensor:
            height, width = part.shape[-2:]
            inputs = pad_to_multiple(part, network.multiple).split(3, 1)
            frames = network.unfold(*inputs, axis=axis)
            return frames[..., :height, :width].flatten(1, 2)  # [1,3*N,H,W]

        def backward(part: Tensor) -> Tensor:
            return part.unflatten(1, (-1, 3)).flip(1).flatten(1, 2)

        with inference(self.device, self.dtype):
            frames = restore_tiled(
                unfold,
                seen,
                self._tile_of(image.shape[-2:]),
                OVERLAP,
                network.multiple,
                self.device,
                progress,
                backward,
            )
        restored = frames[0].unflatten(0, (-1, 3)).cpu()
        return checked(restored, range_of(image), self.weights)

    def count_tiles(self, size: tuple[int, int]) -> int:
        """How many tiles an image of a size (height, width) is worked out in, those of the centre
        frame included.
        """
        own = count_tiles(size, self._tile_of(size), OVERLAP, self.network.multiple)
        return own + (self.deblurrer.count_tiles(size) if self.deblurrer else 0)

    def _centre(self, image: Tensor, progress: Callable[[], object] | None) -> Tensor:
        if self.deblurrer is None:
            raise ValueError(f"{type(self.network).__name__} needs the centre frame or a deblurrer")
        return self.deblurrer.restore(image, progress)

    def _tile_of(self, size: tuple[int, int]) -> int:
        if self.tile:
            return self.tile
        available = self.memory or available_memory(self.device)
        return tile_for(
            size, self.network.bytes_per_pixel, available, OVERLAP, self.network.multiple
        )
