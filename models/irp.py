"""IRP: how good will a degraded image be AFTER restoration?

Zhang et al., CVPR 2022 (arXiv 2203.11754). Three branches: blur (a trunk down to stride 32 behind a
guided filter, which takes the noise away), noise (a trunk down to stride 8 and dilated
convolutions), histogram (of the image as the sensor gave it, dark where the exposure was short).
Three selective fusions weigh them against each other. The published program's dead parts are
neither built nor computed: the second trunk's last two stages, and a head in each fusion.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import multiplied
from models.contracts import IMAGENET
from models.trunks import RESNET_PARTS, Trunk, stages
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
# of the guided filter
WINDOW = 11
EPSILON = 0.01


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
        self.arguments = {"backbone": backbone, "channels": channels, "widths": list(widths)}
        self.arguments |= {"normed": normed, "edges": edges}
        self.blur_trunk = Trunk(*stages(backbone, widths))
        self.noise_trunk = Trunk(*stages(backbone, widths)[:NOISE_STAGES])
        self.blur_head = _head(self.blur_trunk.out_channels, channels, normed)
        noise_channels = self.noise_trunk.out_channels
        if noise_channels == channels and not normed:
            self.noise_head = nn.Identity()
        else:
            self.noise_head = _head(noise_channels, channels, normed)
        self.noise_context = nn.Sequential(*(DilatedBlock(channels, normed) for _ in range(3)))
        self.histogram_conv = nn.Sequential(
            nn.Conv1d(1, 1, 7, padding=3), nn.ReLU(), nn.Conv1d(1, 1, 7, padding=3), nn.ReLU()
        )
        self.histogram_fc = _linear_layers(BINS, BINS, BINS).append(nn.ReLU())
        self.histogram_head = _linear_layers(BINS, channels, channels)
        self.fusions = nn.ModuleList(SelectiveFusion(channels) for _ in range(3))
        self.score = _linear_layers(channels, channels // 2, channels // 4, 1)
        self._initialise(edges)

    def _initialise(self, edges: str) -> None:
        for layer in self.modules():
            if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)
            if isinstance(layer, nn.Conv2d) and layer.padding != (0, 0):
                layer.padding_mode = edges
        last = self.score[-1]
        nn.init.normal_(last.weight, std=0.1 / last.in_features**0.5)
        nn.init.constant_(last.bias, MIDDLE * LABEL)

    def forward(self, image: Tensor, brightened: Tensor) -> Tensor:
        """Values [B], LABEL times the potential, of images [B,3,H,W] in [0,1].

        brightened: the same images, brightened and normalised (see `brighten`). Sides are extended
        by reflection to multiples of 32. Raises UserError for sides below MIN_SIDE.
        """
        return self.score_of(self.pooled(image, brightened))

    def pooled(self, image: Tensor, brightened: Tensor) -> Tensor:
        """What the score is made of, [B,C]: the sum of the fused maps' means, float32."""
        return _pooled(self.maps(image, brightened))

    def score_of(self, features: Tensor) -> Tensor:
        """The values [...] of features [...,C], in float32: bf16 has 16 steps between 8 and 9."""
        with torch.autocast(features.device.type, enabled=False):
            return self.score(features).squeeze(-1)

    def score_and_map(self, image: Tensor, brightened: Tensor) -> tuple[Tensor, Tensor]:
        """`forward`, and the value of every 32x32 px part by itself, [B,H/32,W/32] rounded up."""
        maps = self.maps(image, brightened)
        features = sum(maps).float().movedim(1, -1)  # [B,h,w,C]
        return self.score_of(_pooled(maps)), self.score_of(features)

    def maps(self, image: Tensor, brightened: Tensor) -> list[Tensor]:
        """The fused maps of histogram [B,C,1,1], blur and noise [B,C,h,w]."""
        if min(image.shape[-2:]) < MIN_SIDE:
            raise UserError(
                f"an image of {image.shape[-1]}x{image.shape[-2]} px: IRP needs at least "
                f"{MIN_SIDE} px on each side"
            )
        brightened = pad_to_multiple(brightened, self.stride)
        pixels = image.shape[-2] * image.shape[-1]
        counts = self.histogram_conv(histogram(image)[:, None] * (COUNTS / pixels))  # [B,1,BINS]
        by_histogram = self.histogram_head(self.histogram_fc(counts.squeeze(1)))  # [B,C]
        by_blur = self.blur_head(self.blur_trunk(guided_filter(brightened, brightened)))
        noise_features = self.noise_head(self.noise_trunk(brightened))  # [B,C,H/8,W/8]
        by_noise = self.noise_context[:-1](noise_features)
        by_noise = self.noise_context[-1].sampled(by_noise, NOISE_STEP)  # [B,C,h,w]
        maps = [by_histogram[..., None, None], by_blur, by_noise]
        for fusion in self.fusions:
            maps = fusion(maps)
        return maps

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Take both trunks from the state dict of a whole ResNet (torchvision's names)."""
        for trunk in (self.blur_trunk, self.noise_trunk):
            indices = {name: str(index) for index, name in enumerate(RESNET_PARTS[: len(trunk)])}
            own = {}
            for key, value in state.items():
                part, _, rest = key.partition(".")
                if part in indices:
                    own[f"{indices[part]}.{rest}"] = value
            trunk.load_state_dict(own)


class DilatedBlock(nn.Module):
    """Four dilated 3x3 convolutions side by side, a 1x1 convolution, channel attention; no skip."""

    def __init__(self, channels: int, normed: bool = False):
        super().__init__()
        self.normed = normed
        self.dilated = nn.ModuleList(
            nn.Conv2d(channels, channels // 2, 3, padding=rate, dilation=rate) for rate in DILATIONS
        )
        self.merge = _head(len(DILATIONS) * (channels // 2), channels, normed)
        if normed:
            self.merge.append(nn.ReLU(inplace=True))
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        features = self.merge(torch.cat([conv(features) for conv in self.dilated], 1))
        return multiplied(features, self.attention(features.mean((2, 3), keepdim=True)))

    def sampled(self, features: Tensor, step: int) -> Tensor:
        """Every `step`-th row and column of the result, [B,C,ceil(H/step),ceil(W/step)].

        Convolutions of that stride compute no others. The attention sees means over all pixels;
        up to there the block is linear unless it is normed, so they follow from sums of features.
        """
        if self.normed:
            return self(features)[..., ::step, ::step]
        every = [_strided(conv, features, step) for conv in self.dilated]
        sampled = self.merge(torch.cat(every, 1))
        means = _means_of_convolutions(self.dilated, features)  # [B,4*C/2,1,1]
        return multiplied(sampled, self.attention(self.merge(means)))


class SelectiveFusion(nn.Module):
    """Weighs three maps against each other, channel by channel; they are not added."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(channels, channels // 4, 1, bias=False), nn.PReLU())
        self.weights = nn.ModuleList(
            nn.Conv2d(channels // 4, channels, 1, bias=False) for _ in range(3)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B,C,1,1] or [B,C,h,w] times weights that sum to 1 over the three."""
        means = [features.mean((2, 3), keepdim=True) for features in maps]
        squeezed = self.squeeze(sum(means))  # [B,C/4,1,1]
        weights = torch.stack([weight(squeezed) for weight in self.weights]).softmax(0)
        return [features * weight for features, weight in zip(maps, weights)]


def _strided(conv: nn.Conv2d, features: Tensor, stride: int) -> Tensor:
    """Every `stride`-th row and column of a dilated 3x3 convolution."""
    rate = conv.dilation[0]
    padding = rate
    if conv.padding_mode != "zeros":
        features = F.pad(features, [rate] * 4, mode=conv.padding_mode)
        padding = 0
    return F.conv2d(features, conv.weight, conv.bias, stride, padding, rate)


def _means_of_convolutions(convolutions: Sequence[nn.Conv2d], features: Tensor) -> Tensor:
    """Means over all pixels, [B,N*D,1,1], of dilated 3x3 convolutions of features [B,C,H,W].

    A mean needs, for each of the nine taps, the sum of the features that the tap sees. It is a
    product with how often each row and each column is seen. The sums are long, so mixed precision
    is left out.
    """
    height, width = features.shape[-2:]
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(convolutions[0].weight.dtype)
        seen_rows = torch.cat([_times_seen(conv, height) for conv in convolutions])
        seen_columns = torch.stack([_times_seen(conv, width) for conv in convolutions])
        seen_rows = seen_rows.to(features)  # [3N,H]
        seen_columns = seen_columns.to(features)  # [N,3,W]
        rows = features.permute(0, 2, 3, 1).flatten(2)  # [B,H,W*C]
        sums = (seen_rows @ rows).view(len(features), -1, 3, width, features.shape[1])
        sums = torch.einsum("bnrwc,nkw->nbcrk", sums, seen_columns)  # [N,B,C,3,3]
        means = [
            F.conv2d(own / (height * width), conv.weight, conv.bias)
            for conv, own in zip(convolutions, sums)
        ]
    return torch.cat(means, 1)


def _times_seen(conv: nn.Conv2d, length: int) -> Tensor:
    """How often each of `length` rows is seen by each of a 3x3 convolution's three, [3,length]."""
    rate = conv.dilation[0]
    positions = torch.arange(length) + torch.tensor([[-rate], [0], [rate]])  # [3,length]
    inside = (positions >= 0) & (positions < length)
    if conv.padding_mode != "zeros":  # replicate
        inside = torch.ones_like(inside)
    counts = F.one_hot(positions.clamp(0, length - 1), length) * inside[..., None]
    return counts.sum(1)


def _pooled(maps: Sequence[Tensor]) -> Tensor:
    return sum(features.float().mean((-2, -1)) for features in maps)


def brighten(image: Tensor, ratio: Tensor | float = 1.0) -> Tensor:
    """What the blur and noise branches see of images [...,3,H,W] in [0,1].

    ratio (a number, or [B]): how many times too dark they are. ((image^2.2) * ratio)^(1/2.2), not
    clipped, then normalised with ImageNet's figures.
    """
    factor = torch.as_tensor(ratio, dtype=image.dtype, device=image.device) ** (1 / 2.2)
    mean, deviation = (image.new_tensor(figures).view(3, 1, 1) for figures in IMAGENET)
    return (image * factor[..., None, None, None] - mean) / deviation


def histogram(image: Tensor) -> Tensor:
    """Counts [B,BINS] of the values of all channels of images [B,3,H,W].

    Values outside [0,1] are ignored, 1 belongs to the last bin.
    """
    inside = (image >= 0) & (image <= 1)
    bins = (image * BINS).clamp(max=BINS - 1)
    bins = bins.masked_fill(~inside, BINS).long()  # one bin more, which is cut off below
    first = (BINS + 1) * torch.arange(len(image), device=image.device)  # [B], bin 0 of each image
    bins = bins + first.view(-1, 1, 1, 1)
    bins = bins.flatten()
    counts = bins.new_zeros((BINS + 1) * len(image))  # torch.bincount would wait for a GPU
    counts.scatter_add_(0, bins, torch.ones_like(bins))
    return counts.view(len(image), -1)[:, :BINS].to(image.dtype)


def guided_filter(
    guide: Tensor, target: Tensor, window: int = WINDOW, epsilon: float = EPSILON
) -> Tensor:
    """The target [B,C,H,W] smoothed where the guide is smooth, channel by channel (He et al.).

    Means are over the part of a window inside the image.
    """
    # Variances as differences of squares need float32's digits.
    with torch.autocast(guide.device.type, enabled=False):
        guide = guide.float()
        target = target.float()
        stacked = torch.cat((guide, target, guide * target, guide * guide), 1)  # [B,4C,H,W]
        mean, target_mean, product_mean, square_mean = _means(stacked, window).chunk(4, 1)
        covariance = product_mean - mean * target_mean
        variance = square_mean - mean * mean
        slope = covariance / (variance + epsilon)
        offset = target_mean - slope * mean
        slope_mean, offset_mean = _means(torch.cat((slope, offset), 1), window).chunk(2, 1)
        return slope_mean * guide + offset_mean


def _means(image: Tensor, window: int) -> Tensor:
    """Means over windows cut to the image, [B,C,H,W].

    Depthwise convolutions in channels_last are five times as fast on a CPU as avg_pool2d, and
    multiplying by the reciprocal counts of every channel is twenty times as fast as dividing by the
    counts of one channel.
    """
    channels = image.shape[1]
    image = image.contiguous(memory_format=torch.channels_last)
    for shape in ((window, 1), (1, window)):
        ones = image.new_ones(1, 1, *shape)
        padding = [side // 2 for side in shape]
        counts = F.conv2d(image.new_ones(1, 1, *image.shape[-2:]), ones, padding=padding)
        factors = (1 / counts).expand(1, channels, -1, -1)
        factors = factors.contiguous(memory_format=torch.channels_last)
        depthwise = ones.expand(channels, 1, *shape)
        image = F.conv2d(image, depthwise, padding=padding, groups=channels).mul_(factors)
    return image


def _head(in_channels: int, out_channels: int, normed: bool) -> nn.Sequential:
    """A 1x1 convolution, with batch norm behind it if `normed`."""
    head = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1))
    if normed:
        head.append(nn.BatchNorm2d(out_channels))
    return head


def _linear_layers(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers = []
    for pair in zip(widths, widths[1:]):
        layers += [nn.Linear(*pair), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def published_arguments(state: dict[str, Tensor]) -> dict:
    """The arguments of the network of a state dict: ResNet-50, as published, or its relatives."""
    blocks = tuple(_count_blocks(state, f"blur.{stage}.") for stage in range(4, 8))
    known = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet50"}
    known |= {(3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
    if blocks not in known:
        raise UserError(
            f"an IRP checkpoint whose trunk has stages of {blocks} blocks: this is no ResNet "
            "that is known here"
        )
    backbone = known[blocks]
    if backbone == "resnet50" and "blur.4.0.conv3.weight" not in state:
        backbone = "resnet34"  # the same stages, of blocks with two convolutions
    return {"backbone": backbone, "channels": len(state["fc_blur.0.weight"])}


def _count_blocks(state: dict[str, Tensor], stage: str) -> int:
    return len({key.split(".")[2] for key in state if key.startswith(stage)})


def _published_keys() -> list[tuple[str, str]]:
    """(their prefix, ours) of every part."""
    keys = [("blur.", "blur_trunk."), ("noise.blur.", "noise_trunk.")]
    for index, name in enumerate(("dilate", "dilate2", "dilate3")):
        theirs, ours = f"noise.{name}.", f"noise_context.{index}."
        for number in range(4):
            keys.append((f"{theirs}atrous_block{number + 1}.", f"{ours}dilated.{number}."))
        keys.append((f"{theirs}conv_1x1_output.", f"{ours}merge.0."))
        keys.append((f"{theirs}ca.conv_du.", f"{ours}attention."))
    keys += [("hist.conv.", "histogram_conv."), ("hist.fc.", "histogram_fc.")]
    keys += [("fc_blur.0.", "blur_head.0."), ("fc_hist.", "histogram_head.")]
    for index in range(3):
        theirs, ours = f"skff{index + 1}.", f"fusions.{index}."
        keys.append((f"{theirs}conv_du.", f"{ours}squeeze."))
        keys.append((f"{theirs}fcs.", f"{ours}weights."))
    return [*keys, ("fc_all.", "score.")]


PUBLISHED_KEYS = _published_keys()
# the dead parts
PUBLISHED_EXTRAS = (
    "noise.blur.6.", "noise.blur.7.", "skff1.fc_dis.", "skff2.fc_dis.", "skff3.fc_dis.",
)  # fmt: skip
