"""Seven sharp frames out of one blurry picture (Jin et al., Purohit et al.).

Trained with the losses of HyperCUT (Pham et al., CVPR 2023).
"""
