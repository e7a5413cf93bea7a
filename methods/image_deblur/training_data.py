"""The data that a training of image_deblur reads, by --source, and those that validate it."""

from pathlib import Path

from torch.utils.data import Dataset

from data.catalog import find_videos
from data.exposures import ExposedFrames
from data.mixture import Mixture
from data.pairs import FolderPairs, NoBlurPairs, Variation
from data.photo_catalog import Picture, find_pairs, find_pictures, find_sharp
from data.picture_names import held_out_in, pairs_line, sharp_line
from data.pixel_cache import open_cache
from data.pixel_file import PixelCache
from data.realistic import RealisticPairs, realism_of
from data.sample import sample_folder
from data.shards import ShardedPairs
from data.synthesis.camera import gamma_response
from data.synthesis.kernels import load_kernels
from data.synthesis.masks import find_masks
from data.synthesis.pair import PairSettings
from data.synthesised import Draw, PairMaker, SynthesisedPairs
from methods.image_deblur.config import TrainConfig
from utils.errors import UserError
from utils.report import spread


class TrainingData:
    """The training set of a configuration, in patches of any size.

    Raises UserError for a --cached that its source does not have.
    """

    def __init__(self, config: TrainConfig):
        self.config = config
        self.path = config.data_path or sample_folder()
        self.source = source_of(self.path) if config.source == "auto" else config.source
        self._cache: PixelCache | None = None
        if config.cached != "none" and self.source != "pairs":
            raise UserError(
                f"--cached {config.cached} is for --source pairs, {self.path} is read as "
                f"{self.source}: leave it out"
            )

    def patches(self, size: int) -> Dataset:
        """Pairs {blurry [3,size,size], sharp, name}; with --video_path, of videos' frames, too."""
        config = self.config
        pairs = self._pairs(size)
        if not config.video_path:
            return pairs
        videos = find_videos(config.video_path, "frames").videos
        realism = realism_of(config.realism) if config.source == "realistic" else None
        exposed = ExposedFrames(
            videos,
            size,
            config.seed,
            config.cache_path,
            config.max_frames,
            config.srgb_fraction,
            realism,
        )
        return Mixture(pairs, exposed, config.video_fraction, config.seed)

    def line(self) -> str:
        """What the data are read as, and what of them is left out."""
        if self.source == "shards":
            return f"training on pairs in shards in {self.path}"
        if self.source == "pairs":
            pairs = self._found()
            used = [picture.blurry for picture in pairs]
            line = pairs_line(used, [picture.sharp for picture in pairs])
        else:
            used = find_sharp(self.path, training=True)
            line = sharp_line(used, self.path)
        if not self.path.is_dir() or held_out_in(used[:1], self.path):
            return f"training on {line}"
        left_out = held_out_in(find_pictures(self.path), self.path)
        folders = sorted({f"{file.relative_to(self.path).parts[0]}/" for file in left_out})
        remark = f"; {len(left_out):,} pictures in {', '.join(folders)} are left out"
        return f"training on {line}{remark if left_out else ''}"

    def _found(self) -> list[Picture]:
        folder = self.config.blur_folder
        return find_pairs(self.path, folder, need_sharp=True, training=True).pictures

    def _pairs(self, size: int) -> Dataset:
        config = self.config
        path = self.path
        vary = Variation(
            **{name: name in config.augment for name in ("mirror", "turn", "colour", "noise")}
        )
        if self.source == "shards":
            return ShardedPairs(path, size, config.seed, vary)
        if self.source == "no_blur":
            return NoBlurPairs(path, size, config.seed, vary)
        if self.source == "pairs":
            pictures = self._found()
            if self._cache is None:  # one for the patches of all sizes
                files = [path for pair in pictures for path in (pair.blurry, pair.sharp)]
                self._cache = open_cache(files, config.cache_path, config.cached)
            tiles = (config.tile_size, config.tile_step)
            return FolderPairs(
                pictures, size, config.seed, vary, *tiles, self._cache, config.crop_size
            )
        if self.source == "realistic":
            realism = realism_of(config.realism)
            return RealisticPairs(path, size, realism, config.seed, vary, tuple(config.zoom))
        draw = Draw(
            size=config.kernel_size,
            kernels=load_kernels(config.kernel_path, config.kernel_size)
            if config.kernel_path
            else None,
            strong=config.strong,
            mild=config.mild,
            srgb_fraction=config.srgb_fraction,
        )
        settings = PairSettings(
            gamma_response(config.gamma), illumination=3.0 if config.augment_illumination else 1.0
        )
        maker = PairMaker(
            path,
            find_masks(config.mask_path, config.mask_kind),
            draw,
            settings,
            config.seed,
            training=True,
        )
        return SynthesisedPairs(
            maker, size, config.noise_fraction, config.jpeg_fraction, vary, tuple(config.zoom)
        )


def source_of(path: Path) -> str:
    """What a folder of training data holds: shards, pairs, or sharp pictures alone."""
    if path.is_dir() and any(path.glob("*.tar")):
        return "shards"
    if any(picture.sharp for picture in find_pairs(path).pictures):
        return "pairs"
    find_sharp(path)  # blurry pictures alone are refused
    return "pictures"


def validation_pairs(config: TrainConfig) -> list[Picture]:
    """The pairs in --val_path that validate, spread over all of them; none without it."""
    if not config.val_path:
        return []
    pictures = find_pairs(config.val_path, config.blur_folder, need_sharp=True).pictures
    if any(picture.sharp.is_dir() or picture.sharp.suffix == ".mat" for picture in pictures):
        raise UserError(
            f"{config.val_path} has several ground truths per picture (Koehler): validate on "
            "other pairs"
        )
    return spread(pictures, config.val_pictures or len(pictures))
