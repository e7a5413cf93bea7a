"""What a run's curves show."""

from utils.log import panels_of


def test_figures_of_input_and_stage_share_a_panel():
    names = ["psnr", "psnr_stage1", "psnr_input", "worst_gain", "gain_input", "loss L1"]
    assert panels_of(names) == {
        "psnr": ["psnr", "psnr_stage1", "psnr_input"],
        "worst_gain": ["worst_gain"],
        "gain_input": ["gain_input"],  # nothing is called gain
        "loss L1": ["loss L1"],
    }
