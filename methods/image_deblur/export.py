"""Write a single-image network into an ONNX or .pt2 file."""

from methods.image_deblur.config import ExportConfig
from models import load_network
from models.contracts import ImageNetwork
from restoration.export import Picture, write
from restoration.image import find_image_weights


def main(config: ExportConfig) -> None:
    """Write the network and say how to use it."""
    weights = find_image_weights(config.weights)
    network = load_network(weights, ImageNetwork)
    write(Picture(network), weights, config)
