"""Restore pictures with a single-image network: scales, tiles, local statistics, flips, gamma."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import SHIPPED, WEIGHTS_FOLDER, find, is_exact_in_bf16, is_shipped, load_network
from models import load as load_any
from models.contracts import ImageNetwork
from restoration.blur import colour_noise, measure
from restoration.guard import Fallbacks, is_astray
from restoration.sanity import checked, range_of
from restoration.scale import (
    Plan,
    auto_plan,
    check_strength,
    enlarged,
    fixed_plan,
    halvings,
    only_blurry,
    parse_scale,
    shrunk,
    weight_at,
)
from utils.device import (
    available_memory,
    choose_device,
    choose_precision,
    inference,
    memory_factor,
)
from utils.errors import UserError
from utils.tensorflow_checkpoint import find_prefix, is_checkpoint
from utils.tiling import OVERLAP, count_tiles, pad_to_multiple, restore_tiled, tile_for

AUTO_MEMORY = 2 * 2**30  # bytes that `auto` takes of a CPU's free memory
PARTIAL_TILE = 512  # px: of pictures that are restored only in places


@dataclass(frozen=True)
class ImageRestorer:
    """A single-image network on its device, and how it is applied to a picture.

    dtype: what it computes in. ensemble: mean over the eight flips and turns, or over the four
    flips alone (ensemble_views 4). gamma: it sees the picture to this power, its result is taken to
    the inverse. tile: side of the tiles in px, 0 = whole pictures where `memory` bytes (None = what
    is free) allow; overlap: px that they share. scale: auto, mean, or a number, see
    restoration/scale.py; tuned: whether the network is the one that auto is tuned for. strength: of
    the change, 0 .. 1.5, 1 = as the network has it. only_blurry: what is hardly blurred stays as it
    is. guard: see restoration/guard.py; what it found is counted in `fallbacks`. local_statistics:
    whether the network uses them.
    """

    network: ImageNetwork
    device: torch.device
    dtype: torch.dtype = torch.float32
    weights: Path | None = None
    ensemble: bool = False
    ensemble_views: int = 8
    gamma: float = 1.0
    tile: int = 0
    overlap: int = OVERLAP
    memory: float | None = None
    scale: str | float = 1.0
    tuned: bool = True
    strength: float = 1.0
    only_blurry: bool = False
    guard: bool = False
    local_statistics: bool = False
    fallbacks: Fallbacks = field(default_factory=Fallbacks, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", parse_scale(self.scale))
        check_strength(self.strength)
        multiple = self.network.multiple
        overlap = -(-self.overlap // multiple)
        if self.tile and self.tile // multiple <= 2 * overlap:
            raise UserError(
                f"--tile {self.tile} must be larger than two overlaps of {self.overlap} px "
                f"(--tile_overlap), all in multiples of the network's {multiple} px"
            )

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        *,
        step: int | None = None,
        local_statistics: bool = True,
        compile: bool = False,
        memory_gb: float = 0.0,
        scale: str | float = "auto",
        guard: bool = True,
        **settings,
    ) -> Self:
        """The network in a weights file, ours or the authors', on a device.

        weights: a path, or the name of a file in pretrain_models/ or of a run in experiment/; none:
        the shipped network. device, precision: see utils/device.py. step: which of a folder's
        TensorFlow checkpoints (SRN). local_statistics: average channel attention over windows of
        the training patch's size (NAFNet's TLC). memory_gb: 0 = what is free, with scale auto on a
        CPU at most 2 GB. settings: ensemble, ensemble_views, gamma, tile, overlap, strength,
        only_blurry. Raises UserError for anything that can't be.
        """
        if settings.get("gamma", 1.0) <= 0:
            raise UserError(f"--gamma_factor {settings['gamma']} must be above 0")
        if min(memory_gb, settings.get("tile", 0), settings.get("overlap", 0)) < 0:
            raise UserError("--memory, --tile and --tile_overlap must not be below 0")
        scale = parse_scale(scale)
        where = choose_device(device)
        path = find_image_weights(weights, step)
        network = load_network(path, ImageNetwork)
        network.use_local_statistics(local_statistics)
        network = network.to(where, memory_format=torch.channels_last)
        if compile:  # with weights as constants, laid out for the convolutions
            network.compile(options={"freezing": True})
        dtype = choose_precision(precision, where, is_exact_in_bf16(path))
        applied = {"scale": scale, "guard": guard, "local_statistics": local_statistics}
        memory = memory_gb * 2**30 or None
        return cls(
            network,
            where,
            dtype,
            path,
            memory=memory,
            tuned=is_shipped(path),
            **applied,
            **settings,
        )

    def __call__(self, picture: np.ndarray | Tensor) -> np.ndarray | Tensor:
        """The restored picture, of the kind that comes in.

        Pixels [H,W,3] uint8 or uint16 are rounded and clipped; of an image [3,H,W] in [0,1] see
        `restore`.
        """
        if isinstance(picture, Tensor):
            return self.restore(picture)
        from utils.image import in_depth, to_tensor  # Pillow is not needed for tensors

        return in_depth(self.restore(to_tensor(picture)), picture.dtype)

    def restore(self, image: Tensor, progress: Callable[[], object] | None = None) -> Tensor:
        """The restored image [3,H,W] float32, not clamped, on the CPU, of one in [0,1] of any size.

        Large images are worked out in tiles; progress is called per tile. Raises UserError where
        even a tile does not fit, and for a scale that leaves too little of the image.
        """
        if self.strength == 0:
            return image.float().clone()
        plan = self._plan(image)
        if plan.is_whole:
            restored = self._restore_whole(image, progress)
            if self.strength == 1:
                return restored
            return image + self.strength * (restored - image)
        return image + self.strength * self._residual(image, plan, progress)

    def _plan(self, image: Tensor) -> Plan:
        """How an image [3,H,W] is restored."""
        size = tuple(image.shape[-2:])
        blur = measure(image) if self.scale == "auto" or self.only_blurry else None
        if self.scale == "auto":
            plan = auto_plan(blur, colour_noise(image), size, self.tuned)
        else:
            plan = fixed_plan(self.scale, size)
        return only_blurry(plan, blur) if self.only_blurry else plan

    def _residual(
        self, image: Tensor, plan: Plan, progress: Callable[[], object] | None
    ) -> Tensor | float:
        """What the parts of a plan change together, [3,H,W]."""
        if not plan.parts:
            return 0.0
        times = max(halvings(part.scale) for part in plan.parts)
        padded = pad_to_multiple(image[None], 2**times)
        total: Tensor | None = None  # at the finest scale
        for part in plan.parts:
            small = shrunk(padded, part.scale)
            size = small.shape[-2:]
            needed = plan.needed(part, size)
            residual = self._restore_whole(small[0], progress, needed)[None] - small
            if part.replaces:
                residual -= F.interpolate(total, size=size, mode="bicubic", antialias=True)
            residual *= weight_at(part.weight, size)
            if total is None:
                total = residual
            else:
                total += enlarged(residual, total.shape[-2:])
        total *= weight_at(plan.amount, total.shape[-2:])
        large = enlarged(total, padded.shape[-2:])
        return large[0, :, : image.shape[-2], : image.shape[-1]]

    def _restore_whole(
        self,
        image: Tensor,
        progress: Callable[[], object] | None = None,
        needed: Tensor | None = None,
    ) -> Tensor:
        """The restored image [3,H,W] of one at the size that the network sees.

        needed [1,1,H,W]: where it is 0, tiles may stay as they are.
        """
        seen = image**self.gamma if self.gamma != 1 else image
        seen = seen[None]
        tile = self.tile_of(image.shape[-2:])
        if needed is not None:
            seen = torch.cat((seen, needed), 1)
            multiple = self.network.multiple
            smallest = multiple * math.ceil((2 * self.overlap + multiple + 1) / multiple)
            tile = min(tile, max(PARTIAL_TILE, smallest))
        with inference(self.device, self.dtype):
            restored = restore_tiled(
                self._restore_part,
                seen,
                tile,
                self.overlap,
                self.network.multiple,
                self.device,
                progress,
            )
        restored = checked(restored[0].float().cpu(), range_of(image), self.weights)
        return restored.clamp(min=0) ** (1 / self.gamma) if self.gamma != 1 else restored

    def tile_of(self, size: tuple[int, int]) -> int:
        """The side of the tiles for an image of a size (height, width); its longer side = whole."""
        if self.tile:
            return self.tile
        available = self.memory or available_memory(self.device)
        if self.scale == "auto" and not self.memory and self.device.type == "cpu":
            available = AUTO_MEMORY if available is None else min(available, AUTO_MEMORY)
        needed = self.bytes_needed((1, 1))
        return tile_for(size, needed, available, self.overlap, self.network.multiple)

    def bytes_needed(self, size: tuple[int, int]) -> float:
        """An upper bound of the memory that a whole image of a size (height, width) takes."""
        factor = memory_factor(self.device, self.dtype)
        return size[0] * size[1] * self.network.bytes_per_pixel * factor

    def count_tiles(self, size: tuple[int, int]) -> int:
        """How many tiles an image of a size (height, width) is worked out in."""
        return count_tiles(size, self.tile_of(size), self.overlap, self.network.multiple)

    def _restore_part(self, part: Tensor) -> Tensor:
        """A tile [1,3,h,w], or [1,4,h,w] with the weight of what is needed."""
        part, needed = part.split((3, part.shape[1] - 3), 1)
        if needed.numel() and not needed.any():
            return part
        part = part.contiguous(memory_format=torch.channels_last)
        restored = self._applied(part)
        return self._guarded(restored, part) if self.guard else restored

    def _applied(self, part: Tensor) -> Tensor:
        if not self.ensemble:
            return self.network(part)
        ways = range(self.ensemble_views)
        results = [turned_back(self.network(turned(part, way)).float(), way) for way in ways]
        return sum(results) / len(ways)

    def _guarded(self, restored: Tensor, part: Tensor) -> Tensor:
        """The result, or where it went astray that of whole-image statistics, or the tile."""
        self.fallbacks.checked += 1
        if not is_astray(restored, part):
            return restored
        if self.local_statistics:
            self.network.use_local_statistics(False)
            restored = self._applied(part)
            self.network.use_local_statistics()
            if not is_astray(restored, part):
                self.fallbacks.whole_statistics += 1
                return restored
        self.fallbacks.unchanged += 1
        return part


def turned(image: Tensor, way: int) -> Tensor:
    """One of the eight flips and turns of [...,H,W]; 0 is the image itself, 0..3 only flip."""
    if way & 4:
        image = image.transpose(-1, -2)
    return image.flip(_flipped_axes(way)).contiguous(memory_format=torch.channels_last)


def turned_back(image: Tensor, way: int) -> Tensor:
    """The inverse of `turned`."""
    image = image.flip(_flipped_axes(way))
    return image.transpose(-1, -2) if way & 4 else image


def _flipped_axes(way: int) -> list[int]:
    return [axis for axis, bit in ((-1, 1), (-2, 2)) if way & bit]


def find_image_weights(weights: str | Path | None, step: int | None = None) -> Path:
    """The file (or TensorFlow prefix) that weights mean; none: the shipped single-image network."""
    path = find(weights or SHIPPED["image"])
    if is_checkpoint(path):
        return find_prefix(path, step)
    if step is not None:
        raise UserError(f"--step {step} chooses among TensorFlow checkpoints, {path} is none")
    return path


def image_weights_at_hand() -> list[Path]:
    """What in pretrain_models/ holds a network for single images, the shipped one first.

    All files are loaded, since the weights decide; what no network can be made of is said and left
    out.
    """
    found = [path for path in sorted(WEIGHTS_FOLDER.iterdir()) if _holds_image_network(path)]
    return sorted(found, key=lambda path: path.stem != SHIPPED["image"])


def _holds_image_network(path: Path) -> bool:
    if path.suffix in (".md", ".json") or path.name.startswith("."):
        return False
    try:
        network = load_any(find_prefix(path, None) if is_checkpoint(path) else path)
    except UserError as error:
        print(f"note: left out, {error}")
        return False
    return isinstance(network, ImageNetwork)
