"""Seven moments out of one blurry picture (Jin et al., Purohit et al.), trained with the losses of
HyperCUT (Pham et al., CVPR 2023).
"""
