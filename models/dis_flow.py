"""Optical flow by dense inverse search (Kroeger et al., ECCV 2016), as OpenCV 4 implements it: no
weights, CPU only.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# frames are padded to this: lower ones of 80 px width and more make OpenCV read beyond its pyramid
# and crash
SMALLEST = 32


class DISFlow(nn.Module):
    """DIS flow behind PWCNet's call. Not differentiable; frames that are on a GPU travel to the CPU
    and back.
    """

    def __init__(self, align_corners: bool = True):
        super().__init__()
        del align_corners  # DIS samples by itself; the argument keeps one signature for every flow

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow [B,2,H,W] in pixels from `first` to `second`, RGB [B,3,H,W] in [0,1]; float32
        whatever the input's dtype.
        """
        return self.flow_between(self.pyramid(first), self.pyramid(second), first.shape[-2:]).to(
            first.device
        )

    @torch.no_grad()
    def pyramid(self, image: Tensor) -> list[Tensor]:
        """What the search needs of images [B,3,H,W], as a list of one level: 8-bit luma [B,H,W] on
        the CPU.
        """
        weights = torch.tensor([0.299, 0.587, 0.114], device=image.device).view(
            1, 3, 1, 1
        )  # BT.601
        luma = (image.float() * weights).sum(1, keepdim=True).clamp(0, 1)
        padding = [max(SMALLEST - side, 0) for side in luma.shape[-2:]]
        if any(padding):
            luma = F.pad(luma, (0, padding[1], 0, padding[0]), mode="replicate")
        return [(luma[:, 0] * 255).round().to(torch.uint8).cpu()]

    @torch.no_grad()
    def flow_between(
        self, first: list[Tensor], second: list[Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Flow [B,2,*size] in pixels between two results of `pyramid`, on the CPU."""
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        pairs = zip(first[0].numpy(), second[0].numpy())
        flow = torch.from_numpy(np.stack([search.calc(one, two, None) for one, two in pairs]))
        return flow.permute(0, 3, 1, 2)[..., : size[0], : size[1]].contiguous()
