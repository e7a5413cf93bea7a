"""A sample of damaged files through the commands: a result or one sentence (`make fuzz`: more)."""

import pytest

from tests.commands import sentence
from tests.damages import KINDS, case

SEEDS = 3  # of each kind


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_a_sentence_or_a_result(name, seed, run_command, tmp_path):
    done = run_command(case(name, seed, tmp_path))
    if done[0] != 0:
        sentence(done)
