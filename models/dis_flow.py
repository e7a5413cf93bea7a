"""Optical flow by dense inverse search (Kroeger et al., ECCV 2016), as OpenCV 4 implements it.

It has no weights and runs on the CPU alone.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Frames are padded to this, px: lower ones of 80 px width and more make OpenCV read beyond its
# pyramid and crash.
SMALLEST = 32
LUMA = (0.299, 0.587, 0.114)  # BT.601 weights of red, green, blue


class DISFlow(nn.Module):
    """DIS flow behind PWCNet's call.

    Not differentiable; frames that are on a GPU travel to the CPU and back. align_corners: ignored,
    DIS samples by itself; the argument keeps one signature for every flow.
    """

    def __init__(self, align_corners: bool = True):
        super().__init__()
        del align_corners

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow [B,2,H,W] in pixels that says where each pixel of `first` lies in `second`.

        The frames are RGB [B,3,H,W] in [0,1]; the flow is float32 whatever their dtype.
        """
        flow = self.flow_between(self.pyramid(first), self.pyramid(second), first.shape[-2:])
        return flow.to(first.device)

    @torch.no_grad()
    def pyramid(self, image: Tensor) -> list[Tensor]:
        """What the search needs of images [B,3,H,W]: a list of one level, 8-bit luma on the CPU.

        The luma is [B,H,W], its sides at least SMALLEST.
        """
        red, green, blue = (
            image[:, index : index + 1].float() * weight for index, weight in enumerate(LUMA)
        )
        luma = red.add_(green).add_(blue).clamp_(0, 1)  # [B,1,H,W]
        bottom, right = (max(SMALLEST - side, 0) for side in luma.shape[-2:])
        if bottom or right:
            luma = F.pad(luma, (0, right, 0, bottom), mode="replicate")
        return [luma[:, 0].mul_(255).round_().to(torch.uint8).cpu()]

    @torch.no_grad()
    def flow_between(
        self, first: list[Tensor], second: list[Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Flow [B,2,*size] in pixels between two results of `pyramid`, on the CPU."""
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        pairs = zip(first[0].numpy(), second[0].numpy())
        flows = np.stack([search.calc(one, two, None) for one, two in pairs])
        flow = torch.from_numpy(flows).permute(0, 3, 1, 2)  # [B,2,h,w], at least SMALLEST
        return flow[..., : size[0], : size[1]].contiguous()
