"""IRP: how good will a degraded image be AFTER restoration? (Zhang et al., CVPR 2022, arXiv
2203.11754)

Three branches: blur (a trunk down to stride 32 behind a guided filter, which takes the noise away),
noise (a trunk down to stride 8 and dilated convolutions), histogram (of the image as the sensor
gave it, dark where the exposure was short). Three selective fusions weigh them against each other.
The published program's dead parts are neither built nor computed: the second trunk's last two
stages, and a head in each fusion.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contracts import IMAGENET
from utils.errors import UserError
from utils.tiling import pad_to_multiple

BINS = 256
COUNTS = 200  # the histogram's counts per pixel times this
LABEL = 10  # the network's values are the labels times this
MIDDLE = 0.6  # the label that fresh networks say of everything
MIN_SIDE = 32
NOISE_STAGES = -2  # the noise trunk ends two stages before the blur trunk's end: stride 8
NOISE_STEP = 4  # from there to stride 32: every 4th row and column
DILATIONS = (1, 2, 3, 5)
WINDOW, EPSILON = 11, 0.01  # of the guided filter


class IRP(nn.Module):
    """The predictor; with the default arguments the published one.

    backbone: `light` (a small trunk of `widths` channels at strides 2, 4, 8, 16, 32), a ResNet of
    torchvision, or `pretrainedmodels:NAME`, a ResNet of that package where it is installed.
    channels: of the maps that are fused. normed: batch norm behind the two heads, and with ReLU in
    the dilated blocks (ours: without it training from random trunks is slow and fragile, as six
    linear layers stand in a row). edges: what convolutions see outside the image, `zeros`, or
    `replicate`, with which small and large images look alike to them (ours). Weights are fresh:
    ImageNet's come with `load_backbone`. Parameters with the default arguments: 43,607,060 of the
    published 65,771,171.
    """

    kind = "IRP network, which judges what restoration will give"
    stride = 32  # of the maps

    def __init__(
        self,
        backbone: str = "resnet50",
        channels: int = 512,
        widths: Sequence[int] = (16, 32, 64, 96, 160),
        normed: bool = False,
        edges: str = "zeros",
    ):
        super().__init__()
        self.backbone = backbone
        self.arguments = {
            "backbone": backbone,
            "channels": channels,
            "widths": list(widths),
            "normed": normed,
            "edges": edges,
        }
        self.blur_trunk = nn.Sequential(*_stages(backbone, widths))
        self.noise_trunk = nn.Sequential(*_stages(backbone, widths)[:NOISE_STAGES])
        blur_width, noise_width = (_width(trunk) for trunk in (self.blur_trunk, self.noise_trunk))
        self.blur_head = nn.Sequential(nn.Conv2d(blur_width, channels, 1), *_norm(channels, normed))
        same = noise_width == channels and not normed
        self.noise_head = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(noise_width, channels, 1), *_norm(channels, normed))
        )
        self.noise_context = nn.Sequential(*(DilatedBlock(channels, normed) for _ in range(3)))
        self.histogram_conv = nn.Sequential(
            nn.Conv1d(1, 1, 7, padding=3), nn.ReLU(), nn.Conv1d(1, 1, 7, padding=3), nn.ReLU()
        )
        self.histogram_fc = nn.Sequential(
            nn.Linear(BINS, BINS), nn.ReLU(), nn.Linear(BINS, BINS), nn.ReLU()
        )
        self.histogram_head = nn.Sequential(
            nn.Linear(BINS, channels), nn.ReLU(), nn.Linear(channels, channels)
        )
        self.fusions = nn.ModuleList(SelectiveFusion(channels) for _ in range(3))
        sizes = (channels, channels // 2, channels // 4)
        self.score = nn.Sequential(
            nn.Linear(sizes[0], sizes[1]),
            nn.ReLU(),
            nn.Linear(sizes[1], sizes[2]),
            nn.ReLU(),
            nn.Linear(sizes[2], 1),
        )
        for layer in self.modules():
            if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)
            if isinstance(layer, nn.Conv2d) and layer.padding != (0, 0):
                layer.padding_mode = edges
        nn.init.normal_(self.score[-1].weight, std=0.1 / sizes[2] ** 0.5)
        nn.init.constant_(self.score[-1].bias, MIDDLE * LABEL)

    def forward(self, image: Tensor, brightened: Tensor) -> Tensor:
        """Values [B], LABEL times the potential, of images [B,3,H,W] in [0,1] and the same
        brightened and normalised (see `brighten`).

        Sides are extended by reflection to multiples of 32. Raises UserError for sides below
        MIN_SIDE.
        """
        return self.judged(self.pooled(image, brightened))

    def pooled(self, image: Tensor, brightened: Tensor) -> Tensor:
        """What the score is made of, [B,C]: the sum of the fused maps' means, float32."""
        return _pooled(self.maps(image, brightened))

    def judged(self, features: Tensor) -> Tensor:
        """[...,C] -> [...]; always in float32, as bf16 has 16 steps between 8 and 9."""
        with torch.autocast(features.device.type, enabled=False):
            return self.score(features).squeeze(-1)

    def score_and_map(self, image: Tensor, brightened: Tensor) -> tuple[Tensor, Tensor]:
        """`forward`, and what it says of every 32x32 px part by itself, [B,H/32,W/32] rounded up:
        where an image can be saved.
        """
        maps = self.maps(image, brightened)
        return self.judged(_pooled(maps)), self.judged(sum(maps).float().movedim(1, -1))

    def maps(self, image: Tensor, brightened: Tensor) -> list[Tensor]:
        """The fused maps of histogram [B,C,1,1], blur and noise [B,C,h,w]."""
        if min(image.shape[-2:]) < MIN_SIDE:
            raise UserError(
                f"an image of {image.shape[-1]}x{image.shape[-2]} px: IRP needs at least "
                f"{MIN_SIDE} px on each side"
            )
        brightened = pad_to_multiple(brightened, self.stride)
        counts = self.histogram_conv(histogram(image)[:, None] * (COUNTS / image[0, 0].numel()))
        by_histogram = self.histogram_head(self.histogram_fc(counts.squeeze(1)))[..., None, None]
        by_blur = self.blur_head(self.blur_trunk(guided_filter(brightened, brightened)))
        by_noise = self.noise_context(self.noise_head(self.noise_trunk(brightened)))
        maps = [by_histogram, by_blur, by_noise[..., ::NOISE_STEP, ::NOISE_STEP]]
        for fusion in self.fusions:
            maps = fusion(maps)
        return maps

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Take both trunks from the state dict of a whole ResNet (torchvision's names)."""
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        for trunk in (self.blur_trunk, self.noise_trunk):
            own = {
                f"{place}.{key.removeprefix(name + '.')}": value
                for place, name in enumerate(names[: len(trunk)])
                for key, value in state.items()
                if key.startswith(name + ".")
            }
            trunk.load_state_dict(own)


class LightStage(nn.Module):
    """A residual block of stride 2 with batch norm, as a basic block of ResNet."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.body = nn.Sequential(
            *_normed(before, after, 3, 2), nn.ReLU(inplace=True), *_normed(after, after, 3)
        )
        self.shortcut = nn.Sequential(*_normed(before, after, 1))

    def forward(self, features: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,D,H/2,W/2]."""
        # a 1x1 convolution of stride 2; as such its backward pass breaks the heap (torch 2.12, CPU,
        # channels_last, few channels)
        every_second = features[..., ::2, ::2]
        return F.relu(self.body(features) + self.shortcut(every_second), inplace=True)


class DilatedBlock(nn.Module):
    """Four dilated 3x3 convolutions side by side, 1x1, channel attention; nothing in between
    (unless normed) and no skip.
    """

    def __init__(self, channels: int, normed: bool = False):
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv2d(channels, channels // 2, 3, padding=rate, dilation=rate) for rate in DILATIONS
        )
        merge = nn.Conv2d(len(DILATIONS) * (channels // 2), channels, 1)
        self.merge = nn.Sequential(
            merge, *_norm(channels, normed), *([nn.ReLU(inplace=True)] if normed else [])
        )
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        features = self.merge(torch.cat([conv(features) for conv in self.dilated], 1))
        return features * self.attention(features.mean((2, 3), keepdim=True))


class SelectiveFusion(nn.Module):
    """Weighs three maps against each other, channel by channel, by what all of them see; the maps
    go on apart.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(channels, channels // 4, 1, bias=False), nn.PReLU())
        self.weights = nn.ModuleList(
            nn.Conv2d(channels // 4, channels, 1, bias=False) for _ in range(3)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B,C,1,1] or [B,C,h,w] times weights that sum to 1 over the three."""
        squeezed = self.squeeze(sum(features.mean((2, 3), keepdim=True) for features in maps))
        weights = torch.stack([weight(squeezed) for weight in self.weights]).softmax(0)
        return [features * weight for features, weight in zip(maps, weights)]


def _pooled(maps: Sequence[Tensor]) -> Tensor:
    return sum(features.float().mean((-2, -1)) for features in maps)


def brighten(image: Tensor, ratio: Tensor | float = 1.0) -> Tensor:
    """What the blur and noise branches see of images [...,3,H,W] in [0,1] that are `ratio` (a
    number, or [B]) times too dark.

    ((image^2.2) * ratio)^(1/2.2), not clipped, then normalised with ImageNet's figures.
    """
    factor = torch.as_tensor(ratio, dtype=image.dtype, device=image.device) ** (1 / 2.2)
    mean, deviation = (image.new_tensor(figures).view(3, 1, 1) for figures in IMAGENET)
    return (image * factor[..., None, None, None] - mean) / deviation


def histogram(image: Tensor) -> Tensor:
    """Counts [B,BINS] of the values of all channels of [B,3,H,W] in [0,1]; others are ignored, 1
    belongs to the last bin.
    """
    inside = (image >= 0) & (image <= 1)
    bins = torch.where(
        inside, (image * BINS).clamp(max=BINS - 1), float(BINS)
    ).long()  # the bin after the last is for the others
    bins = bins + (BINS + 1) * torch.arange(len(image), device=image.device).view(-1, 1, 1, 1)
    return (
        torch.bincount(bins.flatten(), minlength=(BINS + 1) * len(image))
        .view(len(image), -1)[:, :BINS]
        .to(image.dtype)
    )


def guided_filter(
    guide: Tensor, target: Tensor, window: int = WINDOW, epsilon: float = EPSILON
) -> Tensor:
    """The target [B,C,H,W] smoothed where the guide is smooth, channel by channel (He et al.);
    means over the part inside the image.
    """
    with torch.autocast(
        guide.device.type, enabled=False
    ):  # variances as differences of squares need their digits
        guide, target = guide.float(), target.float()
        products = (guide * target, guide * guide)
        mean, target_mean, mixed, squared = _means(
            torch.cat((guide, target, *products), 1), window
        ).chunk(4, 1)
        slope = (mixed - mean * target_mean) / (squared - mean * mean + epsilon)
        slope_mean, offset_mean = _means(
            torch.cat((slope, target_mean - slope * mean), 1), window
        ).chunk(2, 1)
        return slope_mean * guide + offset_mean


def _means(image: Tensor, window: int) -> Tensor:
    """Means over windows cut to the image; depthwise convolutions in channels_last are five times
    as fast on a CPU as avg_pool2d, and multiplying by shares of every channel twenty times as fast
    as dividing by a count of one channel.
    """
    image, channels = image.contiguous(memory_format=torch.channels_last), image.shape[1]
    for shape in ((window, 1), (1, window)):
        ones, padding = image.new_ones(1, 1, *shape), [side // 2 for side in shape]
        shares = 1 / F.conv2d(image.new_ones(1, 1, *image.shape[-2:]), ones, padding=padding)
        shares = shares.expand(1, channels, -1, -1).contiguous(memory_format=torch.channels_last)
        image = F.conv2d(
            image, ones.expand(channels, 1, *shape), padding=padding, groups=channels
        ).mul_(shares)
    return image


def _stages(backbone: str, widths: Sequence[int]) -> list[nn.Module]:
    """Modules in a row that end at stride 32; without the last two at stride 8."""
    if backbone == "light":
        if len(widths) != 5:
            raise UserError(
                f"the light backbone has 5 widths, of strides 2 to 32, not {len(widths)}"
            )
        stem = nn.Sequential(*_normed(3, widths[0], 3, 2), nn.ReLU(inplace=True))
        return [stem, *(LightStage(*pair) for pair in zip(widths, widths[1:]))]
    network = _resnet(backbone)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    if not all(hasattr(network, name) for name in names):
        raise UserError(f"{backbone} is no ResNet: IRP's trunks need the parts {', '.join(names)}")
    return [getattr(network, name) for name in names]


def _resnet(backbone: str) -> nn.Module:
    package, _, name = backbone.rpartition(":")
    if package not in ("", "pretrainedmodels"):
        raise UserError(
            f"unknown backbone {backbone!r}: light, a ResNet of torchvision, or "
            "pretrainedmodels:NAME"
        )
    if not package:
        from torchvision.models import get_model  # the light backbone does without

        try:
            return get_model(name, weights=None)
        except ValueError as error:
            raise UserError(
                f"torchvision has no model {name!r}: resnet18, resnet34, resnet50, ..., or light"
            ) from error
    try:
        import pretrainedmodels
    except ImportError as error:
        raise UserError(
            f"--backbone {backbone} needs the packages pretrainedmodels and six: pip install "
            "pretrainedmodels six"
        ) from error
    if name not in pretrainedmodels.model_names:
        raise UserError(
            f"pretrainedmodels has no model {name!r}: it has "
            f"{', '.join(n for n in pretrainedmodels.model_names if 'resnet' in n)}"
        )
    return pretrainedmodels.__dict__[name](pretrained=None)


def _normed(
    before: int, after: int, kernel_size: int, stride: int = 1
) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(
        before, after, kernel_size, stride, kernel_size // 2, bias=False
    ), nn.BatchNorm2d(after)


def _norm(channels: int, normed: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if normed else []


def _width(trunk: nn.Module) -> int:
    """Channels that a trunk ends with."""
    return [layer for layer in trunk.modules() if isinstance(layer, nn.BatchNorm2d)][
        -1
    ].num_features


def published_arguments(state: dict[str, Tensor]) -> dict:
    """The published backbone is ResNet-50; others of the family are told by their last stages."""
    blocks = tuple(
        len({key.split(".")[2] for key in state if key.startswith(f"blur.{stage}.")})
        for stage in range(4, 8)
    )
    known = {(3, 4, 6, 3): "resnet50" if "blur.4.0.conv3.weight" in state else "resnet34"}
    known |= {(2, 2, 2, 2): "resnet18", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
    if blocks not in known:
        raise UserError(
            f"an IRP checkpoint whose trunk has stages of {blocks} blocks: this is no ResNet "
            "that is known here"
        )
    return {"backbone": known[blocks], "channels": len(state["fc_blur.0.weight"])}


PUBLISHED_EXTRAS = (
    "noise.blur.6.",
    "noise.blur.7.",
    *(f"skff{number}.fc_dis." for number in (1, 2, 3)),
)
PUBLISHED_KEYS = [
    ("blur.", "blur_trunk."),
    ("noise.blur.", "noise_trunk."),
    *(
        (f"noise.dilate{name}.{theirs}", f"noise_context.{place}.{ours}")
        for place, name in enumerate(("", "2", "3"))
        for theirs, ours in (
            *((f"atrous_block{number + 1}.", f"dilated.{number}.") for number in range(4)),
            ("conv_1x1_output.", "merge.0."),
            ("ca.conv_du.", "attention."),
        )
    ),
    ("hist.conv.", "histogram_conv."),
    ("hist.fc.", "histogram_fc."),
    ("fc_blur.0.", "blur_head.0."),
    ("fc_hist.", "histogram_head."),
    *((f"skff{place + 1}.conv_du.", f"fusions.{place}.squeeze.") for place in range(3)),
    *((f"skff{place + 1}.fcs.", f"fusions.{place}.weights.") for place in range(3)),
    ("fc_all.", "score."),
]  # fmt: skip
