"""Write a part of a video network into an ONNX or .pt2 file."""

from methods.video_deblur.config import ExportConfig
from models import SHIPPED, find, load
from models.cdvd_tsp import CDVDTSP
from models.contracts import VideoNetwork
from models.pwc_net import PWCNet
from restoration.export import Flow, FlowStage, Stage, write
from utils.errors import UserError


def main(config: ExportConfig) -> None:
    """Write the part and say how to use it."""
    weights = find(config.weights or SHIPPED["video"])
    network = load(weights)
    if isinstance(network, PWCNet):
        write(Flow(network), weights, config)
        return
    if not isinstance(network, VideoNetwork):
        raise UserError(
            f"{weights} holds a {type(network).__name__}, this command needs a {VideoNetwork.kind}"
        )
    if not isinstance(network, CDVDTSP):
        raise UserError(
            f"{weights} holds a {type(network).__name__}, which keeps frames of its own between "
            "calls: of video networks CDVD-TSP and PWC-Net can be exported"
        )
    if config.part == "flow":
        if not isinstance(network.flow, PWCNet):
            raise UserError(f"{weights} has no learned flow: it takes OpenCV's DIS")
        write(Flow(network.flow), weights, config)
    elif isinstance(network.flow, PWCNet):
        write(Stage(network), weights, config)
    else:
        write(FlowStage(network), weights, config)
