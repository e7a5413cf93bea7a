"""The hypercut commands.

Training learns, scores are those of the formula, new orders keep everything else, bad input is one
sentence.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.sequences import collect_metadata, write_sequence
from methods.hypercut import generate, test, train
from methods.hypercut.config import GenerateConfig, TrainConfig
from methods.hypercut.config import TestConfig as ScoreConfig  # pytest would collect Test...
from models import build, load
from models.hypercut import HyperCUT
from utils.checkpoint import save_weights
from utils.config import parse
from utils.errors import UserError

NARROW = {
    "width": 8,
    "blocks": 1,
    "activation": "leaky_relu",
    "plane": "affine",
    "values": "imagenet_rgb",
}


@pytest.fixture
def folder(make_sequences):
    return make_sequences((48, 48), motion=10.0)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(3)
    save_weights(
        tmp_path / "w.safetensors",
        build("hypercut", **NARROW),
        "hypercut",
        NARROW,
        "hypercut",
        dtype=torch.float32,
    )
    return tmp_path / "w.safetensors"


def edited(folder, change):
    content = json.loads((folder / "metadata.json").read_text())
    change(content["data"])
    (folder / "metadata.json").write_text(json.dumps(content))


def raw_scores(folder, weights, entry):
    """The six scores of an entry as stored, without the commands."""
    from utils.image import read_image, to_tensor

    network: HyperCUT = load(weights)
    frames = torch.stack(
        [to_tensor(read_image(folder / entry[f"frame{number:03d}_path"])) for number in range(1, 8)]
    )
    with torch.inference_mode():
        return network(network.seen(frames[None]))[0]


def test_training_learns(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "ROOT", tmp_path)
    config = TrainConfig(
        folder,
        network=NARROW,
        save="run",
        epochs=60,
        val_every=60,
        batch_size=2,
        image_size=48,
        augment=[],
        lr=3e-3,
    )
    config = replace(config, workers=0, device="cpu")
    metrics = train.main(config)
    rows = (tmp_path / "experiment/run/loss.csv").read_text().splitlines()
    loss = sum(map(float, rows[-1].split(",")[1:3]))
    assert loss < 0.6 < np.log(2)  # ln 2 where all scores are 0
    assert set(metrics) == {"all", "hit_1_7", "hit_2_6", "hit_3_5", "con@2", "con@3"}
    network = load(tmp_path / "experiment/run/last.safetensors")
    assert isinstance(network, HyperCUT)
    assert network.plane == "affine" and network.values == "imagenet_rgb"


def test_the_plane_is_not_trained(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "ROOT", tmp_path)
    task = train.OrderingTask(
        TrainConfig(folder, network=NARROW, batch_size=2, image_size=48, workers=0, device="cpu")
    )
    before = task.network.hyperplane.clone()
    batch = {key: value[None] for key, value in task.training_set[0, 0].items() if key == "frames"}
    sum(task.step(batch, [], 0).values()).backward()
    task.optimizer.step()
    assert torch.equal(task.network.hyperplane, before) and -1 <= before.min() < before.max() <= 1


def test_scores_of_the_command(folder, weights, tmp_path):
    edited(folder, lambda entries: [entry.update(order="reverse") for entry in entries])
    scores = test.main(
        ScoreConfig(folder, weights=weights, output_dir=tmp_path / "out", workers=0, device="cpu")
    )
    entry = json.loads((folder / "metadata.json").read_text())["data"][4]
    raw = raw_scores(folder, weights, entry)
    forth = raw[1::2]  # the stored order, reversed
    back = raw[::2]
    row = scores.rows[0]
    assert row["name"] == "s4"
    hits = [row["hit_1_7"], row["hit_2_6"], row["hit_3_5"]]
    assert hits == (forth * back < 0).float().tolist()
    assert row["con@3"] == float(len(set(forth.sign().tolist())) == 1)
    written = json.loads((tmp_path / "out/scores.json").read_text())
    assert written["n"] == 2 and "partition test" in written["remark"] and written["sha256"]
    assert written["arithmetic"] == "float32 on cpu"
    scores = test.main(
        ScoreConfig(
            folder, weights=weights, partition="all", output_dir=tmp_path / "all", workers=0
        )
    )
    assert len(scores.rows) == 6


def test_new_order(folder, weights, tmp_path):
    """`reverse` where all three pairs, as stored, are negative; everything else as it was.

    Entries are sorted by partition, and a second run writes the same.
    """

    def change(entries):
        entries[0]["note"] = "kept"
        for entry, order in zip(entries, ("ignore", "keep", "random", "ignore", "keep", "ignore")):
            entry["order"] = order

    edited(folder, change)
    before = {
        entry["id"]: entry for entry in json.loads((folder / "metadata.json").read_text())["data"]
    }
    path = generate.main(
        GenerateConfig(
            folder, weights=weights, save_path=tmp_path / "new.json", workers=0, device="cpu"
        )
    )
    content = json.loads(path.read_text())
    assert list(content) == ["name", "frame_per_seq", "data"]
    assert content["name"] == "set" and content["frame_per_seq"] == 7
    partitions = [entry["partition"] for entry in content["data"]]
    assert partitions == ["train", "train", "test", "test", "val", "val"]
    for entry in content["data"]:
        expected = dict(before[entry["id"]])
        if bool((raw_scores(folder, weights, entry)[::2] < 0).all()):
            expected["order"] = "reverse"
        assert entry == expected
    first = path.read_bytes()
    again = generate.main(
        GenerateConfig(
            folder, metadata=path, weights=weights, save_path=tmp_path / "again.json", workers=0
        )
    )
    assert [entry["order"] for entry in json.loads(again.read_text())["data"]] == [
        entry["order"] for entry in content["data"]
    ]
    assert path.read_bytes() == first


def test_the_metadata_that_is_read_is_never_written_over(folder, weights, tmp_path):
    for path, sentence in (
        (folder / "metadata.json", "is the metadata that is read"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(UserError, match=sentence):
            generate.main(GenerateConfig(folder, weights=weights, save_path=path, workers=0))


def test_negated_plane_reverses_the_rest(folder, weights, tmp_path):
    """What one plane leaves as stored, its negative reverses, where the pairs agree."""
    network = load(weights)
    network.hyperplane.neg_()
    save_weights(
        tmp_path / "n.safetensors", network, "hypercut", NARROW, "hypercut", dtype=torch.float32
    )
    orders = []
    for name in ("w", "n"):
        options = {
            "weights": tmp_path / f"{name}.safetensors",
            "save_path": tmp_path / f"{name}.json",
            "workers": 0,
        }
        content = json.loads(generate.main(GenerateConfig(folder, **options)).read_text())
        orders.append({entry["id"]: entry["order"] for entry in content["data"]})
    entries = json.loads((folder / "metadata.json").read_text())["data"]
    agree = {
        entry["id"]: len(set(raw_scores(folder, weights, entry)[::2].sign().tolist())) == 1
        for entry in entries
    }
    for name, agrees in agree.items():
        assert (orders[0][name] == "reverse") + (orders[1][name] == "reverse") == int(agrees)


def test_bad_input(folder, weights, tmp_path, small_network):
    with pytest.raises(UserError, match="this command needs a HyperCUT network"):
        test.main(ScoreConfig(folder, weights=small_network(), workers=0))
    with pytest.raises(UserError, match="no sequences of the partition train"):
        edited(folder, lambda entries: [entry.update(partition="test") for entry in entries])
        train.main(TrainConfig(folder, device="cpu", workers=0))
    tiny = tmp_path / "tiny"
    write_sequence(tiny, "t", np.zeros((20, 30, 3)), [np.zeros((20, 30, 3))] * 7)
    collect_metadata(tiny, {"t": "test"})
    with pytest.raises(
        UserError, match="sequence t: frames of 30x20 px: HyperCUT needs more than 32"
    ):
        test.main(ScoreConfig(tiny, weights=weights, workers=0))


def test_table_says_what_is_missing(capsys, tmp_path):
    assert test.main(ScoreConfig(table="all", output_dir=tmp_path)) is None
    assert "not run: needs dataset/REDS_HyperCUT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "config_class", "line"),
    [
        (
            "train",
            TrainConfig,
            "--dataset_name NAME --metadata_root metadata.json --num_epochs 3 --lr 1e-3 "
            "--lr_decay 2 --gamma 0.5 --exp_name x",
        ),
        (
            "test",
            ScoreConfig,
            "--dataset_name NAME --metadata_root metadata.json --pretrained_path W",
        ),
        (
            "generate",
            GenerateConfig,
            "--dataset_name NAME --metadata_root metadata.json --save_path OUT.json "
            "--pretrained_path W",
        ),
    ],
)
def test_published_spellings(command, config_class, line):
    config = parse(config_class, "hypercut", command, line.split())
    assert config.dataset_name == "NAME" and str(config.metadata) == "metadata.json"
    if command == "train":
        assert (config.epochs, config.lr_gamma, config.lr_decay, config.save) == (3, 0.5, 2, "x")
