"""HyperCUT: which of its two directions of time is a blurry picture's (Pham et al., CVPR 2023)."""
