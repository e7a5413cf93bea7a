"""make gpu-check, where there is no GPU: what it says, and that its parts run at tiny size."""

import json
import time

import pytest
import torch

from benchmarks import gpu_check, gpu_parts
from benchmarks.gpu_check import ask, verdict
from benchmarks.gpu_contracts import Check, Part

CPU = torch.device("cpu")
# `processes` starts torchrun; tests/utils/test_distributed.py has the same runs
PARTS = [name for name in gpu_parts.PARTS if name not in ("processes", "tests")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_without_a_gpu_it_says_what_it_would_do(capsys, tmp_path):
    assert gpu_check.main(["--output_dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("no GPU: torch sees no CUDA device here")
    assert all(part.question in said for part in gpu_parts.PARTS.values())
    assert "10 minutes at the most" in said and not list(tmp_path.iterdir())


def test_its_parts_run_on_a_cpu_and_are_reported(tmp_path, capsys):
    words = ["--device", "cpu", "--tiny", "--output_dir", str(tmp_path), "--parts", *PARTS]
    assert gpu_check.main(words) == 0
    assert "VERDICT: all parts are as they should be" in capsys.readouterr().out
    record = json.loads((tmp_path / "gpu_check.json").read_text())
    assert [part["part"] for part in record["parts"]] == PARTS
    assert all(part["rows"] for part in record["parts"])
    report = (tmp_path / "gpu_check.md").read_text()
    assert report.count("\n## ") == len(PARTS) and record["verdict"] in report


def test_the_budgets_fit_into_ten_minutes():
    assert sum(part.budget for part in gpu_parts.PARTS.values()) <= 600


def test_what_is_over_its_budget_is_left_out_and_named():
    def slow(check: Check) -> None:
        for name in check.each(["first", "second"]):
            check.rows.append({"name": name})
            time.sleep(0.02)

    answer = ask("slow", Part("slow?", 0.01, slow), CPU, tiny=True)
    assert [row["name"] for row in answer.rows] == ["first"] and answer.left_out == ["second"]
    assert verdict([answer]).endswith("not finished in time: slow")


def test_faults_and_exceptions_are_in_the_verdict():
    def broken(check: Check) -> None:
        check.expect(False, "not equal")
        raise RuntimeError("no kernel image")

    answer = ask("kernels", Part("equal?", 5, broken), CPU, tiny=True)
    assert answer.faults == ["not equal", "RuntimeError: no kernel image"]
    assert verdict([answer]) == "VERDICT: faults in kernels (2)"
    report = gpu_check.as_markdown("a card", verdict([answer]), [answer])
    assert "FAULT: RuntimeError: no kernel image" in report


def test_a_difference_that_is_too_large_is_a_fault(monkeypatch):
    monkeypatch.setitem(gpu_parts.LOWEST_PSNR, "bf16", 1000.0)
    answer = ask("networks", gpu_parts.PARTS["networks"], CPU, tiny=True)
    assert len(answer.faults) == len(gpu_parts.SMALL)
    assert all("in bf16" in fault for fault in answer.faults)
