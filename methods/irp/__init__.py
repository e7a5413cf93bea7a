"""IRP: how good will a degraded picture be after restoration? Labels, predictor and its uses (Zhang
et al., CVPR 2022).
"""
